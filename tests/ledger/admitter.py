"""A program that has serials admitted, each once, in an order of its own: `SEED MOST STORE...`.

It writes `r` when it is ready and begins when it can read a byte. For each serial it writes a line: the serial, that
which stands then, and its revision. It writes `!` at the end.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys

from sidecar.errors import StoreUnavailable
from sidecar.ledger.protocol import Highest
from tests.ledger.stores import Clock, ledger_in, store_of


async def main(seed: int, most: int, store: list[str]) -> None:
    """Have every serial admitted."""
    serials = list(range(1, most + 1))
    random.Random(seed).shuffle(serials)
    async with ledger_in(store_of(store), Clock()) as ledger:
        await ledger.totals(())
        os.write(1, b"r\n")
        sys.stdin.read(1)
        for serial in serials:
            wanted = Highest(serial, f"{serial:x}-{seed}")
            while True:
                try:
                    stands = await ledger.admit("okx", wanted)
                    break
                except StoreUnavailable:
                    continue  # too many others
            os.write(1, f"{serial} {stands.serial} {stands.revision}\n".encode())
        os.write(1, b"!\n")


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
