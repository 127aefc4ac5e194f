"""Counters as they stand in the store of a sidecar, for a command that counts nothing itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from sidecar.decision.decision import Reserve
from sidecar.errors import StartError, StoreUnavailable
from sidecar.ledger.names import of_server, of_tool
from sidecar.ledger.sqlite import SqliteLedger
from sidecar.ledger.values import Amount, Counter
from sidecar.policy.model import PolicyEntry, Rule
from sidecar.policy.terms import CounterRead


class KeptCounters:
    """The counters in the store at `path`; all are 0 without one. Raises `StartError` if there is no such file.

    `missing` is the option that would name the store, empty where there is one.
    Each is looked up once, so all that a command says of a counter is of one moment.
    """

    def __init__(self, path: Path | None, server: str, missing: str = "--state-dir") -> None:
        if path is not None and not path.is_file():
            raise StartError(f"no counters in {path}: name the folder that `run` was given with --state-dir")
        self._path = path
        self._server = server
        self.missing = missing if path is None else ""
        self._found: dict[Counter, Amount] = {}

    def totals(self, counters: Sequence[Counter]) -> list[Amount | None]:
        """Totals of counters whose holders are their scopes; None for a session's, which ends with it."""
        shared = [
            Counter(of_server(self._server) + one.counter, "", one.window, one.sliding)
            for one in counters
            if one.holder == "global"
        ]
        unknown = tuple(dict.fromkeys(one for one in shared if one not in self._found))
        if unknown:
            totals = asyncio.run(self._look_up(unknown)) if self._path else [0] * len(unknown)
            self._found.update(zip(unknown, totals, strict=True))
        found = iter(shared)
        return [self._found[next(found)] if one.holder == "global" else None for one in counters]

    async def _look_up(self, counters: tuple[Counter, ...]) -> Sequence[Amount]:
        assert self._path is not None
        try:
            ledger = SqliteLedger(self._path, time.time)
            try:
                return await ledger.totals(counters)
            finally:
                await ledger.close()
        except StoreUnavailable as error:
            raise StartError(str(error)) from None


def kept(item: CounterRead | Reserve, tool: str) -> Counter:
    """A counter as it is kept for a call of a tool; its holder is its scope."""
    counter = of_tool(item.counter, tool) if item.each_tool else item.counter
    seconds = item.seconds if isinstance(item, Reserve) else item.window
    return Counter(counter, item.scope, seconds, item.sliding)


def counter_of(entry: PolicyEntry, rule: Rule, tool: str) -> Counter:
    """The counter of a rule that counts, for a call of a tool."""
    window, name = rule.window, f"{entry.counters}.{rule.stored}"
    return kept(CounterRead("", name, window.seconds, rule.scope, entry.counts_each_tool, window.sliding), tool)
