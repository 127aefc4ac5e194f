"""Monitor mode: what would be refused is recorded in full and forwarded, whoever asked for it and whatever broke."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sidecar.decision.decision import Violation, read_answer
from sidecar.errors import EngineUnavailable, InvalidMessage, StoreUnavailable
from sidecar.events import Decided, Settled
from sidecar.ledger.protocol import Exhausted
from sidecar.mcp.tool_call import Outcome
from tests.enforce.fakes import ALLOWED, ASKING, BUNDLE, DENIED, LIMIT, LIMITED, GateBetweenFakes, run
from tests.engine.asking import bundle_of, tool_call

MONITORING = bundle_of("{mode: monitor, tools: {t: {rules: [{name: per day, rate_limit: 3/day}]}}}")
REPORTING = bundle_of("tools: {t: {rules: [{name: per day, mode: monitor, rate_limit: 3/day}]}}")
READING = """
tools:
  t: {rules: [{name: n, state: {counter: c, window: day}}, {conditions: [{path: state.t.c, op: gt, value: 1}]}]}
"""
WAYS = [({"bundle": MONITORING}, {}), ({}, {"mode": "monitor"})]
"""Monitor mode of the policy, and by option."""

WOULD_REFUSE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "rule": ({"decision": DENIED}, {}),
    "hidden": ({"decision": msgspec.structs.replace(DENIED, kind="hidden", rule="(hidden)")}, {}),
    "rate_limit": ({"decision": LIMITED}, {"claimed": Exhausted(0, 77)}),
    "engine_unavailable": ({"error": EngineUnavailable("timeout", "no answer")}, {}),
    "store_unavailable": ({"decision": LIMITED}, {"claimed": StoreUnavailable("disk on fire")}),
}
"""Kind of refusal to how the engine and the ledger bring it about."""


@pytest.mark.parametrize("kind", WOULD_REFUSE)
@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("way", WAYS, ids=["policy", "option"])
def test_what_would_be_refused_is_recorded_as_that_and_forwarded(way: Any, kind: str, waits: bool) -> None:
    (engine, options), (engine_too, ledger) = way, WOULD_REFUSE[kind]

    async def test(world: GateBetweenFakes) -> None:
        forward = await world.forward()
        assert (forward.tool, forward.entries) == ("t", ())
        by = world.ruling
        assert (by.allowed, by.mode, by.kind) == (False, "monitor", kind)
        assert by.reason

    run(test, engine | engine_too, {"waits": waits, **ledger}, **options)


@pytest.mark.parametrize("way", WAYS, ids=["policy", "option"])
def test_a_call_that_would_need_approval_is_forwarded_and_recorded(way: Any) -> None:
    async def test(world: GateBetweenFakes) -> None:
        await world.forward()
        assert (world.ruling.allowed, world.ruling.mode, world.ruling.rule) == (False, "monitor", "ask")

    run(test, way[0] | {"decision": ASKING}, **way[1])


@pytest.mark.parametrize("way", WAYS, ids=["policy", "option"])
def test_a_call_that_is_allowed_is_counted_as_ever(way: Any) -> None:
    async def test(world: GateBetweenFakes) -> None:
        forward = await world.forward()
        assert [entry.reservation for entry in forward.entries] == world.ledger.wanted != []
        assert (world.ruling.allowed, world.ruling.mode, world.decided.left) == (
            True,
            "monitor",
            (("per day", 2.0),),
        )

    run(test, way[0] | {"decision": LIMITED}, **way[1])


@pytest.mark.parametrize("bundle", [MONITORING, BUNDLE])
def test_the_option_enforce_wins_over_the_policy(bundle: Any) -> None:
    async def test(world: GateBetweenFakes) -> None:
        assert (await world.refusal())["kind"] == "rule"
        assert world.ruling.mode == "enforce"

    run(test, {"bundle": bundle, "decision": DENIED}, mode="enforce")


def test_a_store_that_is_gone_before_the_question_is_recorded_and_the_call_forwarded() -> None:
    async def test(world: GateBetweenFakes) -> None:
        await world.forward()
        assert (world.ruling.kind, world.ruling.mode) == ("store_unavailable", "monitor")
        assert world.engine.asked == []

    run(test, {"bundle": bundle_of(READING)}, {"gone": True}, mode="monitor")


@pytest.mark.parametrize(
    ("tool", "arguments"), [("t ", "{}"), ("intercept/x", "{}"), ("t", '{"a":1,"A":2}')], ids=["name", "canary", "keys"]
)
def test_a_call_that_cannot_be_put_as_a_question_is_refused_all_the_same(tool: str, arguments: str) -> None:
    reading = bundle_of("{mode: monitor, tools: {t: {rules: [{conditions: [{path: args.a, op: lt, value: 1}]}]}}}")

    async def test(world: GateBetweenFakes) -> None:
        with pytest.raises(InvalidMessage):
            world.gate.judge(tool_call(tool, arguments), world.caller, world.verdicts.append)
        assert (world.verdicts, world.engine.asked) == ([], [])

    run(test, {"bundle": reading}, mode="monitor")


@pytest.mark.parametrize("kind", WOULD_REFUSE)
def test_a_call_that_was_dropped_is_not_forwarded(kind: str) -> None:
    engine, ledger = WOULD_REFUSE[kind]

    async def test(world: GateBetweenFakes) -> None:
        world.judge().drop()
        await world.gate.finish()
        assert world.verdicts == []
        (decided,) = [event for event in world.events if isinstance(event, Decided)]
        ends = [event for event in world.events if isinstance(event, Settled)]
        assert [(end.decision_id, end.outcome) for end in ends] == [(decided.decision_id, Outcome.NOT_RUN)]

    run(test, engine, ledger, mode="monitor")


# Rules that only monitor.


@pytest.mark.parametrize(("total", "exceeded"), [(3, False), (4, True), (40, True)])
@pytest.mark.parametrize("waits", [False, True])
def test_a_limit_that_only_monitors_counts_and_reports_and_refuses_nothing(
    total: int, exceeded: bool, waits: bool
) -> None:
    async def test(world: GateBetweenFakes) -> None:
        forward = await world.forward()
        assert [(entry.reservation.amount, entry.reservation.limit) for entry in forward.entries] == [(1, None)]
        by = world.ruling
        report = (Violation("per day", "Three a day", "rate_limit", monitor=True),) if exceeded else ()
        assert (by.allowed, by.mode, by.kind, by.violations) == (True, "enforce", "allow", report)
        assert world.decided.left == (("per day", 3.0 - total),)

    run(test, {"bundle": REPORTING, "decision": LIMITED}, {"total": total, "waits": waits})


def test_a_total_that_must_stay_below_the_limit_and_reached_it_is_reported() -> None:
    below = msgspec.structs.replace(LIMITED, reserve=(msgspec.structs.replace(LIMIT, exclusive=True),))

    async def test(world: GateBetweenFakes) -> None:
        await world.forward()
        assert [item.rule for item in world.ruling.violations] == ["per day"]

    run(test, {"bundle": REPORTING, "decision": below}, {"total": 3})


def test_of_a_policy_with_a_rule_that_only_monitors_the_others_are_enforced() -> None:
    async def test(world: GateBetweenFakes) -> None:
        assert (await world.refusal())["kind"] == "rule"

    run(test, {"bundle": REPORTING, "decision": DENIED})


def test_a_report_without_a_refusal_stands_in_the_record_of_the_call() -> None:
    reported = msgspec.structs.replace(ALLOWED, violations=(Violation("no", "Not this", "rule", True),))

    async def test(world: GateBetweenFakes) -> None:
        await world.forward()
        assert (world.ruling.allowed, [item.monitor for item in world.ruling.violations]) == (True, [True])

    run(test, {"decision": reported})


# Rules in shadow.

TRIED = msgspec.structs.replace(LIMIT, counter="t._rate_shadow:_rate_day", shadow=True)
TRYING = bundle_of("tools: {t: {rules: [{name: per day, mode: shadow, rate_limit: 3/day}]}}")


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("gone", [False, True])
def test_what_only_rules_in_shadow_count_passes_with_a_store_and_without(waits: bool, gone: bool) -> None:
    tried = msgspec.structs.replace(ALLOWED, reserve=(TRIED,))
    claimed = StoreUnavailable("disk on fire") if gone else None

    async def test(world: GateBetweenFakes) -> None:
        forward = await world.forward()
        assert len(forward.entries) == (0 if gone else 1)
        report = () if gone else (Violation("per day", "Three a day", "rate_limit", monitor=True, shadow=True),)
        assert (world.ruling.kind, world.ruling.violations) == ("allow", report)

    run(test, {"bundle": TRYING, "decision": tried}, {"claimed": claimed, "waits": waits, "total": 9})


def test_what_others_count_too_needs_the_store_all_the_same() -> None:
    both = msgspec.structs.replace(ALLOWED, reserve=(TRIED, LIMIT))

    async def test(world: GateBetweenFakes) -> None:
        assert (await world.refusal())["kind"] == "store_unavailable"

    run(test, {"bundle": TRYING, "decision": both}, {"claimed": StoreUnavailable("disk on fire")})


def test_nobody_is_refused_because_a_rule_in_shadow_counts_by_a_principal_who_is_not_known() -> None:
    by_principal = msgspec.structs.replace(TRIED, scope="principal")
    both = msgspec.structs.replace(ALLOWED, reserve=(by_principal, LIMIT, TRIED))

    async def test(world: GateBetweenFakes) -> None:
        assert world.caller.principal is None
        forward = await world.forward()
        assert [entry.reservation.counter.rpartition("/")[2] for entry in forward.entries] == [
            "t._rate_day", "t._rate_shadow:_rate_day",
        ]  # fmt: skip

    run(test, {"bundle": TRYING, "decision": both})


def test_a_rule_in_shadow_of_which_the_engine_says_that_it_refuses_is_no_answer() -> None:
    body = {
        "result": msgspec.to_builtins(
            msgspec.structs.replace(DENIED, violations=(Violation("x", "y", "z", False, True),))
        )
    }
    with pytest.raises(EngineUnavailable):
        read_answer(msgspec.json.encode(body))
