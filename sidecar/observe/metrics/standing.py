"""Where the limits of all calls stand in the store: read now and then, because others count there too.

Those are sidecars that share the store, and this one before it was started. It also shows what fell out of a sliding
window. Counters of sessions and principals are not read: nobody knows whose there are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from sidecar.errors import StoreUnavailable
from sidecar.ledger.protocol import Ledger
from sidecar.ledger.sliding import start_of
from sidecar.observe.metrics.limits import LimitMetrics

EVERY: Final = 15.0
"""Seconds between two looks."""
MOST: Final = 100
"""Counters that one look reads; the store has calls to count."""


async def keep_reading(limits: LimitMetrics, ledger: Ledger, clock: Callable[[], float]) -> None:
    """Read the totals without end; `clock` gives Unix seconds."""
    while True:
        await read(limits, ledger, clock)
        await asyncio.sleep(EVERY)


async def read(limits: LimitMetrics, ledger: Ledger, clock: Callable[[], float]) -> None:
    """Read the totals once. A store that cannot be used changes nothing: calls need it more, and tell of it."""
    shared = limits.shared()[:MOST]
    at = clock()
    try:
        totals = await ledger.totals(tuple(one.counter for one in shared))
    except StoreUnavailable:
        return
    for one, total in zip(shared, totals, strict=True):
        limits.stands(one, total, start_of(one.counter, at))
