"""The audit log: one JSON line for each decision, the engine's or a person's, with no argument value in it.

By `arguments_hash` lines about the same arguments can be found. It is keyed with a secret of this installation, because
the bare hash of a PIN or a card number can be reversed by trying all of them.
"""

from __future__ import annotations

import hashlib
import time
from typing import Any, Final

import msgspec

from sidecar.audit.trail import Trail
from sidecar.auth.caller import Caller
from sidecar.enforce.call_cache import CachedCall, CachedLine
from sidecar.events import ApprovalChanged, ApprovalTried, Decided, Handlers, Judged, MethodDenied, Refused
from sidecar.mcp.jsonrpc import Request
from sidecar.mcp.protocol import TOOLS_CALL
from sidecar.mcp.strict_json import encode
from sidecar.mcp.tool_call import Prepared, PreparedCall
from sidecar.text import shown, visible

MAX_REASON: Final = 1_000
"""Characters of a person's reason that are kept."""

_OF_APPROVALS: Final = b'{"time":"%b",%b}'
_LINE: Final = b'{"time":"%b","event":"decision","decision_id":"%b",%b}'


class _Violation(msgspec.Struct, frozen=True, gc=False):
    rule: str
    kind: str
    monitor: bool
    shadow: bool | msgspec.UnsetType


class _Caller(msgspec.Struct, frozen=True, gc=False):
    """Whose message it was. `principal` is there if the caller authenticated."""

    instance: str
    server: str
    session: str
    principal: str | msgspec.UnsetType


class _Decided(_Caller, frozen=True, gc=False):
    """What was decided on a call, and why."""

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
    risk_class: str | msgspec.UnsetType = msgspec.field(name="class")
    severity: str | msgspec.UnsetType


class _Refused(_Caller, frozen=True, gc=False):
    """A message that could not be read."""

    decision: str
    kind: str
    reason: str
    code: int


class _MethodDenied(_Caller, frozen=True, gc=False):
    """A message that is no call, whose method policy does not permit."""

    method: str
    decision: str
    kind: str
    mode: str


class _ApprovalChanged(msgspec.Struct, frozen=True, gc=False, tag_field="event", tag="approval"):
    """An approval came into a state. `by` and what follows is there where a person did that: who, how, and why.

    `asked_by` is the principal of the call. `shown` is the digest of what the person saw, which no line has.
    """

    instance: str
    server: str
    approval: str
    state: str
    tool: str
    risk_class: str | msgspec.UnsetType = msgspec.field(name="class")
    severity: str | msgspec.UnsetType
    rule: str
    session: str
    asked_by: str | msgspec.UnsetType
    client: str
    asked_times: int
    grant: str | msgspec.UnsetType
    verdict: str | msgspec.UnsetType = msgspec.UNSET
    by: str | msgspec.UnsetType = msgspec.UNSET
    via: str | msgspec.UnsetType = msgspec.UNSET
    origin: str | msgspec.UnsetType = msgspec.UNSET
    reason: str | msgspec.UnsetType = msgspec.UNSET
    standing: bool | msgspec.UnsetType = msgspec.UNSET
    shown: str | msgspec.UnsetType = msgspec.UNSET


class _ApprovalTried(msgspec.Struct, frozen=True, gc=False, tag_field="event", tag="approval_refused"):
    """Somebody tried to see or to answer approvals and was refused."""

    instance: str
    server: str
    approval: str
    what: str
    by: str
    via: str
    origin: str
    status: int
    reason: str


