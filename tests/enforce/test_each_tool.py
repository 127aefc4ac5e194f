"""Counters of the rules of a class under a pattern: one for each tool that is called, however it is claimed or read."""

from __future__ import annotations

import msgspec

from sidecar.decision.decision import Reserve
from sidecar.ledger.values import Counter
from tests.enforce.fakes import ALLOWED, LIMIT, GateBetweenFakes, run
from tests.engine.asking import bundle_of

CLASSED = bundle_of("""
classes:
  Write:
    rules:
      - {mode: monitor, state: {counter: n, window: day}, conditions: [{path: state._class.n, op: lte, value: 3}]}
      - conditions: [{path: state._class.n, op: gte, value: 0}]
tools: {"x_*": {class: Write}, y: {class: Write}}
""")
EACH = Reserve("x_*.n", 1, 3, "day", "global", "x_*#1", "Three a day", "rate_limit", each_tool=True)
TAKING = msgspec.structs.replace(ALLOWED, reserve=(EACH, LIMIT))


def test_each_tool_takes_from_a_counter_of_its_own_and_its_rule_still_only_monitors() -> None:
    async def test(world: GateBetweenFakes) -> None:
        for tool in ("x_1", "x_2"):
            world.judge(tool)
            await world.gate.finish()
        taken = [(one.counter, one.limit) for one in world.ledger.wanted]
        assert taken == [
            ('stub/"x_*.n""x_1"', None), ("stub/t._rate_day", 3), ('stub/"x_*.n""x_2"', None), ("stub/t._rate_day", 3),
        ]  # fmt: skip

    run(test, {"bundle": CLASSED, "decision": TAKING})


def test_each_tool_is_judged_by_its_own_counter() -> None:
    async def test(world: GateBetweenFakes) -> None:
        for tool in ("x_1", "x_2", "y"):
            await world.gate.finish()
            world.judge(tool)
        await world.gate.finish()
        assert world.ledger.looked_up == [
            (Counter(name, "", 86400),) for name in ('stub/"x_*.n""x_1"', 'stub/"x_*.n""x_2"', "stub/y.n")
        ]
        read = [asked["counters"] for asked, _, _ in world.engine.asked]
        assert read == [{"state.x_*.n": 1}, {"state.x_*.n": 1}, {"state.y.n": 1}]

    run(test, {"bundle": CLASSED})
