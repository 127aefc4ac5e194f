"""A program that claims one from each of two counters until a limit is reached: `LIMIT STORE...`.

It writes `r` when it is ready, begins when it can read a byte, writes `.` after each claim that got through, and `!`
at the end.
"""

from __future__ import annotations

import asyncio
import os
import sys

from sidecar.errors import StoreUnavailable
from sidecar.ledger.protocol import Claim
from tests.ledger.stores import NOON, Clock, claim, ledger_in, store_of, wants


async def main(limit: int, store: list[str]) -> None:
    """Claim until nothing is left."""
    wanted = (wants("c", limit=limit), wants("d", limit=limit, window=60))
    async with ledger_in(store_of(store), Clock(NOON)) as ledger:
        await ledger.totals(())
        os.write(1, b"r")
        sys.stdin.read(1)
        while True:
            try:
                if not isinstance(await claim(ledger, *wanted), Claim):
                    break
            except StoreUnavailable:
                continue  # too many others; nothing was taken
            os.write(1, b".")
        os.write(1, b"!")


asyncio.run(main(int(sys.argv[1]), sys.argv[2:]))
