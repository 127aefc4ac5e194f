"""What is told of what happened: metrics, audit trail, log, and the endpoint that serves it."""

from __future__ import annotations

from typing import Any

import msgspec

from sidecar.auth.caller import Caller
from sidecar.events import Decided, EngineReady, Event, Observer, Ruling, fan_out
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


def decided(tool: str = "t", arguments: str = f'{{"card":"{SECRET}"}}', **changes: Any) -> Decided:
    """A decision; by default `t` is allowed with a secret among its arguments."""
    ruling = Ruling(True, "enforce", "allow", "", "", (), BUNDLE.revision, 1, None, False)
    changed = {key: changes.pop(key) for key in Ruling.__struct_fields__ if key in changes}
    event = Decided(
        "i-1", "stub", Caller("s1", "agent"), tool_call(tool, arguments), msgspec.structs.replace(ruling, **changed),
        0.001, 0.0005, (), False,
    )  # fmt: skip
    return msgspec.structs.replace(event, **changes)


def denied(tool: str = "t", rule: str = "per day", kind: str = "rate_limit", **changes: Any) -> Decided:
    """A decision against a call."""
    return decided(tool, allowed=False, kind=kind, rule=rule, reason="No more", **changes)
