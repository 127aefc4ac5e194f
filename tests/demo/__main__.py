"""Runs the demo: starts everything, lets the agent play, shows what it saw, and says whether that is as it must be."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mcp import Client, MCPError

from tests.demo import metrics, report
from tests.demo.agent import POLICY, agent, free_port, play
from tests.demo.exchange import Exchange, serve
from tests.demo.outcome import Outcome, differences
from tests.demo.report import Paint
from tests.demo.script import READS, WRITES, Call, Step, seconds_to_wait

LONGEST = 90.0
"""Seconds that the whole session may take, the wait for a new minute included."""


def main() -> int:
    """The exit status: 0 when all is as it must be, 1 when something differs, 130 after Ctrl-C."""
    paint = Paint.for_stream(sys.stdout, os.environ)
    with tempfile.TemporaryDirectory(prefix="sidecar-demo-") as name:
        folder = Path(name)
        try:
            outcome = asyncio.run(demo(folder, paint))
        except KeyboardInterrupt:
            print("\nStopped; nothing runs on.")
            return 130
        except (MCPError, OSError, ExceptionGroup) as error:
            return fail([f"the session broke off: {', '.join(causes(error))}"], folder, paint)
    show(outcome, paint)
    if wrong := differences(outcome):
        return fail(wrong, folder, paint)
    print("\n" + paint("green", "As it must be:"), end=" ")
    print("10 orders reached the exchange; the 11th and the cancellation were refused and did not.")
    return 0


async def demo(folder: Path, paint: Paint) -> Outcome:
    """Start the exchange, the sidecar and the server, play the session, end them all."""
    exchange, port = Exchange(), free_port()
    print(paint("bold", f"An agent trades through: sidecar run -c {POLICY} -- mcp-okx"))
    with serve(exchange) as url:
        print(f"  stub of the OKX exchange on {url}, no credentials, no outside traffic")
        async with asyncio.timeout(LONGEST):
            with step("starting the sidecar, OPA and mcp-okx"):
                connection = agent(url, folder, port)
                client = await connection.__aenter__()
    raise NotImplementedError
