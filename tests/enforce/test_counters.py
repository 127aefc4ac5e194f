"""Counters that rules read: looked up before the question, never remembered; and what becomes of it without a store."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from sidecar.decision.decision import Decision, Reserve
from sidecar.enforce.trial import MAX_MOVES
from sidecar.enforce.verdict import Forward
from sidecar.errors import StoreUnavailable
from sidecar.events import StoreFailed
from sidecar.ledger.values import Amount, Counter, Reservation, Seen
from tests.enforce.fakes import ALLOWED, BUNDLE, DENIED, LIMITED, GateBetweenFakes, run
from tests.engine.asking import bundle_of

READING = bundle_of("""
tools:
  pay:
    rules:
      - {name: spent, state: {counter: spent, window: day, increment_from: args.amount}}
  refund:
    rules:
      - name: n
        state: {counter: n, window: 90s, scope: session}
        conditions: [{path: state.refund.n, op: lte, value: 9}]
      - conditions: [{path: state.pay.spent, op: gt, value: 100}, {path: args.order, op: exists, value: true}]
      - conditions: [{path: state.refund.n, op: gte, value: 0}]
  other: {rules: []}
  sliding:
    rules:
      - {name: limit, state: {counter: n, window: 90s, sliding: true}, action: allow}
      - conditions: [{path: state.sliding.n, op: lt, value: 9}]
  "*":
    rules:
      - {name: all, rate_limit: 99/hour}
