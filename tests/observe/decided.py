"""What is told of what happened: metrics, audit trail, log, and the endpoint that serves it."""

from __future__ import annotations

from typing import Any

import msgspec

from sidecar.auth.caller import Caller
from sidecar.decision.decision import Reserve
from sidecar.events import ApprovalChanged, Decided, EngineReady, Event, Observer, Ruling, fan_out
from sidecar.ledger.approvals import Answer, Record, State
from sidecar.ledger.protocol import Claim
from sidecar.ledger.values import Entry, Reservation
from tests.approvals.calls import asked
from tests.engine.asking import bundle_of, tool_call

BUNDLE = bundle_of("""
tools:
  t: {rules: [{name: per day, rate_limit: 3/day}, {name: small, conditions: [{path: args.a, op: lt, value: 5}]}]}
  "*": {rules: [{name: any, conditions: [{path: args.b, op: exists, value: false}]}]}
""")
READY = EngineReady("stub", BUNDLE.revision, BUNDLE.serial, BUNDLE.terms)
SECRET = "4929-secret-value"


def tell(listener: Observer, event: Event) -> None:
    """Tell one listener of an event, if he hears of such."""
    fan_out([listener])(event)


def counted(rule: str, left: float, *, start: int = 0, holder: str = "") -> dict[str, Any]:
    """What a call took from the counter of a rule, after which this much is `left`: the members of a decision."""
    (limit,) = (one for one in BUNDLE.terms.limits if one.rule == rule)
    reserve = Reserve(limit.counter, 1, int(limit.limit), limit.window, "global", rule, "No more", "rate_limit")
    taken = Reservation(f"stub/{limit.counter}", holder, limit.window, 1, reserve.limit)
    total = int(limit.limit - left)
    return {"reserve": (reserve,), "claim": Claim((Entry(taken, start),), (total,))}


def decided(tool: str = "t", arguments: str = f'{{"card":"{SECRET}"}}', **changes: Any) -> Decided:
    """A decision; by default `t` is allowed with a secret among its arguments. `left` is that of one limit."""
    ruling = Ruling(True, "enforce", "allow", "", "", (), BUNDLE.revision, 1, None, False)
    if "left" in changes:
        ((rule, left),) = changes.pop("left")
        changes |= counted(rule, left)
    changed = {key: changes.pop(key) for key in Ruling.__struct_fields__ if key in changes}
    event = Decided(
        "i-1", "stub", Caller("s1", "agent"), tool_call(tool, arguments), msgspec.structs.replace(ruling, **changed),
        0.001, 0.0005, (), False,
    )  # fmt: skip
    return msgspec.structs.replace(event, **changes)


def denied(tool: str = "t", rule: str = "per day", kind: str = "rate_limit", **changes: Any) -> Decided:
    """A decision against a call."""
    return decided(tool, **{"allowed": False, "kind": kind, "rule": rule, "reason": "No more", **changes})


def record(state: State = "pending", **changes: Any) -> Record:
    """An approval of a call with a secret among its arguments, asked for at 1000 s."""
    call = asked(arguments=f'{{"card":"{SECRET}"}}', approvers=changes.pop("approvers", 1))
    return msgspec.structs.replace(Record("apr_1", call, state, 1000.0, 1000.0, 2800.0), **changes)


def answer(verdict: Any = "approve", *, via: str = "page", at: float = 1090.0, reason: str = "looks right") -> Answer:
    """What Alice says."""
    return Answer("alice", at, via, "192.0.2.7", verdict, reason, shown="d" * 64)


def changed(
    state: State = "pending", by: Answer | None = None, *, server: str = "stub", **changes: Any
) -> ApprovalChanged:  # fmt: skip
    """An approval that came into a state."""
    return ApprovalChanged(server, record(state, **changes), by)
