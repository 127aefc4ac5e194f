"""A person who answers approvals, at the store that a sidecar keeps them in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal, TypeVar

from sidecar.ledger.approvals import Answer, Approvals, Record, State
from sidecar.ledger.sqlite import SqliteLedger
from tests.support.peer import until

Result = TypeVar("Result")


class Approver:
    """Ann, at the state folder of a sidecar."""

    def __init__(self, state: Path, name: str = "ann") -> None:
        self._path = state / "counters.db"
        self._name = name

    def pending(self) -> Record:
        """The one approval that waits for a person, waited for."""
        until(lambda: self.all("pending"), what="a call that waits for a person")
        (record,) = self.all("pending")
        return record

    def all(self, *states: State) -> list[Record]:
        """The approvals in these states, or all, the oldest first."""
        found = self._at_store(lambda approvals: approvals.records(states) if states else approvals.records())
        return found[::-1]

    def approve(self, id_: str) -> Record:
        """Say yes to this call."""
        return self._decide(id_, "approve")

    def deny(self, id_: str, reason: str = "") -> Record:
        """Say no."""
        return self._decide(id_, "deny", reason)

    def resolve(self, id_: str, what: Literal["committed", "failed"]) -> Record:
        """Say what became of a call of which nobody knows."""
        return self._at_store(lambda approvals: approvals.resolve(id_, self._answer(what)))

    def state(self, id_: str) -> State:
        """Where an approval stands."""
        return self._at_store(lambda approvals: approvals.find(id_)).state

    def reaches(self, id_: str, state: State) -> None:
        """Wait until an approval is in a state."""
        until(lambda: self.state(id_) == state, what=f"the state {state}")

    def _decide(self, id_: str, verdict: Literal["approve", "deny"], reason: str = "") -> Record:
        return self._at_store(lambda approvals: approvals.decide(id_, self._answer(verdict, reason)))[0]

    def _answer(self, verdict: Literal["approve", "deny", "committed", "failed"], reason: str = "") -> Answer:
        return Answer(self._name, 0.0, "cli", "test", verdict, reason)

    def _at_store(self, do: Callable[[Approvals], Awaitable[Result]]) -> Result:
        async def done() -> Result:
            ledger = SqliteLedger(self._path, time.time)
            try:
                return await do(ledger.approvals)
            finally:
                await ledger.close()

        return asyncio.run(done())
