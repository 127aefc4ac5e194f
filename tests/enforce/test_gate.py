"""The gate: every call gets exactly one verdict, every failure is a refusal, and what surely did not run comes back."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import msgspec
import pytest

from sidecar.decision.decision import Decision, Reserve
from sidecar.enforce.trial import Trial
from sidecar.enforce.verdict import Forward, Reply
from sidecar.errors import EngineUnavailable, InvalidMessage, StoreUnavailable
from sidecar.events import Decided, Settled, StoreFailed
from sidecar.ledger.protocol import Exhausted
from sidecar.ledger.values import Amount, Reservation
from sidecar.mcp.tool_call import Outcome
from sidecar.system.lines import PORTION
from tests.enforce.fakes import ALLOWED, ASKING, BUNDLE, DENIED, LIMIT, LIMITED, VIOLATION, GateBetweenFakes, run
from tests.engine.asking import bundle_of


@pytest.mark.parametrize("remembered", [False, True])
def test_an_allowed_call_is_forwarded_once_and_told_once(remembered: bool) -> None:
    async def test(world: GateBetweenFakes) -> None:
        verdict = await world.verdict()
        assert isinstance(verdict, Forward)
        assert (verdict.tool, verdict.entries) == ("t", ())
        told, by = world.decided, world.ruling
        assert (by.allowed, by.kind, by.remembered, by.engine_id) == (True, "allow", remembered, "engine")
        assert (by.revision, by.serial, told.server, told.caller) == (BUNDLE.revision, 1, "stub", world.caller)

    run(test, remembered=remembered)


def test_remembered_answers_give_their_verdicts_in_the_next_pass_of_the_loop() -> None:
    async def test(world: GateBetweenFakes) -> None:
        for _ in range(3):
            world.judge()
        assert world.verdicts == []
        await asyncio.sleep(0)
        assert len(world.verdicts) == 3

    run(test, remembered=True)


@pytest.mark.parametrize("decision", [ALLOWED, LIMITED, DENIED])
def test_every_decision_of_a_pass_is_told_before_any_call_is_forwarded(decision: Decision) -> None:
    async def test(world: GateBetweenFakes) -> None:
        told: list[int] = []
        world.deliver = lambda verdict: told.append(world.ended_passes)
        for _ in range(3):
            world.judge()
        await asyncio.sleep(0)
        assert told == [1, 1, 1]
        assert len([event for event in world.events if isinstance(event, Decided)]) == 3

    run(test, {"decision": decision}, remembered=True)


def test_calls_of_one_pass_claim_in_one_go() -> None:
    async def test(world: GateBetweenFakes) -> None:
        for _ in range(3):
            world.judge()
        await asyncio.sleep(0)
        assert (world.ledger.goes, len(world.ledger.wanted), len(world.verdicts)) == (1, 3, 3)

    run(test, {"decision": LIMITED}, remembered=True)


@pytest.mark.parametrize("decision", [ALLOWED, LIMITED, DENIED])
def test_a_portion_of_calls_waits_for_no_more_to_come(decision: Decision) -> None:
    async def test(world: GateBetweenFakes) -> None:
        told: list[int] = []
        world.deliver = lambda verdict: told.append(world.ended_passes)
        for number in range(2 * PORTION + 1):
            assert len(told) == max(0, number - 1) // PORTION * PORTION
            world.judge()
        assert told == [1] * PORTION + [2] * PORTION
        await asyncio.sleep(0)
        assert told[2 * PORTION :] == [3]
        assert world.ledger.goes == (3 if decision is LIMITED else 0)

    run(test, {"decision": decision}, remembered=True)


def test_no_portion_is_passed_on_what_an_engine_said_that_was_lost_since() -> None:
    async def test(world: GateBetweenFakes) -> None:
        for _ in range(PORTION):
            world.judge()
        world.engine.lose()
        world.judge()
        assert world.verdicts == []
        await world.gate.finish()
        kinds = [event.ruling.kind for event in world.events if isinstance(event, Decided)]
        assert kinds == ["engine_unavailable"] * (PORTION + 1)
        assert [type(verdict) for verdict in world.verdicts] == [Reply] * (PORTION + 1)

    run(test, remembered=True)


@pytest.mark.parametrize("fail_open", [False, True])
@pytest.mark.parametrize("claimed", [None, StoreUnavailable("disk on fire")])
def test_a_call_that_waited_for_the_store_does_not_pass_on_what_an_engine_said_that_was_lost_since(
    claimed: StoreUnavailable | None, fail_open: bool
) -> None:
    async def test(world: GateBetweenFakes) -> None:
        world.ledger.go.clear()
        world.judge()
        await asyncio.sleep(0)
        world.engine.lose()
        world.ledger.go.set()
        await world.gate.finish()
        assert [event.ruling.kind for event in world.events if isinstance(event, Decided)] == ["engine_unavailable"]
        assert [type(verdict) for verdict in world.verdicts] == [Reply]
        assert len(world.ledger.returned) == (1 if claimed is None else 0)
        assert any(isinstance(event, StoreFailed) for event in world.events) is (claimed is not None)

    run(test, {"decision": LIMITED}, {"claimed": claimed, "waits": True}, remembered=True, fail_open=fail_open)


def test_a_call_dropped_in_the_pass_in_which_it_was_judged_takes_nothing_and_leaves_the_others_alone() -> None:
    async def test(world: GateBetweenFakes) -> None:
        trials = [world.judge() for _ in range(3)]
        trials[1].drop()
        await asyncio.sleep(0)
        assert (len(world.ledger.wanted), len(world.verdicts)) == (2, 2)
        kinds = [event.ruling.kind for event in world.events if isinstance(event, Decided)]
        assert sorted(kinds) == ["allow", "allow", "cancelled"]

    run(test, {"decision": LIMITED}, remembered=True)


def test_a_call_dropped_by_the_verdict_of_another_gives_back_what_it_took() -> None:
    async def test(world: GateBetweenFakes) -> None:
        trials: list[Trial] = []
        world.deliver = lambda verdict: trials[1].drop()
        trials += [world.judge(), world.judge()]
        await asyncio.sleep(0)
        assert len(world.ledger.wanted) == 2
        assert len(world.ledger.returned) == 1
        # It was told as a call that is forwarded, so its end is told as well.
        (end,) = [event for event in world.events if isinstance(event, Settled)]
        assert (end.decision_id, end.outcome, end.reserved, end.returned, end.cause) == (
            trials[1].decision_id, Outcome.NOT_RUN, 1, 1, "given_up",
        )  # fmt: skip
        assert list(end.undone) == world.ledger.returned

    run(test, {"decision": LIMITED}, remembered=True)


@pytest.mark.parametrize("remembered", [False, True])
def test_a_denied_call_is_answered_with_rule_kind_and_reason(remembered: bool) -> None:
    async def test(world: GateBetweenFakes) -> None:
        assert await world.refusal() == {
            "text": "[INTERCEPT POLICY DENIED] Not this\nDo not repeat this call unchanged.",
            "id": "i-1", "rule": "no", "kind": "rule",
            "revision": BUNDLE.revision,
        }  # fmt: skip
        assert (world.ruling.allowed, world.ruling.violations) == (False, (VIOLATION,))
        assert world.ledger.wanted == []

    run(test, {"decision": DENIED}, remembered=remembered)


@pytest.mark.parametrize("remembered", [False, True])
def test_it_is_told_when_the_answer_of_the_engine_was_there(remembered: bool) -> None:
    async def test(world: GateBetweenFakes) -> None:
        world.judge()
        await world.gate.finish()
        (decided,) = [event for event in world.events if isinstance(event, Decided)]
        assert (decided.answered == 0) is remembered
        assert decided.answered <= decided.seconds

    run(test, {"decision": DENIED}, remembered=remembered)


@pytest.mark.parametrize("waits", [False, True])
def test_a_limited_call_is_forwarded_with_what_it_took(waits: bool) -> None:
    async def test(world: GateBetweenFakes) -> None:
        verdict = await world.verdict()
        assert isinstance(verdict, Forward)
        assert [entry.reservation for entry in verdict.entries] == [Reservation("stub/t._rate_day", "", 86400, 1, 3)]
        assert world.decided.left == (("per day", 2.0),)

    run(test, {"decision": LIMITED}, {"waits": waits})


def test_a_limit_of_a_session_is_held_by_the_session() -> None:
    async def test(world: GateBetweenFakes) -> None:
        await world.verdict()
        assert [one.holder for one in world.ledger.wanted] == ["s1"]

    run(
        test, {"decision": msgspec.structs.replace(LIMITED, reserve=(msgspec.structs.replace(LIMIT, scope="session"),))}
    )


@pytest.mark.parametrize("waits", [False, True])
def test_an_exhausted_limit_refuses_and_says_when_to_try_again(waits: bool) -> None:
    async def test(world: GateBetweenFakes) -> None:
        refusal = await world.refusal()
        assert refusal["text"] == "[INTERCEPT POLICY DENIED] Three a day\nTry again in 77 s."
        assert (refusal["rule"], refusal["kind"], refusal["retry_after_seconds"]) == ("per day", "rate_limit", 77)
        assert (world.ruling.allowed, world.decided.limited) == (False, True)

    run(test, {"decision": LIMITED}, {"claimed": Exhausted(0, 77), "waits": waits})


BUDGET = Reserve("t.spent", 11, 10, "day", "global", "budget", "Too much", "spend_limit")


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("sliding", [False, True])
@pytest.mark.parametrize(("amount", "limit", "exclusive", "never"), [
    (11, 10, False, True), (10, 10, True, True), (Decimal("10.1"), 10, False, True), (1, 0, False, True),
    (10, 10, False, False), (Decimal("9.9"), 10, True, False),
])  # fmt: skip
def test_a_call_that_alone_is_above_a_limit_is_not_told_to_come_back(
    amount: Amount, limit: Amount, exclusive: bool, never: bool, sliding: bool, waits: bool
) -> None:
    async def test(world: GateBetweenFakes) -> None:
        refusal = await world.refusal()
        advice = "Do not repeat this call unchanged." if never else "Try again in 77 s."
        assert refusal["text"] == f"[INTERCEPT POLICY DENIED] Too much\n{advice}"
        assert ("retry_after_seconds" in refusal) is not never
        assert (refusal["rule"], refusal["kind"]) == ("budget", "spend_limit")
        assert world.decided.limited

    item = msgspec.structs.replace(BUDGET, amount=amount, limit=limit, exclusive=exclusive, sliding=sliding)
    decision = msgspec.structs.replace(ALLOWED, reserve=(item,))
    run(test, {"decision": decision}, {"claimed": Exhausted(0, 77), "waits": waits})


def test_the_first_limit_speaks_though_another_can_never_be_met_which_is_said_behind_it() -> None:
    async def test(world: GateBetweenFakes) -> None:
        refusal = await world.refusal()
        advice = "Do not repeat this call unchanged."
        assert refusal["text"] == f"[INTERCEPT POLICY DENIED] Three a day\nToo much\n{advice}"
        assert (refusal["rule"], refusal["kind"]) == ("per day", "rate_limit")
        assert "retry_after_seconds" not in refusal

    run(test, {"decision": msgspec.structs.replace(ALLOWED, reserve=(LIMIT, BUDGET))}, {"claimed": Exhausted(0, 77)})


def test_a_limit_that_only_reports_keeps_nobody_from_coming_back() -> None:
    async def test(world: GateBetweenFakes) -> None:
        assert (await world.refusal())["retry_after_seconds"] == 77

    rules = "[{name: budget, mode: monitor, spend_limit: {path: args.n, max: 10, window: day}}]"
    bundle = bundle_of(f"tools: {{t: {{rules: {rules}}}}}")
    [counter] = bundle.terms.monitored
    watched = msgspec.structs.replace(BUDGET, counter=counter)
    decision = msgspec.structs.replace(ALLOWED, reserve=(LIMIT, watched), revision=bundle.revision)
    run(test, {"decision": decision, "bundle": bundle}, {"claimed": Exhausted(0, 77)})


@pytest.mark.parametrize("kind", ["timeout", "connection", "reply", "shape", "undecided", "revision"])
def test_an_engine_without_a_usable_answer_is_a_refusal(kind: str) -> None:
    async def test(world: GateBetweenFakes) -> None:
        refusal = await world.refusal()
        text = "No answer. The call was not forwarded.\nTry again later."
        assert refusal["text"] == f"[INTERCEPT POLICY DENIED] {text}"
        assert (refusal["kind"], refusal["rule"]) == ("engine_unavailable", "")
        assert (world.ruling.allowed, world.ruling.engine_id) == (False, None)

    run(test, {"error": EngineUnavailable(kind, "no answer")})


@pytest.mark.parametrize("waits", [False, True])
def test_a_store_that_cannot_be_used_is_a_refusal(waits: bool) -> None:
    async def test(world: GateBetweenFakes) -> None:
        refusal = await world.refusal()
        assert refusal["kind"] == "store_unavailable"
        assert "disk on fire" not in refusal["text"]
        assert StoreFailed("stub", "disk on fire") in world.events
        assert not world.ruling.allowed

    run(test, {"decision": LIMITED}, {"claimed": StoreUnavailable("disk on fire"), "waits": waits})


@pytest.mark.parametrize("decision", [ALLOWED, LIMITED, DENIED])
def test_a_call_dropped_while_the_engine_is_asked_gets_no_verdict_and_takes_nothing(decision: Decision) -> None:
    async def test(world: GateBetweenFakes) -> None:
        world.engine.go.clear()
        trial = world.judge()
        await asyncio.sleep(0)
        trial.drop()
        world.engine.go.set()
        await world.gate.finish()
        assert world.verdicts == []
        assert world.ledger.wanted == []
        assert (world.ruling.allowed, world.ruling.kind) == (False, "cancelled")

    run(test, {"decision": decision})


def test_a_call_dropped_while_it_waits_for_the_store_gives_back_what_it_took() -> None:
    async def test(world: GateBetweenFakes) -> None:
        world.ledger.go.clear()
        trial = world.judge()
        await asyncio.sleep(0)
        trial.drop()
        world.ledger.go.set()
        await world.gate.finish()
        assert world.verdicts == []
        assert [entry.reservation for entry in world.ledger.returned] == world.ledger.wanted != []
        assert (world.ruling.allowed, world.ruling.kind) == (False, "cancelled")

    run(test, {"decision": LIMITED}, {"waits": True}, remembered=True)


def test_a_call_dropped_while_the_engine_fails_gets_no_verdict() -> None:
    async def test(world: GateBetweenFakes) -> None:
        world.judge().drop()
        await world.gate.finish()
        assert world.verdicts == []
        assert not world.ruling.allowed
        assert world.ended_passes == 1  # or its line would wait for the next call

    run(test, {"error": EngineUnavailable("timeout", "no answer")})


REFUNDS: dict[str, set[Outcome]] = {
    "not_run": {Outcome.NOT_RUN},
    "on_error": {Outcome.NOT_RUN, Outcome.ERROR},
    "on_failure": {Outcome.NOT_RUN, Outcome.ERROR, Outcome.FAILED},
    "never": set(),
}


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("refund", REFUNDS)
def test_what_a_call_took_comes_back_as_its_rule_says(refund: str, outcome: Outcome) -> None:
    tool = {"not_run": "t", "on_error": "trusted", "on_failure": "failing", "never": "never"}[refund]
    returned = int(outcome in REFUNDS[refund])
    limit = msgspec.structs.replace(LIMIT, counter=f"{tool}._rate_day")

    async def test(world: GateBetweenFakes) -> None:
        verdict = await world.verdict(tool)
        assert isinstance(verdict, Forward)
        world.gate.settle(verdict, outcome)
        await world.gate.finish()
        assert len(world.ledger.returned) == returned
        (settled,) = [event for event in world.events if isinstance(event, Settled)]
        assert (settled.outcome, settled.reserved, settled.returned) == (outcome, 1, returned)

    run(test, {"decision": msgspec.structs.replace(LIMITED, reserve=(limit,))})


def test_of_several_limits_only_those_that_say_so_come_back() -> None:
    limits = tuple(msgspec.structs.replace(LIMIT, counter=f"{tool}._rate_day") for tool in ("t", "never", "failing"))

    async def test(world: GateBetweenFakes) -> None:
        verdict = await world.verdict()
        assert isinstance(verdict, Forward)
        world.gate.settle(verdict, Outcome.NOT_RUN)
        await world.gate.finish()
        assert [entry.reservation.counter for entry in world.ledger.returned] == [
            "stub/t._rate_day",
            "stub/failing._rate_day",
        ]

    run(test, {"decision": msgspec.structs.replace(LIMITED, reserve=limits)})


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("outcome", Outcome)
def test_whoever_waits_for_the_settlement_is_told_once_and_finds_everything_given_back(
    outcome: Outcome, waits: bool
) -> None:
    async def test(world: GateBetweenFakes) -> None:
        verdict = await world.verdict()
        assert isinstance(verdict, Forward)
        returned_when_told: list[int] = []
        world.gate.settle(verdict, outcome, lambda: returned_when_told.append(len(world.ledger.returned)))
        await world.gate.finish()
        assert returned_when_told == [1 if outcome is Outcome.NOT_RUN else 0]

    run(test, {"decision": LIMITED}, {"waits": waits})


@pytest.mark.parametrize("waits", [False, True])
def test_what_cannot_be_given_back_is_told_and_holds_up_nobody(waits: bool) -> None:
    async def test(world: GateBetweenFakes) -> None:
        world.ledger.unable_to_return = True
        verdict = await world.verdict()
        assert isinstance(verdict, Forward)
        told: list[str] = []
        world.gate.settle(verdict, Outcome.NOT_RUN, lambda: told.append("settled"))
        await world.gate.finish()
        assert StoreFailed("stub", "a reservation could not be given back: the disk is gone") in world.events
        assert told == ["settled"]

    run(test, {"decision": LIMITED}, {"waits": waits})


def test_every_decision_has_an_id_of_its_own_and_every_call_one_verdict() -> None:
    async def test(world: GateBetweenFakes) -> None:
        for number in range(300):
            world.engine.decision = (ALLOWED, DENIED, LIMITED)[number % 3]
            world.engine.remembers = number % 2 == 0
            world.judge()
        await world.gate.finish()
        ids = [event.decision_id for event in world.events if isinstance(event, Decided)]
        assert len(world.verdicts) == len(ids) == len(set(ids)) == 300
        assert world.gate.next_id() not in ids

    run(test)


@pytest.mark.parametrize("tool", ["intercept/canary-allowed", "intercept/x", "t\\u200b", " t", "t\\n", "\\uff54"])
def test_a_name_that_no_tool_can_have_is_refused_before_anything_is_asked(tool: str) -> None:
    async def test(world: GateBetweenFakes) -> None:
        with pytest.raises(InvalidMessage, match="no tool can be called"):
            world.judge(tool)
        assert (world.verdicts, world.events) == ([], [])

    run(test)


def test_the_name_of_an_unlisted_tool_hides_nothing_in_the_message() -> None:
    hidden = msgspec.structs.replace(DENIED, kind="default_deny", reason="Tool \u202e is not permitted by policy")

    async def test(world: GateBetweenFakes) -> None:
        assert (await world.refusal())["text"].startswith(
            "[INTERCEPT POLICY DENIED] Tool \\u202e is not permitted by policy\n"
        )

    run(test, {"decision": hidden})


def test_every_decision_names_the_caller() -> None:
    async def test(world: GateBetweenFakes) -> None:
        await world.verdict()
        assert world.decided.caller is world.caller

    run(test)


def test_a_call_that_needs_an_approval_of_which_nothing_is_said_is_denied() -> None:
    async def test(world: GateBetweenFakes) -> None:
        assert (await world.refusal())["kind"] == "approval_required"
        assert world.ledger.wanted == []

    run(test, {"decision": msgspec.structs.replace(ASKING, reserve=(LIMIT,), approval=None)})


def test_ids_of_decisions_are_numbers_in_hex_without_gaps() -> None:
    async def test(world: GateBetweenFakes) -> None:
        assert [world.gate.next_id() for _ in range(70_000)] == [f"i-{number:x}" for number in range(1, 70_001)]

    run(test)
