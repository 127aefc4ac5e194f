"""Policies that change while calls are judged: each is judged whole by one of them, and gets one verdict."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.enforce.trial import MAX_ATTEMPTS
from sidecar.enforce.verdict import Reply
from sidecar.events import Decided, Refused
from tests.enforce.fakes import ALLOWED, BUNDLE, DENIED, LIMITED, GateBetweenFakes, reading, run
from tests.engine.asking import bundle_of, soon

READS_B = reading("args.b", 2)
COUNTS = bundle_of(
    """
tools:
  t:
    rules:
      - {name: n, state: {counter: n, window: hour, scope: session}}
      - conditions: [{path: state.t.n, op: gt, value: 0}, {path: args.c, op: exists, value: true}]
""",
    3,
)
ARGUMENTS = '{"a":1,"b":2,"c":3}'


def test_a_superseded_question_is_put_anew_with_what_the_newer_policy_reads() -> None:
    async def test(world: GateBetweenFakes) -> None:
        await world.forward("t", ARGUMENTS)
        assert [(asked["arguments"], bundle) for asked, bundle, _ in world.engine.asked] == [
            ({"a": 1}, reading_a),
            ({"b": 2}, READS_B),
        ]
        told = world.decided
        assert (told.ruling.revision, told.ruling.serial, told.decision_id) == (READS_B.revision, 2, "i-1")

    reading_a = reading("args.a", 1)
    run(test, {"bundle": reading_a, "newer": [READS_B]})


def test_the_counters_that_only_the_newer_policy_reads_are_looked_up() -> None:
    async def test(world: GateBetweenFakes) -> None:
        await world.forward("t", ARGUMENTS)
        (_, _, first_lasts), (asked, bundle, lasts) = world.engine.asked
        assert (asked["counters"], asked["arguments"], bundle) == ({"state.t.n": 1}, {"c": 3}, COUNTS)
        assert (first_lasts, lasts) == (True, False)
        assert [(one.counter, one.holder, one.window) for (one,) in world.ledger.looked_up] == [
            ("stub/t.n", "s1", 3600)
        ]

    run(test, {"bundle": READS_B, "newer": [COUNTS]})


def test_the_counters_of_the_older_policy_are_not_in_the_question_to_the_newer() -> None:
    async def test(world: GateBetweenFakes) -> None:
        await world.forward("t", ARGUMENTS)
        assert "counters" not in world.engine.asked[1][0]
        assert world.engine.asked[1][2]

    run(test, {"bundle": COUNTS, "newer": [READS_B]})


def test_what_is_taken_comes_back_as_the_policy_that_judged_says() -> None:
    never = bundle_of("tools: {t: {rules: [{name: per day, rate_limit: 3/day, refund: never}]}}", 2)

    async def test(world: GateBetweenFakes) -> None:
        assert (await world.forward()).refunds == ("never",)

    run(test, {"bundle": BUNDLE, "decision": LIMITED, "newer": [never]})


def test_a_refusal_names_the_revision_of_the_policy_that_judged() -> None:
    async def test(world: GateBetweenFakes) -> None:
        assert (await world.refusal("t", ARGUMENTS))["revision"] == READS_B.revision
        assert world.ruling.revision == READS_B.revision

    run(test, {"decision": DENIED, "newer": [READS_B]})


@pytest.mark.parametrize(("changes", "judged"), [(MAX_ATTEMPTS, True), (MAX_ATTEMPTS + 1, False)])
def test_a_policy_that_changes_faster_than_calls_can_be_judged_ends_in_one_refusal(changes: int, judged: bool) -> None:
    newer = [reading("args.a", serial) for serial in range(2, changes + 2)]

    async def test(world: GateBetweenFakes) -> None:
        verdict = await world.verdict()
        assert isinstance(verdict, Reply) is not judged
        assert (world.ruling.allowed, world.ruling.kind) == (judged, "allow" if judged else "engine_unavailable")
        if not judged:
            assert world.ruling.reason == (
                "The policy changes faster than calls can be judged. The call was not forwarded."
            )

    run(test, {"newer": newer})


@pytest.mark.parametrize("allowed_before", [True, False])
def test_a_call_that_the_newer_policy_cannot_be_asked_about_is_refused_once(allowed_before: bool) -> None:
    reading_a = reading("args.a", 2)

    async def test(world: GateBetweenFakes) -> None:
        verdict = await world.verdict("t", '{"a":1,"A":2}')
        assert isinstance(verdict, Reply)
        assert b"differs only in case from 'a'" in verdict.message.raw
        assert [type(event) for event in world.events] == [Refused]

    run(test, {"decision": ALLOWED if allowed_before else DENIED, "newer": [reading_a]})


def test_a_call_dropped_while_the_policy_changes_gets_no_verdict_and_takes_nothing() -> None:
    async def test(world: GateBetweenFakes) -> None:
        world.judge().drop()
        await world.gate.finish()
        assert (world.verdicts, world.ledger.wanted) == ([], [])
        assert world.ruling.kind == "cancelled"

    run(test, {"decision": LIMITED, "newer": [READS_B]})


@pytest.mark.parametrize(("first", "then"), [("enforce", "monitor"), ("monitor", "enforce")])
def test_the_mode_is_that_of_the_policy_that_judged(first: str, then: str) -> None:
    modes = [bundle_of(f"{{mode: {mode}, tools: {{}}}}", serial) for serial, mode in enumerate((first, then), 1)]

    async def test(world: GateBetweenFakes) -> None:
        assert isinstance(await world.verdict(), Reply) is (then == "enforce")
        assert world.ruling.mode == then

    run(test, {"bundle": modes[0], "newer": modes[1:], "decision": DENIED})


def test_every_call_gets_one_verdict_however_the_policies_change() -> None:
    async def test(world: GateBetweenFakes) -> None:
        world.engine.go.clear()
        for _ in range(100):
            world.judge("t", ARGUMENTS)
        world.engine.go.set()
        await world.gate.finish()
        told = [event.decision_id for event in world.events if isinstance(event, Decided)]
        assert len(world.verdicts) == len(told) == len(set(told)) == 100

    run(test, {"newer": [READS_B, COUNTS] * 60})


@pytest.mark.parametrize("remembered", [False, True])
def test_a_call_that_waited_for_the_store_while_another_policy_came_into_force_is_judged_by_that_one(
    remembered: bool,
) -> None:
    async def test(world: GateBetweenFakes) -> None:
        world.ledger.go.clear()
        world.judge("t", ARGUMENTS)
        await soon(lambda: remembered or world.engine.asked)
        for _ in range(3):
            await asyncio.sleep(0)  # its claim waits for the store now
        world.engine.bundle, world.engine.decision = READS_B, DENIED
        world.ledger.go.set()
        await world.gate.finish()
        (verdict,) = world.verdicts
        assert isinstance(verdict, Reply)
        assert (world.ruling.kind, world.ruling.revision) == ("rule", READS_B.revision)
        assert [entry.reservation for entry in world.ledger.returned] == world.ledger.wanted

    run(test, {"decision": LIMITED}, {"waits": True}, remembered=remembered)
