"""Calls that wait in place for a person: each is judged anew once its approval is no longer pending.

The answer of a person may come from another process or another machine, so the store is looked at while anybody waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from sidecar.decision.decision import Answer
from sidecar.enforce.trial import Trial
from sidecar.errors import StoreUnavailable
from sidecar.ledger.approvals import Approvals, NoApproval, Record
from sidecar.system import tasks

LOOK: Final = 0.25
"""Seconds between two looks at the store."""


class Held(msgspec.Struct, frozen=True):
    """A call that waits for the approval `record` until `until`, by the clock of the event loop."""

    trial: Trial
    answer: Answer
    record: Record
    until: float


class Holding:
    """The calls that wait. `decided` hears of one whose approval is no longer pending, `end` of one that waits no more.

    Neither raises.
    """

    def __init__(self, approvals: Approvals, decided: Callable[[Held], None], end: Callable[[Held], None]) -> None:
        self._approvals = approvals
        self._decided = decided
        self._end = end
        self._held: list[Held] = []
        self._watching: asyncio.Task[None] | None = None
        self._over = False

    @property
    def takes_more(self) -> bool:
        """False once everything is about to end."""
        return not self._over

    def hold(self, held: Held) -> None:
        """Let a call wait."""
        self._held.append(held)
        if self._watching is None or self._watching.done():
            self._watching = tasks.start(self._watch())

    def end_all(self) -> None:
        """Nobody waits any longer, from now on."""
        self._over = True
        held, self._held = self._held, []
        for one in held:
            self._end(one)

    async def _watch(self) -> None:
        now = asyncio.get_running_loop().time
        while self._held:
            await asyncio.sleep(LOOK)
            decided = await self._ids_decided()
            held, self._held = self._held, []
            for one in held:
                if one.trial.dropped or now() >= one.until:
                    self._end(one)
                elif one.record.id in decided:
                    self._decided(one)
                else:
                    self._held.append(one)

    async def _ids_decided(self) -> set[str]:
        """The approvals that are no longer pending; all of them where the store cannot tell, so that they are told."""
        ids = {one.record.id for one in self._held}
        decided = set()
        for id_ in ids:
            try:
                # Brief: an agent may let a hundred calls of megabytes wait.
                if (await self._approvals.find(id_, brief=True)).state != "pending":
                    decided.add(id_)
            except NoApproval:
                decided.add(id_)
            except StoreUnavailable:
                return ids
        return decided
