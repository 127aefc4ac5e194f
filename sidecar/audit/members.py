"""What the lines of the audit log say, by kind of event: values in, the members of a JSON object out.

Every name from outside is capped and escaped here, and no argument value comes here. `docs/audit.schema.json` has the
same members with their meaning.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

from sidecar.auth.caller import Caller
from sidecar.events import (
    ApprovalChanged,
    ApprovalTried,
    BundleJudged,
    Decided,
    EngineReady,
    HttpRefused,
    MethodDenied,
    Refused,
    Reloaded,
    Settled,
    Started,
    Stopped,
)
from sidecar.mcp.strict_json import encode
from sidecar.mcp.tool_call import Outcome
from sidecar.text import shown, visible

MAX_TEXT: Final = 1_000
"""Characters of a longer text from outside, as a person's reason, that are kept."""

OutcomeWord: TypeAlias = Literal["answered", "is_error", "error", "not_run", "lost"]
_OUTCOMES: Final[dict[Outcome, OutcomeWord]] = {
    Outcome.SUCCEEDED: "answered", Outcome.FAILED: "is_error", Outcome.ERROR: "error", Outcome.NOT_RUN: "not_run",
    Outcome.UNKNOWN: "lost",
}  # fmt: skip

_Text: TypeAlias = str | msgspec.UnsetType
_UNSET: Final = msgspec.UNSET


class Line(msgspec.Struct, frozen=True, gc=False):
    """What every line says: who writes, and for which server."""

    instance: str
    server: str


class _Violation(msgspec.Struct, frozen=True, gc=False):
    rule: str
    kind: str
    monitor: bool
    shadow: bool | msgspec.UnsetType


class _Caller(Line, frozen=True, gc=False):
    """Whose message it was. `principal` is there if the caller authenticated."""

    session: str
    principal: _Text


class _Decided(_Caller, frozen=True, gc=False):
    tool: str
    decision: str
    kind: str
    rule: str
    reason: str
    violations: list[_Violation]
    mode: str
    client: str
    arguments_hash: str
    revision: str
    serial: int
    engine_decision_id: str | None
    remembered: bool
    risk_class: _Text = msgspec.field(name="class")
    severity: _Text
    file: _Text
    line: int | msgspec.UnsetType


class _Refused(_Caller, frozen=True, gc=False):
    decision: str
    kind: str
    reason: str
    code: int


class _MethodDenied(_Caller, frozen=True, gc=False):
    method: str
    decision: str
    kind: str
    mode: str


class _Settled(Line, frozen=True, gc=False):
    tool: str
    outcome: OutcomeWord
    cause: _Text
    status: int | msgspec.UnsetType


class _ApprovalChanged(Line, frozen=True, gc=False):
    approval: str
    state: str
    tool: str
    risk_class: _Text = msgspec.field(name="class")
    severity: _Text
    rule: str
    session: str
    asked_by: _Text
    client: str
    asked_times: int
    grant: _Text
    verdict: _Text = _UNSET
    by: _Text = _UNSET
    via: _Text = _UNSET
    origin: _Text = _UNSET
    reason: _Text = _UNSET
    standing: bool | msgspec.UnsetType = _UNSET
    shown: _Text = _UNSET


class _ApprovalTried(Line, frozen=True, gc=False):
    approval: str
    what: str
    by: str
    via: str
    origin: str
    status: int
    reason: str


class _SignInFailed(Line, frozen=True, gc=False):
    listener: str
    status: int
    reason: str
    text: str
    peer: str
    times: int


class _Policy(Line, frozen=True, gc=False):
    accepted: bool
    revision: _Text = _UNSET
    serial: int | msgspec.UnsetType = _UNSET
    commit: _Text = _UNSET
    mode: _Text = _UNSET
    refused: _Text = _UNSET
    reason: _Text = _UNSET


class _Started(Line, frozen=True, gc=False):
    version: str
    opa: str
    client_transport: str
    upstream_transport: str
    authentication: str
    mode: str
    fail_mode: str
    revision: str
    serial: int


class _Stopped(Line, frozen=True, gc=False):
    status: int
    why: str
    signal: _Text
    seconds: float


def decided(instance: str, event: Decided, arguments_hash: str, place: tuple[str, int] | None) -> bytes:
    """What was decided on a call, and why; `place` is the file and the line of the rule that decided."""
    caller, ruling = event.caller, event.ruling
    file, line = place if place is not None else (_UNSET, _UNSET)
    # By position: of so many fields names would cost more than all else here.
    return _members(_Decided(
        instance, event.server, caller.session, _principal(caller), shown(event.call.tool),
        "allow" if ruling.allowed else "deny", ruling.kind, ruling.rule, ruling.reason,
        [_Violation(item.rule, item.kind, item.monitor, item.shadow or _UNSET) for item in ruling.violations],
        ruling.mode, caller.client, arguments_hash, ruling.revision, ruling.serial, ruling.engine_id,
        ruling.remembered, ruling.risk.risk_class or _UNSET, ruling.risk.severity or _UNSET, file, line,
    ))  # fmt: skip


