"""Runs the demo of approvals: an agent, a person who answers on the command line, and a stub exchange.

The exit status is 0 when all is as it must be, 1 when something differs, 130 after Ctrl-C. Every wait is bounded, and
whatever was started has ended when this ends.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import shlex
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mcp import Client, MCPError
from mcp_types import CallToolResult

from programs.checkout import ROOT, SIDECAR
from programs.demo import report
from programs.demo.agent import SECONDS, agent, in_short, words
from programs.demo.decided import rule_of
from programs.demo.exchange import Exchange, serve
from programs.demo.running import run, shown
from programs.demo.terminal import Screen
from programs.demo_approval.story import FIRST, HELD, TOLD, Command, Outcome, Seen, Step, Verdict, cancels, differences
from sidecar.enforce.denial import APPROVAL, APPROVAL_REQUIRED, DECISION_META, DENIED

POLICY: Final = ROOT / "policies" / "okx-approval.yaml"
LONGEST: Final = 90.0
"""Seconds that starting and playing may take."""

_STORY: Final = (
    "An AI agent trades small orders on its own. What is larger, and every cancel, waits for a person. You see what "
    "the agent does and what it reads, and the commands by which a person answers. The exchange is a stub: nothing "
    "leaves this machine."
)
_COLOURS: Final[dict[Verdict, str]] = {
    "allowed": "green", "asks a person": "yellow", "refused": "yellow", "failed": "red",
}  # fmt: skip


async def session(screen: Screen, folder: Path) -> list[str]:
    """Start the exchange and play both acts before it; end everything; what is not as it must be."""
    screen.say(report.paragraph(_STORY))
    exchange = Exchange()
    with serve(exchange) as url:
        async with asyncio.timeout(LONGEST):
            told = await act("told", without_hold(folder), TOLD, url, folder, screen)
            held = await act("held", POLICY, HELD, url, folder, screen)
    outcome = Outcome((*told, *held), exchange.received)
    wrong = differences(outcome)
    show_end(outcome, wrong, screen)
    return wrong


async def act(name: str, policy: Path, steps: Sequence[Step], url: str, folder: Path, screen: Screen) -> list[Seen]:
    """Start the sidecar with the server behind it, let the agent and the person play, and end them."""
    mine = folder / name
    mine.mkdir()
    screen.say("\n" + report.command(f"sidecar run -c {shown(POLICY)} -- mcp-okx", screen.paint))
    if policy != POLICY:
        screen.say(screen.paint("dim", "  (without its line `hold`: the agent is told at once that a person is asked)"))
    async with agent(url, mine, policy) as client:
        playing = Playing(client, mine / "state", policy, screen)
        return [await playing.one(step) for step in steps]


def without_hold(folder: Path) -> Path:
    """A copy of the policy by which no call waits in place. Each line stays where it is."""
    text = POLICY.read_text(encoding="utf-8")
    if text.count("\n  hold:") != 1:
        raise OSError(f"{POLICY} has no line, or several, that begins with hold")
    copy = folder / POLICY.name
    copy.write_text(text.replace("\n  hold:", "\n  # hold:"), encoding="utf-8")
    return copy


@dataclass(frozen=True, slots=True)
class Playing:
    """An act that is played: the agent's client, the sidecar's state folder and its policy."""

    client: Client
    state: Path
    policy: Path
    screen: Screen

    async def one(self, step: Step) -> Seen:
        """Let the agent make a call, and the person answer after it, or while it waits."""
        self.screen.heading(step.what)
        call = asyncio.create_task(play(self.client, step))
        try:
            if step.waits:
                self.screen.say(f"{'waits':13} {_words(step)}")
                await self.answer(step, await waiting(self.state))
                self.screen.heading("The agent gets the answer to its only call:")
            seen = await call
            self.show(step, seen)
            if not step.waits:
                await self.answer(step, seen.approval)
            return seen
        finally:
            call.cancel()

    def show(self, step: Step, seen: Seen) -> None:
        """Show what became of a call, by which rule, and what the agent reads."""
        paint = self.screen.paint
        self.screen.say(f"{paint(_COLOURS[seen.verdict], f'{seen.verdict:13}')} {_words(step)}")
        if step.rule and seen.decision:
            self.say(report.rule_lines(rule_of(seen.decision, self.state, self.policy), shown(POLICY), paint))
        if step.rule or seen.verdict in ("refused", "failed"):
            self.say(report.agent_lines(seen.message, paint))
        elif seen.approval:
            self.screen.say(f"  a new question, for this call only: {seen.approval}")

    def say(self, lines: Sequence[str]) -> None:
        """Show some lines."""
        for line in lines:
            self.screen.say(line)

    async def answer(self, step: Step, approval: str) -> None:
        """Let the person do what the step has for them."""
        if step.person:
            self.screen.heading("A person is at a terminal:")
        for command in step.person:
            await self.do(command, approval)

    async def do(self, command: Command, approval: str) -> None:
        """Do what the person does; show the command and all that it prints. Raises OSError if it fails."""
        typed = [approval if word == "ID" else word for word in command]
        self.screen.say("\n  " + report.command(f"sidecar approvals {shlex.join(typed)}", self.screen.paint))
        async with approvals(self.state, *typed) as done:
            out, errors = await done.communicate()
        if done.returncode:
            raise OSError(f"`sidecar approvals {command[0]}` ended with {done.returncode}: {errors.decode().strip()}")
        self.say([f"  {line}".rstrip() for line in out.decode().splitlines()])


def _words(step: Step) -> str:
    return f"{step.tool}  {report.arguments(step.tool, step.arguments)}"


async def play(client: Client, step: Step) -> Seen:
    """Make one call of the agent, and say what it gets."""
    try:
        return judged(step, await client.call_tool(step.tool, step.arguments))
    except MCPError as error:
        return asked(error)


def asked(error: MCPError) -> Seen:
    """The error that says that a person has to agree first; any other one is a failure."""
    facts = error.data if isinstance(error.data, dict) else {}
    if error.code != APPROVAL_REQUIRED or not error.message.startswith(APPROVAL):
        return Seen("failed", f"error {error.code}: {error.message}")
    return Seen("asks a person", error.message, str(facts.get("approval_id", "")), str(facts.get("id", "")))


def judged(step: Step, result: CallToolResult) -> Seen:
    """What became of a call, by its result."""
    text = words(result)
    if result.is_error and text.startswith(DENIED):
        return Seen("refused", text, decision=(result.meta or {}).get(DECISION_META, {}).get("id", ""))
    found = result.structured_content or {}
    if result.is_error or found.get("code") != "0":
        return Seen("failed", found.get("msg") or text)
    return Seen("allowed", in_short(step.tool, found["data"]))


async def waiting(state: Path) -> str:
    """The id of the next approval that waits, as the queue tells it."""
    async with approvals(state, "list", "--state", "pending", "--watch", "--json") as queue:
        assert queue.stdout is not None
        return str(json.loads(await queue.stdout.readline())["id"])


@asynccontextmanager
async def approvals(state: Path, *words: str) -> AsyncIterator[Process]:
    """A running `sidecar approvals`, which has ended when left. Its lines are as long as ours."""
    process = await asyncio.create_subprocess_exec(
        SIDECAR, "approvals", *words, "--state-dir", state, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, cwd=ROOT,
        env={**os.environ, "COLUMNS": str(report.WIDTH - 2)},
    )  # fmt: skip
    try:
        async with asyncio.timeout(SECONDS):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def show_end(outcome: Outcome, wrong: Sequence[str], screen: Screen) -> None:
    """What the exchange was asked; if all is as it must be, that it is, and what to do next."""
    screen.heading("What reached the exchange: these cancels, each once")
    for body in cancels(outcome.received):
        screen.say(f"  {' '.join(f'{name}={body[name]}' for name in FIRST)}")
    if wrong:
        return
    screen.say(f"\n{screen.paint('green', 'As it must be:')} each approved call arrived once, and no other did.")
    screen.heading("What to do next, in this folder")
    risks = f"{shown(SIDECAR)} risks {shown(POLICY)}"
    for line in report.commands(screen.paint, "See what a policy does with each tool, the dangerous first:", risks):
        screen.say(line)
    screen.say("  Read docs/approvals.md: people also answer on a page, by an API, from Slack.")


if __name__ == "__main__":
    main_screen = Screen.standard()
    sys.exit(run(main_screen, functools.partial(session, main_screen)))
