"""How the use of an approval ended, told to the store: until it took it, or we end.

What the store never hears stays in use, which lets nothing through: once we are gone it counts as unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from sidecar.enforce.limits import HELD_UP
from sidecar.errors import StoreUnavailable
from sidecar.events import ApprovalChanged, Emit, StoreFailed
from sidecar.ledger.approvals import Approvals, NoApproval, Record, Settlement
from sidecar.ledger.values import Entry
from sidecar.mcp.tool_call import Outcome
from sidecar.system import defects
from sidecar.system.tasks import Group

AGAIN: Final = 1.0
"""Seconds until a store that could not be used is told again."""


def settlement(outcome: Outcome) -> Settlement:
    """How the use of an approval ended, by the outcome of the call: whatever the server answered, it is consumed."""
    match outcome:
        case Outcome.UNKNOWN:
            return "unknown"
        case Outcome.NOT_RUN:
            return "not_run"
        case _:
            return "consumed"


class Settling:
    """Settles the approvals that calls of one server use. `work` holds what waits for the store."""

    def __init__(self, server: str, approvals: Approvals, emit: Emit) -> None:
        self.work = Group()
        self._server = server
        self.approvals = approvals
        self._emit = emit
        self._over = False

    def give_up(self) -> None:
        """Tell nothing again that the store did not take: we end, and once we are gone it is unknown."""
        self._over = True

    def settle(
        self, approval: str, use: int, how: Settlement, entries: tuple[Entry, ...],
        done: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        """The use of an approval with this number ended, and `entries` are given back; then call `done`.

        A store that takes long holds it up for `HELD_UP` at most.
        """
        try:
            record = self.approvals.settle_at_once(approval, how, entries, use)
        except StoreUnavailable:
            record = None  # it is told again, by whoever waits for it
        except NoApproval:
            done()  # so old that it was removed
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, who waits for the answer has to get it
            defects.tell("an approval is not settled", error)
            done()
            return
        if record is None:
            self.work.start(self._wait(approval, use, how, entries, done))
        else:
            self._settled(record)
            done()

    async def _wait(
        self, approval: str, use: int, how: Settlement, entries: tuple[Entry, ...], done: Callable[[], None]
    ) -> None:  # fmt: skip
        settling = asyncio.ensure_future(self._until_settled(approval, use, how, entries))
        await asyncio.wait([settling], timeout=HELD_UP)
        done()
        await settling

    async def _until_settled(self, approval: str, use: int, how: Settlement, entries: tuple[Entry, ...]) -> None:
        told = False
        while not self._over:
            try:
                record = await self.approvals.settle(approval, how, entries, use)
            except NoApproval:
                return  # so old that it was removed
            except StoreUnavailable as error:
                if not told:
                    text = f"it could not be told what became of the approval {approval}, and is told again: {error}"
                    self._emit(StoreFailed(self._server, text))
                    told = True
                await asyncio.sleep(AGAIN)
            else:
                self._settled(record)
                return

    def _settled(self, record: Record) -> None:
        if record.answers and record.answers[-1].verdict in ("committed", "failed"):
            return  # a person was quicker to say what happened, and that was told
        self._emit(ApprovalChanged(self._server, record))
