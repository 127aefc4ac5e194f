"""Runs the demo: starts everything, lets the agent play, shows what came of it, and says whether that is as it must be.

With `--http` everybody speaks HTTP, and the OKX server wants a token that the agent does not have.

The exit status is 0 when it is, 1 when something differs, 130 after Ctrl-C. Every wait is bounded, and whatever was
started has ended when this ends.
"""

from __future__ import annotations

import asyncio
import functools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mcp import Client, MCPError

from programs.demo import metrics, report
from programs.demo.agent import POLICY, agent, play
from programs.demo.exchange import Exchange, serve
from programs.demo.outcome import Outcome, differences
from programs.demo.remote import remote_agent
from programs.demo.report import Paint
from programs.demo.script import READS, WRITES, Call, Step, seconds_to_wait
from tests.support.ports import free_port

LONGEST: Final = 90.0
"""Seconds that starting and playing may take, the wait for the next day included."""


@dataclass(frozen=True, slots=True)
class Way:
    """How the agent, the sidecar and the server are connected: the command, what starts them, what is worth saying."""

    command: str
    agent: Callable[[str, Path, int], AbstractAsyncContextManager[Client]]
    server: str = ""


STDIO: Final = Way(f"sidecar run -c {POLICY} -- mcp-okx", agent)
HTTP: Final = Way(
    f"sidecar run -c {POLICY} --transport http \\\n    --upstream URL --header 'Authorization: ...'",
    remote_agent,
    "mcp-okx --http, 401 without the token that only the sidecar has",
)

say = functools.partial(print, flush=True)


def main(way: Way) -> int:
    """Run the demo in a folder of its own, which is gone afterwards."""
    paint = Paint.for_stream(sys.stdout, os.environ)
    with tempfile.TemporaryDirectory(prefix="sidecar-demo-", ignore_cleanup_errors=True) as folder:
        try:
            outcome = asyncio.run(session(way, Path(folder), paint))
        except KeyboardInterrupt:
            say("\nStopped.")
            return 130
        except (MCPError, OSError, ExceptionGroup) as error:
            return fail([f"the session broke off: {cause}" for cause in causes(error)], Path(folder), paint)
        show(outcome, paint)
        wrong = differences(outcome)
        return fail(wrong, Path(folder), paint) if wrong else succeed(paint)


async def session(way: Way, folder: Path, paint: Paint) -> Outcome:
    """Start the exchange, and the sidecar with the server behind it; play; end them all."""
    exchange, port = Exchange(), free_port()
    say(report.heading(f"Starting: {way.command}", paint))
    with serve(exchange) as url:
        say(f"  exchange  stub of OKX on {url}: no traffic leaves the machine")
        say("  sidecar   starting, with OPA and mcp-okx ...", end=" ")
        since = time.perf_counter()
        async with asyncio.timeout(LONGEST), way.agent(url, folder, port) as client:
            say(f"ready after {time.perf_counter() - since:.1f} s")
            if way.server:
                say(f"  server    {way.server}")
            before = await asyncio.to_thread(metrics.scrape, port)
            tools = await list_tools(client)
            calls = await play_all(client, paint)
            after = await asyncio.to_thread(metrics.scrape, port)
    shown, also = (metrics.changes(before, after, expected) for expected in (metrics.SHOWN, metrics.ALSO))
    return Outcome(tools, calls, exchange.received, shown, also)


async def list_tools(client: Client) -> tuple[str, ...]:
    """The names of the server's tools."""
    say("  tools     listing ...", end=" ")
    names = tuple(tool.name for tool in (await client.list_tools()).tools)
    say(f"{len(names)}, seen through the sidecar:\n{report.tool_lines(names)}")
    return names


async def play_all(client: Client, paint: Paint) -> tuple[Call, ...]:
    """Play the script: look around, and then, within one day, trade."""
    say(report.heading("The agent looks around, and trades until the day's limit is used up:", paint))
    say(report.call_header(paint))
    calls = [await play_one(client, step, paint) for step in READS]
    if seconds := seconds_to_wait(time.time()):
        say(paint("dim", f"  .. waiting {seconds:.0f} s: the limit is per day, and this day is nearly over"))
        await asyncio.sleep(seconds + 0.1)
    return (*calls, *[await play_one(client, step, paint) for step in WRITES])


async def play_one(client: Client, step: Step, paint: Paint) -> Call:
    """Make a call and show it."""
    call = await play(client, step)
    say(report.call_lines(call, paint))
    return call


def show(outcome: Outcome, paint: Paint) -> None:
    """What the calls left behind."""
    say(report.heading("What the exchange received:", paint))
    say(*report.request_lines(outcome.received), sep="\n")
    say(report.heading("What changed in the sidecar's metrics (some labels are left out):", paint))
    say(*report.change_lines(outcome.shown), sep="\n")


def succeed(paint: Paint) -> int:
    """The last line, and the exit status."""
    say(
        "\n" + paint("green", "As it must be:"),
        "the orders at the exchange are worth 10000 USD, to the cent.",
    )
    return 0


def fail(wrong: Sequence[str], folder: Path, paint: Paint) -> int:
    """What differs, what the sidecar wrote, and the exit status."""
    say("\n" + "\n".join(report.difference_lines(wrong, paint)))
    errors = folder / "stderr.txt"
    if errors.exists():
        say("\nThe last lines that the sidecar and mcp-okx wrote on standard error:")
        say(*report.tail(errors.read_text(errors="replace")), sep="\n")
    return 1


def causes(error: BaseException) -> Iterator[str]:
    """What went wrong, without the groups that task groups wrap around it."""
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from causes(part)
    else:
        yield f"{type(error).__name__}: {error}".removesuffix(": ")


if __name__ == "__main__":
    sys.exit(main(HTTP if sys.argv[1:] == ["--http"] else STDIO))
