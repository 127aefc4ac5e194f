"""A program that makes the same approved calls, many copies of each at once: `CALLS COPIES STORE...`.

It writes `r` when it is ready and begins when it can read a byte. For each call it writes a line: its name and a `.`
for each copy that got through. What it got it never settles; it writes `!` at the end, and waits until it is killed.
"""

from __future__ import annotations

import asyncio
import os
import sys

from sidecar.errors import StoreUnavailable
from sidecar.ledger.approvals import Asked
from sidecar.ledger.protocol import Claim, Ledger
from tests.ledger.asking import asks
from tests.ledger.stores import Clock, claim, ledger_in, store_of, wants


async def gets_through(ledger: Ledger, asked: Asked) -> bool:
    """True where this copy of a call may be forwarded."""
    while True:
        try:
            return isinstance(await claim(ledger, wants(limit=None), asks=asked), Claim)
        except StoreUnavailable:
            continue  # too many others; nothing was taken


async def main(calls: int, copies: int, store: list[str]) -> None:
    """Try every call."""
    async with ledger_in(store_of(store), Clock()) as ledger:
        await ledger.totals(())
        os.write(1, b"r\n")
        sys.stdin.read(1)
        for number in range(calls):
            asked = asks(f"c{number}", owner=f"process-{os.getpid()}")
            got = await asyncio.gather(*(gets_through(ledger, asked) for _ in range(copies)))
            os.write(1, f"c{number}{'.' * got.count(True)}\n".encode())
        os.write(1, b"!\n")
        sys.stdin.read()


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
