"""One answer of a person at a terminal: given to the store, and audited, as is every try that is refused."""

from __future__ import annotations

import time
from typing import NoReturn

import msgspec
from msgspec.structs import replace

from sidecar.approvals.document import digest_of
from sidecar.cli.approvals_store import INSTANCE, CannotAnswer, Store, audited, find, ledger_of
from sidecar.errors import StoreUnavailable
from sidecar.events import ApprovalChanged, ApprovalTried, Emit
from sidecar.ledger.approvals import Answer, Approvals, Conflict, NoApproval, Record
from sidecar.text import shown, visible


class Given(msgspec.Struct, frozen=True):
    """What an answer came to: the approval after it, the answer as it was given, and whether it changed anything."""

    record: Record
    answer: Answer
    changed: bool


async def give(store: Store, id: str, answer: Answer) -> Given:  # noqa: A002 - the field's word
    """Give an answer to the approval with this id, or the only one whose id begins so.

    Raises `CannotAnswer` and `StoreUnavailable`, and `StartError` if it could not be recorded: nothing is decided then.
    """
    with audited(store) as emit:
        tried = _Try(emit, answer)
        try:
            async with ledger_of(store) as ledger:
                record = await find(ledger.approvals, id)
                tried.found(record)
                if record.state == "in_use" and answer.verdict in ("committed", "failed"):
                    await _sweep(ledger.approvals, emit)
                answer = replace(answer, at=time.time(), shown=digest_of(record.asked))
                after, changed = await _act(ledger.approvals, record.id, answer)
        except Conflict as error:
            tried.refuse(f"{error.record.id}: {visible(str(error))}")
        except NoApproval:  # it was over for long, and was removed just now
            tried.refuse("it is gone")
        except (CannotAnswer, StoreUnavailable) as error:
            tried.tell(shown(id), str(error))
            raise
        if changed:
            emit(ApprovalChanged(after.asked.server, after, after.answers[-1]))
    return Given(after, answer, changed)


async def _act(approvals: Approvals, id_: str, answer: Answer) -> tuple[Record, bool]:
    match answer.verdict:
        case "approve" | "deny":
            return await approvals.decide(id_, answer)
        case "committed" | "failed":
            return await approvals.resolve(id_, answer), True
        case "revoke":
            return await approvals.revoke(id_, answer), True


async def _sweep(approvals: Approvals, emit: Emit) -> None:
    """Note what is over. Where no sidecar runs any more, nobody else notes that the one that had a call is gone."""
    for record in await approvals.sweep(INSTANCE):
        emit(ApprovalChanged(record.asked.server, record))


class _Try:
    """What is told of a try that is refused."""

    def __init__(self, emit: Emit, answer: Answer) -> None:
        self._emit = emit
        self._answer = answer
        self._record: Record | None = None

    def found(self, record: Record) -> None:
        self._record = record

    def refuse(self, why: str) -> NoReturn:
        assert self._record is not None
        self.tell(self._record.id, why)
        raise CannotAnswer(why) from None

    def tell(self, named: str, why: str) -> None:
        said, record = self._answer, self._record
        what = "resolve" if said.verdict in ("committed", "failed") else said.verdict
        server = record.asked.server if record is not None else ""
        self._emit(ApprovalTried(server, said.by, said.via, said.origin, what, named, 0, why))
