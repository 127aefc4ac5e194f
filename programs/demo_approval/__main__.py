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
import tempfile
import textwrap
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from mcp import Client, MCPError
from mcp_types import CallToolResult, TextContent

from programs.demo import report
from programs.demo.__main__ import causes
from programs.demo.agent import SECONDS, agent, in_short
from programs.demo.exchange import Exchange, serve
from programs.demo.report import Paint
from programs.demo_approval.story import FIRST, HELD, TOLD, Command, Outcome, Seen, Step, Verdict, cancels, differences
from sidecar.enforce.denial import APPROVAL, APPROVAL_REQUIRED, DENIED
from tests.support import ROOT, SIDECAR
from tests.support.ports import free_port

POLICY: Final = "policies/okx-approval.yaml"
LONGEST: Final = 90.0
"""Seconds that starting and playing may take."""

_COLOURS: Final[dict[Verdict, str]] = {
    "allowed": "green", "asks a person": "yellow", "refused": "yellow", "failed": "red",
}  # fmt: skip

_INDENT: Final = " " * 5

say = functools.partial(print, flush=True)


def main() -> int:
    """Run the demo in a folder of its own, which is gone afterwards."""
    paint = Paint.for_stream(sys.stdout, os.environ)
    with tempfile.TemporaryDirectory(prefix="sidecar-demo-", ignore_cleanup_errors=True) as folder:
        try:
            outcome = asyncio.run(session(Path(folder), paint))
        except KeyboardInterrupt:
            say("\nStopped.")
            return 130
        except (MCPError, OSError, ExceptionGroup) as error:
            return fail([f"the session broke off: {cause}" for cause in causes(error)], Path(folder), paint)
        wrong = differences(outcome)
        return fail(wrong, Path(folder), paint) if wrong else succeed(outcome, paint)


async def session(folder: Path, paint: Paint) -> Outcome:
    """Start the exchange and play both acts before it; end everything."""
    exchange = Exchange()
    with serve(exchange) as url:
        say(f"The exchange is a stub on {url}: nothing leaves the machine.")
        async with asyncio.timeout(LONGEST):
            told = await act("told", without_hold(folder), TOLD, url, folder, paint)
            held = await act("held", POLICY, HELD, url, folder, paint)
    return Outcome((*told, *held), exchange.received)


async def act(name: str, policy: str, steps: Sequence[Step], url: str, folder: Path, paint: Paint) -> list[Seen]:
    """Start the sidecar with the server behind it, let the agent and the person play, and end them."""
    mine = folder / name
    mine.mkdir()
    say(report.heading(f"Starting: sidecar run -c {POLICY} -- mcp-okx", paint))
    say(
        "  a call waits in place for an answer"
        if policy == POLICY
        else "  with `hold` taken out: no call waits in place"
    )
    calls = []
    async with agent(url, mine, free_port(), policy) as client:
        for step in steps:
            announce(step, paint)
            call = asyncio.create_task(play(client, step))
            try:
                if step.waits:
                    await let_answer(step, await waiting(mine / "state"), mine / "state", paint)
                    say(report.heading("What the agent gets, in answer to its only call:", paint))
                show(await call, paint)
                if not step.waits:
                    await let_answer(step, call.result().approval, mine / "state", paint)
                calls.append(call.result())
            finally:
                call.cancel()
    return calls


def without_hold(folder: Path) -> str:
    """A copy of the policy by which no call waits in place."""
    lines = (ROOT / POLICY).read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith("  hold:")]
    if len(kept) != len(lines) - 1:
        raise OSError(f"{POLICY} has no line that begins with hold")
    copy = folder / "okx-approval.yaml"
    copy.write_text("".join(kept), encoding="utf-8")
    return str(copy)


def announce(step: Step, paint: Paint) -> None:
    """Show a call."""
    say(report.heading(step.what, paint))
    arguments = " ".join(f"{name}={value}" for name, value in step.arguments.items())
    say(f"  {step.tool} {arguments}")


async def play(client: Client, step: Step) -> Seen:
    """Make one call of the agent, and say what it gets."""
    try:
        return judged(step, await client.call_tool(step.tool, step.arguments))
    except MCPError as error:
        return asked(error)


def show(seen: Seen, paint: Paint) -> None:
    """Show what became of a call."""
    say("  ->", paint(_COLOURS[seen.verdict], seen.verdict))
    for line in [*seen.message.splitlines(), *(f"{name}: {value}" for name, value in seen.facts)]:
        say(paint("dim", textwrap.fill(line, report.WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT)))


def asked(error: MCPError) -> Seen:
    """The error that says that a person has to agree first; any other one is a failure."""
    facts = error.data if isinstance(error.data, dict) else {}
    if error.code != APPROVAL_REQUIRED or not error.message.startswith(APPROVAL):
        return Seen("failed", f"error {error.code}: {error.message}")
    told = tuple((name, str(facts[name])) for name in ("approval_id", "expires_at", "retry_after") if name in facts)
    message = f"error {error.code}: {error.message}"
    return Seen("asks a person", message, str(facts.get("approval_id", "")), told)


def judged(step: Step, result: CallToolResult) -> Seen:
    """A tool's result in a few words."""
    text = " ".join(part.text for part in result.content if isinstance(part, TextContent))
    if result.is_error and text.startswith(DENIED):
        return Seen("refused", text)
    found = result.structured_content or {}
    if result.is_error or found.get("code") != "0":
        return Seen("failed", found.get("msg") or text)
    return Seen("allowed", in_short(step.tool, found["data"]))


async def waiting(state: Path) -> str:
    """The id of the next approval that waits, as the queue tells it."""
    async with approvals(state, "list", "--state", "pending", "--watch", "--json") as queue:
        assert queue.stdout is not None
        return str(json.loads(await queue.stdout.readline())["id"])


async def let_answer(step: Step, approval: str, state: Path, paint: Paint) -> None:
    """Let the person do what he does about a call."""
    if step.person:
        say(report.heading("A person is at a terminal:", paint))
    for command in step.person:
        await answer(command, approval, state, paint)


async def answer(command: Command, approval: str, state: Path, paint: Paint) -> None:
    """Do what the person does, and show the command and all that it prints. Raises OSError if it fails."""
    words = [approval if word == "ID" else word for word in command]
    say(f"\n  {paint('bold', f'$ sidecar approvals {shlex.join(words)}')}")
    async with approvals(state, *words) as done:
        out, errors = await done.communicate()
    if done.returncode:
        raise OSError(f"`sidecar approvals {command[0]}` ended with {done.returncode}: {errors.decode().strip()}")
    say(*(f"  {line}" for line in out.decode().splitlines()), sep="\n")


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


def succeed(outcome: Outcome, paint: Paint) -> int:
    """What the exchange was asked, the last line, and the exit status."""
    say(report.heading("What the exchange was asked to cancel:", paint))
    for body in cancels(outcome.received):
        say(f"  {' '.join(f'{name}={body[name]}' for name in FIRST)}")
    say(
        "\n" + paint("green", "As it must be:"),
        "each approved call reached the exchange once, and no other did.",
    )
    return 0


def fail(wrong: Sequence[str], folder: Path, paint: Paint) -> int:
    """What differs, what the sidecar wrote, and the exit status."""
    say("\n" + "\n".join(report.difference_lines(wrong, paint)))
    for errors in sorted(folder.glob("*/stderr.txt")):
        say("\nThe last lines that the sidecar and mcp-okx wrote on standard error:")
        say(*report.tail(errors.read_text(errors="replace")), sep="\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
