"""Runs the demo: starts everything, lets the agent play, shows what came of it, and says whether that is as it must be.

With `--http` everybody speaks HTTP, and the OKX server wants a token that the agent does not have. With `-c FILE` the
same calls are played under a policy of your own.

The exit status is 0 when all is as it must be, 1 when something differs, 130 after Ctrl-C. Every wait is bounded, and
whatever was started has ended when this ends.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import itertools
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mcp import Client

from programs.checkout import ROOT, SIDECAR
from programs.demo import metrics, report
from programs.demo.agent import TELEMETRY_AT, agent, play
from programs.demo.decided import rule_of
from programs.demo.exchange import Exchange, serve
from programs.demo.outcome import Outcome, differences, unexplained
from programs.demo.remote import remote_agent
from programs.demo.running import found_in, run, shown
from programs.demo.script import READS, WRITES, Call, Step, seconds_to_wait
from programs.demo.terminal import Screen

POLICY: Final = ROOT / "policies" / "okx-trading.yaml"
LONGEST: Final = 90.0
"""Seconds that starting and playing may take, the wait for the next day included."""


@dataclass(frozen=True, slots=True)
class Way:
    """How the agent, the sidecar and the server are connected: in words, as a command, and what starts them.

    `{}` in the command stands for the policy.
    """

    words: str
    command: str
    agent: Callable[[str, Path, Path], AbstractAsyncContextManager[Client]]


_STORY: Final = (
    "An AI agent is to trade on an exchange. Its tools are those of mcp-okx, a real MCP server (a program that offers "
    "tools to agents). The sidecar stands between them, and passes on only the calls that a policy allows. The "
    "exchange is a stub: nothing leaves this machine."
)
STDIO: Final = Way(_STORY, "sidecar run -c {} -- mcp-okx", agent)
HTTP: Final = Way(
    _STORY + " All speak HTTP here. The server answers 401 to whoever has no token, and only the sidecar has it: the "
    "agent cannot go around the sidecar.",
    "sidecar run -c {} --transport http \\\n    --upstream URL --header 'Authorization: file:TOKEN'",
    remote_agent,
)


async def session(way: Way, policy: Path, screen: Screen, folder: Path) -> list[str]:
    """Start the exchange, and the sidecar with the server behind it; play; end them all; what is not as it must be."""
    screen.say(report.paragraph(way.words) + "\n")
    screen.say(report.command(way.command.format(shown(policy)), screen.paint))
    exchange = Exchange()
    since = time.perf_counter()
    screen.update("starting ...")
    with serve(exchange) as url:
        async with asyncio.timeout(LONGEST), way.agent(url, folder, policy) as client:
            scrape = functools.partial(metrics.scrape, found_in(folder / "stderr.txt", TELEMETRY_AT))
            before = await asyncio.to_thread(scrape)
            tools = tuple(tool.name for tool in (await client.list_tools()).tools)
            screen.update(f"ready after {time.perf_counter() - since:.1f} s; the agent sees {len(tools)} tools")
            calls = await Playing(client, policy, screen, folder / "state").all()
            after = await asyncio.to_thread(scrape)
    kinds = (metrics.changes(before, after, expected) for expected in (metrics.SHOWN, metrics.ALSO))
    outcome = Outcome(tools, calls, exchange.received, *kinds)
    show(outcome, screen)
    wrong = unexplained(outcome) if policy != POLICY else differences(outcome)
    if not wrong:
        succeed(policy, screen)
    elif policy == POLICY:
        wrong.append(f"if you changed {shown(POLICY)}, that is why: undo it, and name a changed copy with -c")
    return wrong


@dataclass(frozen=True, slots=True)
class Playing:
    """The agent's calls, each shown as it is made. `state` is the sidecar's state folder."""

    client: Client
    policy: Path
    screen: Screen
    state: Path

    async def all(self) -> tuple[Call, ...]:
        """Play the script: look around, and then, within one day, trade until the day's limit is used up."""
        self.screen.say()
        calls: list[Call] = []
        for step in READS:
            await self._one(step, calls)
        if seconds := seconds_to_wait(time.time()):
            self.screen.update(f"waiting {seconds:.0f} s: a limit is per day, and this day is nearly over")
            await asyncio.sleep(seconds + 0.1)
        for step in WRITES:
            await self._one(step, calls)
        return tuple(calls)

    async def _one(self, step: Step, calls: list[Call]) -> None:
        """Make a call and show it, together with those before it that were the same."""
        call = await play(self.client, step)
        calls.append(call)
        times = sum(1 for _ in itertools.takewhile(call.repeats, reversed(calls)))
        if times == 1:
            self._begin(call, calls[-2:-1])
        self.screen.update(report.call_line(call, times, self.screen.paint))
        if times == 1 and call.verdict != "allowed":
            rule = rule_of(call.decision, self.state, self.policy) if call.decision else None
            for line in [
                *report.rule_lines(rule, shown(self.policy), self.screen.paint),
                *report.agent_lines(call.message, self.screen.paint),
            ]:
                self.screen.say(line)

    def _begin(self, call: Call, before: Sequence[Call]) -> None:
        """End the line of the call before; around a refusal, which has several lines, a blank one."""
        self.screen.settle()
        if before and {call.verdict, before[0].verdict} != {"allowed"}:
            self.screen.say()


def show(outcome: Outcome, screen: Screen) -> None:
    """What the calls left behind."""
    screen.heading("What reached the exchange")
    for line in report.request_lines(outcome.received):
        screen.say(line)
    screen.heading("What an operator sees in the sidecar's metrics (some labels are left out)")
    for line in report.change_lines(outcome.shown):
        screen.say(line)


def succeed(policy: Path, screen: Screen) -> None:
    """The last words: that all is well, and what to do next."""
    found = (
        "orders of 10000 USD arrived, and nothing that was refused."
        if policy == POLICY
        else "nothing arrived that was refused."
    )
    screen.say(f"\n{screen.paint('green', 'As it must be:')} {found}")
    screen.heading("What to do next, in this folder")
    for line in report.next_lines(shown(SIDECAR), shown(Path(sys.executable)), shown(POLICY), screen.paint):
        screen.say(line)


def main(words: list[str]) -> int:
    """Read the options and play; the exit status."""
    parser = argparse.ArgumentParser("programs.demo", description="An agent that trades through the sidecar.")
    parser.add_argument("--http", action="store_true", help="over HTTP, with a token that the agent does not have")
    parser.add_argument("-c", dest="policy", metavar="FILE", type=Path, help="under a policy of your own")
    options = parser.parse_args(words)
    policy = POLICY if options.policy is None else options.policy.absolute()
    screen = Screen.standard()
    return run(screen, functools.partial(session, HTTP if options.http else STDIO, policy, screen))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