""")
SPENT = Counter("stub/pay.spent", "", 86400)
MINE = Counter("stub/refund.n", "s1", 90)


def test_a_counter_that_a_rule_reads_is_looked_up_with_its_holder_and_window() -> None:
    async def test(world: GateBetweenFakes) -> None:
        await world.forward("refund", '{"order":"x","secret":1}')
        (looked_up,) = world.ledger.looked_up
        assert set(looked_up) == {SPENT, MINE}

    run(test, {"bundle": READING})


def test_a_counter_that_slides_is_looked_up_and_claimed_as_one() -> None:
    slides = Reserve("sliding._rate_sliding:n", 2, 9, 90, "global", "limit", "Nine", "rule", sliding=True)

    async def test(world: GateBetweenFakes) -> None:
        await world.forward("sliding")
        assert world.ledger.looked_up == [(Counter("stub/sliding._rate_sliding:n", "", 90, sliding=True),)]
        assert world.ledger.wanted == [Reservation("stub/sliding._rate_sliding:n", "", 90, 2, 9, False, sliding=True)]
        ((asked, _, _),) = world.engine.asked
        assert asked["counters"] == {"state.sliding.n": 4}
        assert world.decided.left == (("limit", 5.0),)

    run(test, {"bundle": READING, "decision": replace(ALLOWED, reserve=(slides,))}, {"total": 4})


@pytest.mark.parametrize("total", [0, 7, 10**30, Decimal("1.10"), Decimal("100.00000000000000000001")])
def test_the_question_holds_the_totals_exactly_and_only_what_is_read(total: Any) -> None:
    async def test(world: GateBetweenFakes) -> None:
        await world.forward("refund", '{"order":"x","secret":1}')
        ((asked, bundle, _),) = world.engine.asked
        assert asked["counters"] == {"state.pay.spent": total, "state.refund.n": total}
        assert asked["arguments"] == {"order": "x"}
        assert bundle is READING

    run(test, {"bundle": READING}, {"total": total})


@pytest.mark.parametrize(("tool", "lasting"), [("refund", False), ("other", True), ("unlisted", True)])
def test_an_answer_to_a_question_with_totals_is_never_remembered(tool: str, lasting: bool) -> None:
    async def test(world: GateBetweenFakes) -> None:
        await world.forward(tool, '{"order":"x"}')
        assert [item[2] for item in world.engine.asked] == [lasting]
        assert len(world.ledger.looked_up) == (0 if lasting else 1)

    run(test, {"bundle": READING})


def test_a_question_with_totals_is_put_even_if_an_answer_is_remembered() -> None:
    async def test(world: GateBetweenFakes) -> None:
        await world.forward("refund", '{"order":"x"}')
        assert len(world.engine.asked) == 1
        assert not world.ruling.remembered

    run(test, {"bundle": READING}, remembered=True)


def test_without_a_store_to_look_in_the_call_is_refused_and_the_engine_not_asked() -> None:
    async def test(world: GateBetweenFakes) -> None:
        refusal = await world.refusal("refund")
        assert refusal["kind"] == "store_unavailable"
        assert "disk on fire" not in refusal["text"]
        assert world.engine.asked == []
        assert world.events == [StoreFailed("stub", "disk on fire"), world.decided]

    run(test, {"bundle": READING}, {"gone": True})


def test_without_a_store_a_tool_whose_rules_read_no_counter_is_judged_as_ever() -> None:
    async def test(world: GateBetweenFakes) -> None:
        await world.forward("other")

    run(test, {"bundle": READING}, {"gone": True})


def test_a_call_dropped_while_its_counters_are_looked_up_gets_no_verdict_and_takes_nothing() -> None:
    async def test(world: GateBetweenFakes) -> None:
        world.ledger.go.clear()
        trial = world.judge("refund")
        trial.drop()
        world.ledger.go.set()
        await world.gate.finish()
        assert (world.verdicts, world.ledger.wanted) == ([], [])
        assert (world.ruling.allowed, world.ruling.kind) == (False, "cancelled")

    run(test, {"bundle": READING, "decision": LIMITED})


# A counter that has changed since.


@pytest.mark.parametrize("decision", [ALLOWED, LIMITED])
@pytest.mark.parametrize("waits", [False, True])
def test_a_call_is_judged_anew_until_the_counters_stand_where_it_was_judged_by_them(
    decision: Decision, waits: bool
) -> None:
    async def test(world: GateBetweenFakes) -> None:
        await world.forward("refund")
        asked = [question["counters"] for question, _, _ in world.engine.asked]
        assert asked == [{"state.pay.spent": total, "state.refund.n": total} for total in (1, 2, 3)]
        assert [set(seen) for seen in world.ledger.seen] == [
            {Seen(SPENT, total), Seen(MINE, total)} for total in (1, 2, 3)
        ]
        assert len(world.ledger.wanted) == len(decision.reserve)

    run(test, {"bundle": READING, "decision": decision}, {"moves": 2, "waits": waits})


def test_a_call_whose_rules_read_no_counter_and_that_takes_nothing_does_not_come_to_the_store() -> None:
    async def test(world: GateBetweenFakes) -> None:
        await world.forward("other")
        assert (world.ledger.goes, world.ledger.looked_up) == (0, [])

    run(test, {"bundle": READING, "decision": ALLOWED})


@pytest.mark.parametrize("fail_open", [False, True])
def test_a_call_whose_counters_never_stand_still_is_refused_in_the_end(fail_open: bool) -> None:
    async def test(world: GateBetweenFakes) -> None:
        refusal = await world.refusal("refund")
        assert refusal["kind"] == "store_unavailable"
        assert "Too many other calls changed the counters" in refusal["text"]
        assert len(world.engine.asked) == 1 + MAX_MOVES

    run(test, {"bundle": READING}, {"moves": 10**9}, fail_open=fail_open)


def test_a_policy_that_reads_no_counter_any_more_is_not_held_to_what_was_seen() -> None:
    async def test(world: GateBetweenFakes) -> None:
        await world.forward("refund")
        assert world.ledger.seen == []

    run(test, {"bundle": READING, "newer": [BUNDLE], "decision": LIMITED}, {"moves": 10**9})


def test_calls_that_met_at_a_counter_take_turns_and_one_that_is_refused_passes_it_on() -> None:
    async def test(world: GateBetweenFakes) -> None:
        for _ in range(4):
            world.judge("refund")
        await world.gate.finish()
        assert [isinstance(verdict, Forward) for verdict in world.verdicts] == [True] * 4
        assert len(world.engine.asked) == 4 + 3
        world.ledger.moves = 2
        world.judge("refund").drop()
        world.judge("refund")
        await world.gate.finish()
        assert len(world.verdicts) == 5

    run(test, {"bundle": READING}, {"moves": 3})


def test_a_call_that_meets_a_defect_in_its_turn_passes_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(world: GateBetweenFakes) -> None:
        look_up, looks = world.ledger.totals, iter(range(100))

        async def fail(counters: tuple[Counter, ...]) -> tuple[Amount, ...]:
            if next(looks) == 3:  # the first that is judged anew
                raise ZeroDivisionError
            return await look_up(counters)

        monkeypatch.setattr(world.ledger, "totals", fail)
        for _ in range(3):
            world.judge("refund")
        await world.gate.finish()
        assert sorted(type(verdict).__name__ for verdict in world.verdicts) == ["Forward", "Forward", "Reply"]

    run(test, {"bundle": READING}, {"moves": 3})


def test_a_call_that_takes_nothing_is_refused_where_the_store_is_gone_by_its_claim() -> None:
    async def test(world: GateBetweenFakes) -> None:
        assert (await world.refusal("refund"))["kind"] == "store_unavailable"

    run(test, {"bundle": READING}, {"claimed": StoreUnavailable("disk on fire"), "waits": True})


# A store that may fail open.


@pytest.mark.parametrize("waits", [False, True])
def test_a_store_that_may_fail_open_lets_the_call_pass_uncounted_and_says_so(waits: bool) -> None:
    async def test(world: GateBetweenFakes) -> None:
        assert (await world.forward()).entries == ()
        by = world.ruling
        assert (by.allowed, by.kind, by.reason) == (True, "store_unavailable", "Passed uncounted.")
        assert world.decided.left == ()
        assert StoreFailed("stub", "disk on fire") in world.events

    broken = {"claimed": StoreUnavailable("disk on fire"), "waits": waits}
    run(test, {"decision": LIMITED}, broken, fail_open=True)


def test_a_call_dropped_while_it_waits_for_a_store_that_fails_open_is_not_forwarded() -> None:
    async def test(world: GateBetweenFakes) -> None:
        world.ledger.go.clear()
        trial = world.judge()
        for _ in range(5):  # until the store is waited for
            await asyncio.sleep(0)
        trial.drop()
        world.ledger.go.set()
        await world.gate.finish()
        assert StoreFailed("stub", "disk on fire") in world.events
        assert world.verdicts == []
        assert (world.ruling.allowed, world.ruling.kind) == (False, "cancelled")

    run(test, {"decision": LIMITED}, {"claimed": StoreUnavailable("disk on fire"), "waits": True}, fail_open=True)


def test_where_the_store_may_fail_open_the_engine_is_asked_with_totals_of_0() -> None:
    async def test(world: GateBetweenFakes) -> None:
        await world.forward("refund")
        ((asked, _, lasting),) = world.engine.asked
        assert (asked["counters"], lasting) == ({"state.pay.spent": 0, "state.refund.n": 0}, False)
        assert StoreFailed("stub", "disk on fire") in world.events

    run(test, {"bundle": READING, "decision": ALLOWED}, {"gone": True}, fail_open=True)


@pytest.mark.parametrize("tool", ["refund", "other"])
def test_where_the_store_may_fail_open_a_rule_that_refuses_still_does(tool: str) -> None:
    async def test(world: GateBetweenFakes) -> None:
        assert (await world.refusal(tool))["kind"] == "rule"

    run(test, {"bundle": READING, "decision": DENIED}, {"gone": True}, fail_open=True)
