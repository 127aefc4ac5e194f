"""Lines about approvals: what became of them, and who tried in vain."""

from __future__ import annotations

import msgspec

from sidecar.audit.members.line import UNSET, Line, Text, encoded, said
from sidecar.events import ApprovalChanged, ApprovalTried
from sidecar.text import shown


class _ApprovalChanged(Line, frozen=True, gc=False):
    approval: str
    state: str
    tool: str
    risk_class: Text = msgspec.field(name="class")
    severity: Text
    rule: str
    session: str
    asked_by: Text
    client: str
    asked_times: int
    grant: Text
    verdict: Text = UNSET
    by: Text = UNSET
    via: Text = UNSET
    origin: Text = UNSET
    reason: Text = UNSET
    standing: bool | msgspec.UnsetType = UNSET
    shown: Text = UNSET


class _ApprovalTried(Line, frozen=True, gc=False):
    approval: str
    what: str
    by: str
    via: str
    origin: str
    status: int
    reason: str


def changed(instance: str, event: ApprovalChanged) -> bytes:
    """An approval came into a state. `by` and what follows is there where a person did that: who, how, and why.

    `asked_by` is the principal of the call. `shown` is the digest of what the person saw, which no line has.
    """
    record, by = event.record, event.by
    asked, told = record.asked, record.asked.shown
    about = _ApprovalChanged(
        instance, event.server, record.id, record.state, shown(asked.tool), told.risk_class or UNSET,
        told.severity or UNSET, told.rule, said(told.session), shown(told.asker) or UNSET, shown(told.client),
        record.asked_times, record.grant or UNSET,
    )  # fmt: skip
    if by is not None:
        about = msgspec.structs.replace(
            about, verdict=by.verdict, by=shown(by.by), via=by.via, origin=shown(by.origin), reason=said(by.reason),
            standing=by.grant, shown=by.shown or UNSET,
        )  # fmt: skip
    return encoded(about)


def tried(instance: str, event: ApprovalTried) -> bytes:
    """Somebody tried to see or to answer approvals and was refused."""
    return encoded(_ApprovalTried(
        instance, event.server, shown(event.approval), shown(event.what), shown(event.who), event.via,
        shown(event.origin), event.status, said(event.why),
    ))  # fmt: skip
