"""Runs the demo of approvals: an agent, a person who answers on the command line, and a stub exchange.

The exit status is 0 when all is as it must be, 1 when something differs, 130 after Ctrl-C. Every wait is bounded, and
whatever was started has ended when this ends.
"""

from __future__ import annotations

import asyncio
import functools
import os
import shlex
import sys
import tempfile
import textwrap
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mcp import Client, MCPError
from mcp_types import CallToolResult, TextContent

from programs.demo import report
from programs.demo.__main__ import causes
from programs.demo.agent import SECONDS, agent, in_short
from programs.demo.exchange import Exchange, serve
from programs.demo.report import Paint
from programs.demo_approval.story import CANCEL, STORY, Command, Outcome, Seen, Step, Verdict, cancels, differences
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
    """Start the exchange, and the sidecar with the server behind it; play; end them all."""
    exchange = Exchange()
    say(report.heading(f"Starting: sidecar run -c {POLICY} -- mcp-okx", paint))
    with serve(exchange) as url:
        say(f"  exchange  stub of OKX on {url}: no traffic leaves the machine")
        async with asyncio.timeout(LONGEST), agent(url, folder, free_port(), POLICY) as client:
            calls: list[Seen] = []
            for step in STORY:
                calls.append(await play(client, step, paint))
                if step.person:
                    say(report.heading("A person is at a terminal:", paint))
                for command in step.person:
                    await answer(command, calls[-1].approval, folder / "state", paint)
    return Outcome(tuple(calls), exchange.received)


async def play(client: Client, step: Step, paint: Paint) -> Seen:
    """Make one call of the agent, and show what it gets."""
    say(report.heading(step.what, paint))
    arguments = " ".join(f"{name}={value}" for name, value in step.arguments.items())
    say(f"  {step.tool} {arguments}")
    try:
        seen = judged(step, await client.call_tool(step.tool, step.arguments))
    except MCPError as error:
        seen = asked(error)
    say("  ->", paint(_COLOURS[seen.verdict], seen.verdict))
    for line in [*seen.message.splitlines(), *(f"{name}: {value}" for name, value in seen.facts)]:
        say(paint("dim", textwrap.fill(line, report.WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT)))
    return seen


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


async def answer(command: Command, approval: str, state: Path, paint: Paint) -> None:
    """Do what the person does, and show the command and all that it prints. Raises OSError if it fails."""
    words = [approval if word == "ID" else word for word in command]
    say(f"\n  {paint('bold', f'$ sidecar approvals {shlex.join(words)}')}")
    process = await asyncio.create_subprocess_exec(
        SIDECAR,
        "approvals",
        *words,
        "--state-dir",
        state,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": str(report.WIDTH - 2)},
    )
    try:
        async with asyncio.timeout(SECONDS):
            out, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise OSError(f"`sidecar approvals {command[0]}` ended with {process.returncode}: {errors.decode().strip()}")
    say(*(f"  {line}" for line in out.decode().splitlines()), sep="\n")


def succeed(outcome: Outcome, paint: Paint) -> int:
    """What the exchange was asked, the last line, and the exit status."""
    say(report.heading("What the exchange was asked to cancel:", paint))
    for body in cancels(outcome.received):
        say(f"  {' '.join(f'{name}={body[name]}' for name in CANCEL)}")
    say(
        "\n" + paint("green", "As it must be:"),
        "the approved call reached the exchange once, and no other did.",
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


if __name__ == "__main__":
    sys.exit(main())