def refused(instance: str, event: Refused) -> bytes:
    """A message that could not be read."""
    caller = event.caller
    return _members(_Refused(
        instance, event.server, caller.session, _principal(caller), "deny", "invalid_request", _said(event.reason),
        event.code,
    ))  # fmt: skip


def method_denied(instance: str, event: MethodDenied) -> bytes:
    """A message that is no call, whose method policy does not permit."""
    caller = event.caller
    return _members(_MethodDenied(
        instance, event.server, caller.session, _principal(caller), shown(event.method), "deny", "method", event.mode,
    ))  # fmt: skip


def settled(instance: str, event: Settled) -> bytes:
    """What became of a call that was forwarded, but not how long it took."""
    return _members(_Settled(
        instance, event.server, shown(event.tool), _OUTCOMES[event.outcome], event.cause or _UNSET,
        event.status or _UNSET,
    ))  # fmt: skip


def approval_changed(instance: str, event: ApprovalChanged) -> bytes:
    """An approval came into a state. `by` and what follows is there where a person did that: who, how, and why.

    `asked_by` is the principal of the call. `shown` is the digest of what the person saw, which no line has.
    """
    record, by = event.record, event.by
    asked, told = record.asked, record.asked.shown
    about = _ApprovalChanged(
        instance, event.server, record.id, record.state, shown(asked.tool), told.risk_class or _UNSET,
        told.severity or _UNSET, told.rule, told.session, shown(told.asker) or _UNSET, shown(told.client),
        record.asked_times, record.grant or _UNSET,
    )  # fmt: skip
    if by is not None:
        about = msgspec.structs.replace(
            about, verdict=by.verdict, by=shown(by.by), via=by.via, origin=shown(by.origin), reason=_said(by.reason),
            standing=by.grant, shown=by.shown or _UNSET,
        )  # fmt: skip
    return _members(about)


def approval_tried(instance: str, event: ApprovalTried) -> bytes:
    """Somebody tried to see or to answer approvals and was refused."""
    return _members(_ApprovalTried(
        instance, event.server, shown(event.approval), shown(event.what), shown(event.who), event.via,
        shown(event.origin), event.status, _said(event.why),
    ))  # fmt: skip


def sign_in_failed(instance: str, event: HttpRefused, times: int) -> bytes:
    """Somebody was refused who did not show who he is, so many times."""
    return _members(_SignInFailed(
        instance, event.server, event.listener, event.status, event.reason, _said(event.text), shown(event.peer),
        times,
    ))  # fmt: skip


def policy_in_force(instance: str, event: EngineReady) -> bytes:
    """Another policy decides from now on."""
    return _members(_Policy(
        instance, event.server, True, event.revision, event.serial, shown(event.commit) or _UNSET,
        "monitor" if event.terms.monitor else "enforce",
    ))  # fmt: skip


def files_refused(instance: str, event: Reloaded) -> bytes:
    """Changed policy files are not put in force."""
    return _members(_Policy(instance, event.server, False, reason=_said(event.text)))


def bundle_refused(instance: str, event: BundleJudged) -> bytes:
    """A bundle is not put in force."""
    return _members(_Policy(
        instance, event.server, False, serial=event.serial or _UNSET, commit=shown(event.commit) or _UNSET,
        refused=event.refused, reason=_said(event.text),
    ))  # fmt: skip


def started(instance: str, event: Started) -> bytes:
    """A sidecar began to serve, and by which settings that matter for what it lets through."""
    return _members(_Started(
        instance, event.server, event.version, event.opa, event.client, event.upstream, event.authentication,
        event.mode, "open" if event.fail_open else "closed", event.revision, event.serial,
    ))  # fmt: skip


def stopped(instance: str, event: Stopped) -> bytes:
    """A sidecar ended."""
    return _members(_Stopped(
        instance, event.server, event.status, event.why, event.signal or _UNSET, round(event.seconds, 3)
    ))  # fmt: skip


def _members(document: Line) -> bytes:
    """The encoded members of an object, without its braces."""
    return encode(document)[1:-1]


def _said(text: str) -> str:
    """A text from outside that is no name, as a reason."""
    return visible(text[:MAX_TEXT])


def _principal(caller: Caller) -> _Text:
    return shown(caller.principal.subject) if caller.principal is not None else _UNSET
