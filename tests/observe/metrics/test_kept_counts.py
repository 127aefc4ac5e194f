"""What a known call is counted by is kept with it: the numbers are those that they would be had it come first."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.auth.caller import Caller
from sidecar.enforce.call_cache import CachedCall, Memo
from sidecar.events import Decided, EngineReady, Listed
from sidecar.observe.metrics import Metrics
from tests.engine.asking import bundle_of
from tests.observe.decided import READY, decided, denied
from tests.support.fuzzing import examples

TOOLS = ("t", "u", "v")
CALLERS = (Caller("s1", "agent"), Caller("s2", "agent"), Caller("s1", "other"))
RULINGS = (
    decided().ruling, decided(remembered=True).ruling, denied(rule="small", kind="rule").ruling,
    denied(rule="any", kind="rule").ruling, denied(rule="unheard", kind="custom").ruling,
)  # fmt: skip
ANOTHER = bundle_of(
    "tools: {u: {rules: [{name: small, conditions: [{path: args.a, op: lt, value: 5}]}]}, "
    "v: {rules: [{name: any, conditions: [{path: args.a, op: lt, value: 5}]}]}}",
    serial=2,
)
THEN = EngineReady("stub", ANOTHER.revision, ANOTHER.serial, ANOTHER.terms)

CALLS = st.tuples(st.sampled_from(TOOLS), st.sampled_from(CALLERS), st.sampled_from(RULINGS))
NEWS = st.sampled_from((READY, THEN, Listed("stub", ["u"], whole=True), Listed("stub", ["v"], whole=True)))


def shown(metrics: Metrics) -> list[str]:
    lines = metrics.exposition("")[0].decode().splitlines()
    return [line for line in lines if line.startswith("mcp_policy_") and "activated_timestamp" not in line]


@pytest.mark.fuzz
@examples(100)
@given(st.lists(CALLS | NEWS, max_size=30))
def test_known_calls_are_counted_as_new_ones(
    steps: list[tuple[str, Caller, msgspec.Struct] | EngineReady | Listed],
) -> None:
    known, new = (Metrics("stub", "1.2.3", lambda: 7.0) for _ in range(2))
    memos = {tool: Memo() for tool in TOOLS}
    for step in (READY, *steps):
        if isinstance(step, tuple):
            tool, caller, ruling = step
            event = msgspec.structs.replace(decided(tool), caller=caller, ruling=ruling)
            call = event.call
            cached = CachedCall(
                call.id, call.tool, call.arguments, call.stateless, call.raw, call.params, memo=memos[tool]
            )
            known.handlers[Decided](msgspec.structs.replace(event, call=cached))
            new.handlers[Decided](event)
        else:
            known.handlers[type(step)](step)
            new.handlers[type(step)](step)
    assert shown(known) == shown(new)
