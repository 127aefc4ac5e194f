"""Lines about calls and other messages: what was decided, and what became of a call that was forwarded."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

from sidecar.audit.members.line import UNSET, Line, OfCaller, Text, encoded, principal, said
from sidecar.decision.decision import Violation
from sidecar.events import Decided, MethodDenied, Refused, Ruling, Settled
from sidecar.mcp.tool_call import Outcome
from sidecar.text import shown

OutcomeWord: TypeAlias = Literal["answered", "is_error", "error", "not_run", "lost"]
_OUTCOMES: Final[dict[Outcome, OutcomeWord]] = {
    Outcome.SUCCEEDED: "answered", Outcome.FAILED: "is_error", Outcome.ERROR: "error", Outcome.NOT_RUN: "not_run",
    Outcome.UNKNOWN: "lost",
}  # fmt: skip


class _Violation(msgspec.Struct, frozen=True, gc=False):
    rule: str
    kind: str
    monitor: bool
    shadow: bool | msgspec.UnsetType


class _Decided(OfCaller, frozen=True, gc=False):
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
    risk_class: Text = msgspec.field(name="class")
    severity: Text
    file: Text
    line: int | msgspec.UnsetType


class _Refused(OfCaller, frozen=True, gc=False):
    decision: str
    kind: str
    reason: str
    code: int


class _MethodDenied(OfCaller, frozen=True, gc=False):
    method: str
    decision: str
    kind: str
    mode: str


class _Settled(Line, frozen=True, gc=False):
    tool: str
    outcome: OutcomeWord
    cause: Text
    status: int | msgspec.UnsetType


MOST_VIOLATIONS: Final = 200
"""Rules that one line names: hand-written Rego may make a name of whatever a client sent, as many as it sent."""
_CUSTOM: Final = frozenset({"custom", "custom_invalid"})
"""Kinds of refusals by hand-written Rego, which may make names and reasons of what a client sent."""


def decided(instance: str, event: Decided, arguments_hash: str, place: tuple[str, int] | None) -> bytes:
    """What was decided on a call, and why; `place` is the file and the line of the rule that decided."""
    caller, ruling = event.caller, event.ruling
    file, line = place if place is not None else (UNSET, UNSET)
    # By position: of so many fields names would cost more than all else here.
    return encoded(_Decided(
        instance, event.server, said(caller.session), principal(caller), shown(event.call.tool),
        "allow" if ruling.allowed else "deny", ruling.kind, _rule(ruling), _reason(ruling),
        [
            _Violation(_rule(item), item.kind, item.monitor, item.shadow or UNSET)
            for item in ruling.violations[:MOST_VIOLATIONS]
        ],
        ruling.mode, caller.client, arguments_hash, ruling.revision, ruling.serial, ruling.engine_id,
        ruling.remembered, ruling.risk.risk_class or UNSET, ruling.risk.severity or UNSET, file, line,
    ))  # fmt: skip


def refused(instance: str, event: Refused) -> bytes:
    """A message that could not be read."""
    caller = event.caller
    return encoded(_Refused(
        instance, event.server, said(caller.session), principal(caller), "deny", "invalid_request", said(event.reason),
        event.code,
    ))  # fmt: skip


def method_denied(instance: str, event: MethodDenied) -> bytes:
    """A message that is no call, whose method policy does not permit."""
    caller = event.caller
    return encoded(_MethodDenied(
        instance, event.server, said(caller.session), principal(caller), shown(event.method), "deny", "method",
        event.mode,
    ))  # fmt: skip


def settled(instance: str, event: Settled) -> bytes:
    """What became of a call that was forwarded, but not how long it took."""
    return encoded(_Settled(
        instance, event.server, shown(event.tool), _OUTCOMES[event.outcome], event.cause or UNSET,
        event.status or UNSET,
    ))  # fmt: skip


def _rule(of: Ruling | Violation) -> str:
    return shown(of.rule) if of.kind in _CUSTOM else of.rule


def _reason(of: Ruling) -> str:
    return said(of.reason) if of.kind in _CUSTOM else of.reason