class Audit:
    """Writes to `trail`; `key` keys the hashes of arguments, `instance` names this sidecar.

    Decisions that are made together are written together, and before any of their calls is forwarded.
    """

    def __init__(self, trail: Trail, key: bytes, instance: str) -> None:
        self._trail = trail
        self._keyed = hashlib.blake2b(key=key, digest_size=16)
        self._instance = instance
        self._moment = 0
        self._stamp = b""
        self._lines: list[bytes] = []
        self.handlers: Handlers = {
            Decided: self._decided, Judged: self._judged, Refused: self._refused, MethodDenied: self._method_denied,
            ApprovalChanged: self._approval_changed, ApprovalTried: self._approval_tried,
        }  # fmt: skip

    def prepare(self, request: Request) -> Request:
        """The same request, with what takes long for a large call worked out on whatever thread it is read."""
        arguments = (request.params or {}).get("arguments")
        if request.method != TOOLS_CALL or type(arguments) is not dict:
            return request
        return Prepared(
            request.id, request.method, request.params, request.raw, request.members,
            arguments_hash=self._hashed(arguments),
        )  # fmt: skip

    def _hashed(self, arguments: dict[str, Any]) -> str:
        hashed = self._keyed.copy()
        hashed.update(encode(arguments))
        return hashed.hexdigest()

    def _decided(self, event: Decided) -> None:
        members = b'%b,"milliseconds":%.3f' % (self._about(event), event.seconds * 1000)
        if event.approval:
            members = b'%b,"approval":"%b"' % (members, event.approval.encode())
        self._lines.append(_LINE % (self._now(), event.decision_id.encode(), members))

    def _refused(self, event: Refused) -> None:
        caller = event.caller
        refused = _Refused(
            self._instance, event.server, caller.session, _principal(caller), "deny", "invalid_request", event.reason,
            event.code,
        )  # fmt: skip
        self._lines.append(_LINE % (self._now(), event.decision_id.encode(), _members(refused)))
        self._write()

    def _method_denied(self, event: MethodDenied) -> None:
        caller = event.caller
        denied = _MethodDenied(
            self._instance, event.server, caller.session, _principal(caller), shown(event.method), "deny", "method",
            event.mode,
        )  # fmt: skip
        self._lines.append(_LINE % (self._now(), event.decision_id.encode(), _members(denied)))
        self._write()

    def _approval_changed(self, event: ApprovalChanged) -> None:
        record, by = event.record, event.by
        asked, told = record.asked, record.asked.shown
        about = _ApprovalChanged(
            self._instance, event.server, record.id, record.state, shown(asked.tool),
            told.risk_class or msgspec.UNSET, told.severity or msgspec.UNSET, told.rule, told.session,
            shown(told.asker) or msgspec.UNSET, shown(told.client), record.asked_times, record.grant or msgspec.UNSET,
        )  # fmt: skip
        if by is not None:
            about = msgspec.structs.replace(
                about, verdict=by.verdict, by=shown(by.by), via=by.via, origin=shown(by.origin),
                reason=visible(by.reason[:MAX_REASON]), standing=by.grant, shown=by.shown or msgspec.UNSET,
            )  # fmt: skip
        self._lines.append(_OF_APPROVALS % (self._now(), _members(about)))
        self._write()

    def _approval_tried(self, event: ApprovalTried) -> None:
        tried = _ApprovalTried(
            self._instance, event.server, shown(event.approval), shown(event.what), shown(event.who), event.via,
            shown(event.origin), event.status, visible(event.why[:MAX_REASON]),
        )  # fmt: skip
        self._lines.append(_OF_APPROVALS % (self._now(), _members(tried)))
        self._write()

    def _judged(self, _: Judged) -> None:
        self._write()

    def _about(self, event: Decided) -> bytes:
        """All that is the same for calls that say the same, of one caller and with one ruling."""
        ruling, caller, call = event.ruling, event.caller, event.call
        if type(call) is not CachedCall:
            return _members(self._document(event))
        kept = call.memo.line
        if kept is None or kept.ruling is not ruling or kept.caller is not caller:
            kept = call.memo.line = CachedLine(ruling, caller, _members(self._document(event)))
        return kept.line

    def _document(self, event: Decided) -> _Decided:
        caller, call, ruling = event.caller, event.call, event.ruling
        hashed = call.arguments_hash if type(call) is PreparedCall else self._hashed(call.arguments)
        # By position: of so many fields names would cost more than all else here.
        return _Decided(
            self._instance, event.server, caller.session, _principal(caller), shown(call.tool),
            "allow" if ruling.allowed else "deny", ruling.kind, ruling.rule, ruling.reason,
            [
                _Violation(item.rule, item.kind, item.monitor, item.shadow or msgspec.UNSET)
                for item in ruling.violations
            ],
            ruling.mode, caller.client, hashed, ruling.revision, ruling.serial, ruling.engine_id, ruling.remembered,
            ruling.risk.risk_class or msgspec.UNSET, ruling.risk.severity or msgspec.UNSET,
        )  # fmt: skip

    def _now(self) -> bytes:
        """The time in UTC, to the millisecond; the text is cached for that millisecond."""
        moment = int(time.time() * 1000)
        if moment != self._moment:
            second, rest = divmod(moment, 1000)
            self._moment = moment
            self._stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))}.{rest:03d}Z".encode()
        return self._stamp

    def _write(self) -> None:
        if self._lines:
            self._trail.write(self._lines)
            self._lines = []


def _members(document: msgspec.Struct) -> bytes:
    """The encoded members of an object, without its braces."""
    return encode(document)[1:-1]


def _principal(caller: Caller) -> str | msgspec.UnsetType:
    return shown(caller.principal.subject) if caller.principal is not None else msgspec.UNSET
