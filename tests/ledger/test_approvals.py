"""Approvals in every store: who may run what, once, and until when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from sidecar.ledger import transitions
from sidecar.ledger.approvals import (
    KEPT,
    KEPT_LONG,
    LOST_AFTER,
    MAX_BRIEF,
    MAX_LONG_EACH,
    MAX_PENDING_EACH,
    Conflict,
    GrantTerms,
    NoApproval,
    QueueFull,
    Record,
    Unapproved,
)
from sidecar.ledger.protocol import Claim, Exhausted, Ledger
from sidecar.ledger.values import Amount, Counter
from tests.ledger.asking import SHOWN, TERMS, approved, asks, pending, refused, same, says, state, used
from tests.ledger.stores import DAY, NOON, Clock, Store, claim, ledger_in, wants

Test = Callable[[Ledger, Clock], Coroutine[Any, Any, None]]


def with_ledger(store: Store, test: Test) -> None:
    """Run a test with a ledger and its clock."""

    async def run() -> None:
        clock = Clock()
        async with ledger_in(store, clock) as ledger:
            await test(ledger, clock)

    asyncio.run(run())


async def total(ledger: Ledger) -> Amount:
    """What stands on the counter of the calls here."""
    (found,) = await ledger.totals((Counter("stub/t.n", "", DAY),))
    return found


# Once, and together with the limits.


def test_a_call_goes_through_once_after_a_person_agreed(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        record = await approved(ledger, asks())
        assert (await used(ledger, asks())).id == record.id
        assert (await refused(ledger, asks())).state == "in_use"
        assert (await ledger.approvals.settle(record.id, "consumed")).state == "consumed"
        assert (await refused(ledger, asks())).id != record.id  # a person is asked anew

    with_ledger(store, test)


def test_a_call_that_is_asked_about_twice_waits_for_one_answer(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        record = await pending(ledger, asks())
        again = await claim(ledger, asks=asks())
        assert again == Unapproved(replace(record, asked_times=2))
        assert len(await ledger.approvals.records()) == 1

    with_ledger(store, test)


@pytest.mark.parametrize(
    "other",
    [asks("other"), asks(holder="other"), asks(rules="other rules"), asks(server="other")],
    ids=["another call", "another agent", "an edit of the rule", "another server"],
)
def test_an_approval_is_of_no_use_for(store: Store, other: Any) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        record = await approved(ledger, asks())
        assert (await pending(ledger, other)).id != record.id
        assert await state(ledger, record) == "approved"

    with_ledger(store, test)


@pytest.mark.parametrize(("was", "now", "is_of_use"), [
    ("one", "one", True), ("one", "two", False), ("", "two", True), ("one", "", True),
])  # fmt: skip
def test_an_approval_is_of_the_tool_as_it_was_where_that_is_known(
    store: Store, was: str, now: str, is_of_use: bool
) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        await approved(ledger, asks(definition=was))
        claimed = await claim(ledger, asks=asks(definition=now))
        assert isinstance(claimed, Claim) is is_of_use

    with_ledger(store, test)


def test_an_exhausted_limit_takes_no_approval_and_a_missing_approval_takes_nothing_from_a_limit(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        await pending(ledger, asks("first"))
        await refused(ledger, asks("first"), wants(limit=1))
        assert await total(ledger) == 0
        record = await approved(ledger, asks())
        assert isinstance(await claim(ledger, wants(limit=0), asks=asks()), Exhausted)
        assert await state(ledger, record) == "approved"
        await used(ledger, asks(), wants(limit=1))
        assert await total(ledger) == 1

    with_ledger(store, test)


def test_a_call_that_was_not_forwarded_gives_back_its_approval_and_what_it_took(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        await approved(ledger, asks())
        record = await used(ledger, asks(), wants())
        assert (await ledger.approvals.settle(record.id, "released", record.entries)).state == "approved"
        assert await total(ledger) == 0
        assert (await used(ledger, asks(), wants())).id == record.id

    with_ledger(store, test)


def test_an_end_that_is_told_twice_does_not_end_the_next_use(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        await approved(ledger, asks())
        first = await used(ledger, asks(), wants())
        await ledger.approvals.settle(first.id, "released", first.entries, first.uses)
        second = await used(ledger, asks(), wants())
        assert (await ledger.approvals.settle(first.id, "released", first.entries, first.uses)).state == "in_use"
        assert await total(ledger) == 1
        await refused(ledger, asks())
        assert (await ledger.approvals.settle(second.id, "consumed", (), second.uses)).state == "consumed"

    with_ledger(store, test)


def test_amounts_of_any_size_are_given_back_exactly(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        kept = Decimal("1e-30")
        lost: list[Amount] = [2**64 + 1, 10**33, Decimal("123456789.0123456789"), Decimal("0.1")]
        await claim(ledger, wants(amount=kept, limit=None))
        await approved(ledger, asks())
        record = await used(ledger, asks(), *(wants(amount=one, limit=None) for one in lost))
        await ledger.approvals.settle(record.id, "unknown")
        record = await ledger.approvals.find(record.id)
        assert [entry.reservation.amount for entry in record.entries] == lost
        await ledger.approvals.resolve(record.id, says("failed"))
        assert await total(ledger) == kept

    with_ledger(store, test)


# People.


def test_a_denied_call_stays_denied_for_as_long_as_the_question_would_have_stood(store: Store) -> None:
    async def test(ledger: Ledger, clock: Clock) -> None:
        record = await pending(ledger, asks(timeout=60))
        clock.passes(59)
        denied, changed = await ledger.approvals.decide(record.id, says("deny", reason="too much"))
        assert (denied.state, denied.answers[0].reason, changed) == ("denied", "too much", True)
        assert denied.answers[0].at == clock.now
        clock.passes(59.75)
        assert (await refused(ledger, asks(timeout=60))).id == record.id
        clock.passes(0.25)
        await pending(ledger, asks(timeout=60))
        assert await state(ledger, record) == "denied"

    with_ledger(store, test)


def test_two_different_people_have_to_agree_where_the_rule_wants_two(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        record = await pending(ledger, asks(approvers=2))
        approvals = ledger.approvals
        assert (await approvals.decide(record.id, says("approve", "alice")))[0].state == "pending"
        assert (await approvals.decide(record.id, says("approve", "alice")))[1] is False
        for one in ("ALICE", " alice", "ａlice"):
            assert (await approvals.decide(record.id, says("approve", one)))[1] is False
        with pytest.raises(Conflict, match="give a name"):
            await approvals.decide(record.id, says("approve", ""))
        await refused(ledger, asks(approvers=2))
        assert (await approvals.decide(record.id, says("approve", "carol")))[0].state == "approved"

    with_ledger(store, test)


def test_one_no_is_enough(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        record = await pending(ledger, asks(approvers=2))
        await ledger.approvals.decide(record.id, says("approve", "alice"))
        assert (await ledger.approvals.decide(record.id, says("deny", "alice")))[0].state == "denied"
        with pytest.raises(Conflict, match="denied already"):
            await ledger.approvals.decide(record.id, says("approve", "carol"))

    with_ledger(store, test)


@pytest.mark.parametrize("by", ["bob", "Bob", "bob "])
def test_who_asked_cannot_approve_where_four_eyes_are_wanted(store: Store, by: str) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        record = await pending(ledger, asks(four_eyes=True))
        with pytest.raises(Conflict, match="four_eyes"):
            await ledger.approvals.decide(record.id, says("approve", by))
        assert await state(ledger, record) == "pending"
        assert (await ledger.approvals.decide(record.id, says("deny", by)))[0].state == "denied"

    with_ledger(store, test)


def test_the_same_answer_of_the_same_person_changes_nothing_and_any_other_is_a_conflict(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        record = await approved(ledger, asks())
        again = await ledger.approvals.decide(record.id, says("approve"))
        assert again == (record, False)
        for other in (says("approve", "carol"), says("deny"), says("deny", "carol")):
            with pytest.raises(Conflict, match="approved already") as caught:
                await ledger.approvals.decide(record.id, other)
            assert caught.value.record == record
        await ledger.approvals.revoke(record.id, says("revoke", "carol"))
        with pytest.raises(Conflict, match="denied already"):
            await ledger.approvals.decide(record.id, says("approve"))

    with_ledger(store, test)


def test_nobody_answers_what_does_not_exist(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        approvals = ledger.approvals
        for work in (
            approvals.find("apr_1"),
            approvals.decide("apr_1", says("approve")),
            approvals.resolve("apr_1", says("failed")),
            approvals.revoke("apr_1", says("revoke")),
            approvals.settle("apr_1", "consumed"),
        ):
            with pytest.raises(NoApproval):
                await work

    with_ledger(store, test)


@pytest.mark.parametrize("verdict", ["committed", "failed", "revoke"])
def test_an_answer_of_another_kind_approves_nothing(store: Store, verdict: Any) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        record = await pending(ledger, asks())
        with pytest.raises(ValueError, match="no answer"):
            await ledger.approvals.decide(record.id, says(verdict))
        assert await state(ledger, record) == "pending"

    with_ledger(store, test)


def test_an_approval_that_was_taken_back_is_of_no_use(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        record = await approved(ledger, asks())
        assert (await ledger.approvals.revoke(record.id, says("revoke", "carol"))).state == "denied"
        assert (await refused(ledger, asks())).id == record.id
        with pytest.raises(Conflict, match="nothing of it can be used"):
            await ledger.approvals.revoke(record.id, says("revoke", "carol"))

    with_ledger(store, test)


def test_what_runs_cannot_be_taken_back(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        await approved(ledger, asks())
        record = await used(ledger, asks())
        with pytest.raises(Conflict, match="in use"):
            await ledger.approvals.revoke(record.id, says("revoke"))

    with_ledger(store, test)


# Time.


def test_an_answer_in_the_last_moment_counts_and_one_after_it_does_not(store: Store) -> None:
    async def test(ledger: Ledger, clock: Clock) -> None:
        early, late = await pending(ledger, asks("early")), await pending(ledger, asks("late"))
        clock.passes(1799.999)
        await ledger.approvals.decide(early.id, says("approve"))
        clock.passes(0.001)
        with pytest.raises(Conflict, match="expired") as caught:
            await ledger.approvals.decide(late.id, says("approve"))
        assert caught.value.record.state == "expired"
        assert await state(ledger, late) == "expired"

    with_ledger(store, test)


def test_an_approval_is_of_use_until_the_last_moment_and_not_after_it(store: Store) -> None:
    async def test(ledger: Ledger, clock: Clock) -> None:
        await approved(ledger, asks("early"))
        late = await approved(ledger, asks("late"))
        clock.passes(599.999)
        await used(ledger, asks("early"))
        clock.passes(0.001)
        assert (await pending(ledger, asks("late"))).id != late.id
        with pytest.raises(Conflict):
            await ledger.approvals.revoke(late.id, says("revoke"))

    with_ledger(store, test)


def test_an_approval_that_ended_while_its_call_was_called_off_stays_over(store: Store) -> None:
    async def test(ledger: Ledger, clock: Clock) -> None:
        await approved(ledger, asks())
        record = await used(ledger, asks())
        clock.passes(600)
        await ledger.approvals.settle(record.id, "released")
        assert await state(ledger, record) == "expired"
        assert (await pending(ledger, asks())).id != record.id

    with_ledger(store, test)


@pytest.mark.parametrize("back", [1, 3600, 400 * DAY])
def test_a_clock_that_is_set_back_opens_nothing_that_was_over(store: Store, back: float) -> None:
    async def test(ledger: Ledger, clock: Clock) -> None:
        record, asked = await approved(ledger, asks()), await pending(ledger, asks("other"))
        clock.passes(3600)
        assert await state(ledger, record) == "expired"  # not noted by anybody so far
        clock.now -= back
        assert await state(ledger, record) == "expired"
        assert (await pending(ledger, asks())).id != record.id
        with pytest.raises(Conflict, match="expired"):
            await ledger.approvals.decide(asked.id, says("approve"))

    with_ledger(store, test)


def test_a_clock_that_is_set_back_in_another_process_opens_nothing_that_was_over(store: Store) -> None:
    async def test(ledger: Ledger, clock: Clock) -> None:
        record = await approved(ledger, asks())
        clock.passes(600)
        await ledger.approvals.sweep("here")
        async with ledger_in(store, Clock(NOON)) as other:
            assert await state(other, record) == "expired"
            assert (await pending(other, asks())).id != record.id

    with_ledger(store, test)


def test_time_goes_on_after_a_clock_was_far_ahead(store: Store) -> None:
    async def test(ledger: Ledger, clock: Clock) -> None:
        clock.now += 400 * DAY
        record = await approved(ledger, asks())
        clock.now -= 400 * DAY
        clock.passes(599)
        assert await state(ledger, record) == "approved"
        other_clock = Clock(NOON)
        async with ledger_in(store, other_clock) as other:
            other_clock.passes(0.5)
            await other.approvals.sweep("there")
            clock.passes(1)
            await ledger.approvals.sweep("here")
            assert await state(other, record) == "expired"
            fresh = await approved(other, asks())
            other_clock.passes(600)
            assert await state(other, fresh) == "expired"

    with_ledger(store, test)


# Nobody knows what happened.


@pytest.mark.parametrize("how", ["lost", "told"])
def test_a_call_of_which_nobody_knows_what_became_stands_in_the_way_of_the_same_call_by_anybody(
    store: Store, how: str
) -> None:
    async def test(ledger: Ledger, clock: Clock) -> None:
        await approved(ledger, asks())
        other = await approved(ledger, asks(holder="other"))
        record = await used(ledger, asks(), wants())
        if how == "told":
            await ledger.approvals.settle(record.id, "unknown", record.entries)
        else:
            clock.passes(LOST_AFTER)
            assert [one.state for one in await ledger.approvals.sweep("there")] == ["unknown"]
        with pytest.raises(Conflict, match="unknown already"):  # whoever said yes must not believe that it may run now
            await ledger.approvals.decide(record.id, says("approve"))
        for again in (asks(), asks(holder="other"), asks(holder="third", rules="new"), same()):
            assert await refused(ledger, again, wants()) == await ledger.approvals.find(record.id)
        assert await total(ledger) == 1
        assert isinstance(await claim(ledger, asks=same("another")), Claim)
        assert (await ledger.approvals.resolve(record.id, says("committed"))).state == "consumed"
        assert await total(ledger) == 1
        assert isinstance(await claim(ledger, asks=same()), Claim)
        assert (await used(ledger, asks(holder="other"))).id == other.id

    with_ledger(store, test)


def test_what_failed_gives_back_what_it_took_once(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        await approved(ledger, asks())
        await claim(ledger, wants())
        record = await used(ledger, asks(), wants())
        await ledger.approvals.settle(record.id, "unknown")
        await ledger.approvals.resolve(record.id, says("failed"))
        assert await total(ledger) == 1
        late = await ledger.approvals.settle(record.id, "not_run", record.entries)
        assert (late.state, await total(ledger)) == ("consumed", 1)
        with pytest.raises(Conflict, match="only what is unknown"):
            await ledger.approvals.resolve(record.id, says("failed"))

    with_ledger(store, test)


def test_an_answer_that_comes_late_says_what_became_of_it(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        await approved(ledger, asks())
        record = await used(ledger, asks(), wants())
        await ledger.approvals.settle(record.id, "unknown")
        assert (await ledger.approvals.settle(record.id, "consumed")).state == "consumed"
        await pending(ledger, asks())

    with_ledger(store, test)


def test_the_same_call_waits_while_anybody_has_it_in_use(store: Store) -> None:
    """A crash, a new session, a quick approval: before anybody can know that the first call is lost."""

    async def test(ledger: Ledger, clock: Clock) -> None:
        await ledger.approvals.sweep("here")
        await approved(ledger, asks())
        await approved(ledger, asks(holder="other", owner="there"))
        record = await used(ledger, asks())
        assert (await refused(ledger, asks(holder="other", owner="there"))).id == record.id
        assert (await refused(ledger, same())).id == record.id
        await pending(ledger, asks(holder="third"))  # a person may look at it meanwhile
        clock.passes(LOST_AFTER)
        assert (await refused(ledger, same())).state == "unknown"
        await ledger.approvals.resolve(record.id, says("committed"))
        await used(ledger, asks(holder="other", owner="there"))

    with_ledger(store, test)


@pytest.mark.parametrize("owner", ["here", "there"])
def test_a_standing_approval_runs_no_call_again_that_is_in_use(store: Store, owner: str) -> None:
    """A sidecar is killed, or an agent loses its connection, and the very call is repeated."""

    async def test(ledger: Ledger, _: Clock) -> None:
        await approved(ledger, asks(grant=TERMS), grant=True)
        record = await used(ledger, asks(grant=TERMS))
        assert (await refused(ledger, asks(grant=TERMS, owner=owner))).id == record.id
        await used(ledger, asks("another", grant=TERMS, owner=owner))
        await ledger.approvals.settle(record.id, "consumed")
        await used(ledger, asks(grant=TERMS, owner=owner))

    with_ledger(store, test)


# Standing approvals.


def like(size: str | None = "5", instrument: str = '"BTC-USDT"', terms: GrantTerms = TERMS) -> GrantTerms:
    """Where a call stands."""
    return replace(terms, same=(("args.instId", instrument),), at_most=(("args.sz", size),))


def test_calls_like_it_go_through_until_there_are_as_many_as_the_rule_allows(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        first = await approved(ledger, asks(grant=like()), grant=True)
        assert [(one.id, one.left) for one in await ledger.approvals.grants()] == [(first.id, 2)]
        assert (await used(ledger, asks(grant=like()))).id == first.id
        for number in range(2):
            assert (await used(ledger, asks(f"like-{number}", grant=like("4.999")))).grant == first.id
        assert await ledger.approvals.grants() == []
        await pending(ledger, asks("one more", grant=like()))

    with_ledger(store, test)


@pytest.mark.parametrize(
    "other",
    [
        asks("c", grant=like("5.0000000000000000000000001")),
        asks("c", grant=like(None)),
        asks("c", grant=like(instrument='"ETH-USDT"')),
        asks("c", grant=replace(like(), at_most=())),
        asks("c", grant=replace(like(), same=())),
        asks("c", grant=None),
        asks("c", grant=replace(like(), beside="a task")),
        asks("c", grant=like(), holder="other"),
        asks("c", grant=like(), rules="edited"),
        asks("c", grant=like(), definition="new"),
        asks("c", grant=like(), server="other"),
    ],
    ids=[
        "a greater number", "no number", "another value", "fewer bounds", "fewer values", "no grant",
        "another parameter beside the arguments", "another agent", "an edit of the rule", "another tool of that name",
        "another server",
    ],
)  # fmt: skip
def test_a_standing_approval_is_of_no_use_for(store: Store, other: Any) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        await approved(ledger, asks("first", grant=like(), definition="old"), grant=True)
        await pending(ledger, other)

    with_ledger(store, test)


@pytest.mark.parametrize(("most", "now", "fits"), [
    ("5", "0", True), ("5", "-1", False), ("-5", "-6", False), ("-5", "-5", True), ("-5", "0", False),
])  # fmt: skip
def test_below_zero_no_number_counts_as_smaller(store: Store, most: str, now: str, fits: bool) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        await approved(ledger, asks(grant=like(most)), grant=True)
        assert isinstance(await claim(ledger, asks=asks("next", grant=like(now))), Claim) is fits

    with_ledger(store, test)


def test_an_approval_of_one_call_is_no_standing_one(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        await approved(ledger, asks(grant=like()))
        assert await ledger.approvals.grants() == []
        await pending(ledger, asks("like it", grant=like()))
        record = await pending(ledger, asks("without"))
        with pytest.raises(Conflict, match="only this call"):
            await ledger.approvals.decide(record.id, says("approve", grant=True))

    with_ledger(store, test)


def test_a_standing_approval_needs_everybody_whose_word_the_call_needs(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        for name, by in (("both", True), ("one", False)):
            record = await pending(ledger, asks(name, approvers=2, grant=like(instrument=name)))
            await ledger.approvals.decide(record.id, says("approve", "alice", grant=True))
            await ledger.approvals.decide(record.id, says("approve", "carol", grant=by))
        assert [dict(one.terms.same) for one in await ledger.approvals.grants()] == [{"args.instId": "both"}]

    with_ledger(store, test)


def test_a_standing_approval_ends(store: Store) -> None:
    async def test(ledger: Ledger, clock: Clock) -> None:
        await approved(ledger, asks("first", grant=like()), grant=True)
        clock.passes(3599.999)
        await used(ledger, asks("in time", grant=like()))
        clock.passes(0.001)
        await pending(ledger, asks("too late", grant=like()))
        assert await ledger.approvals.grants() == []

    with_ledger(store, test)


def test_a_standing_approval_can_be_taken_back_at_once_even_when_all_its_calls_run(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        first = await approved(ledger, asks("first", grant=like()), grant=True)
        await used(ledger, asks("first", grant=like()))
        two = [await used(ledger, asks(name, grant=like())) for name in ("one", "two")][1]
        assert await ledger.approvals.grants("stub") == []
        assert (await ledger.approvals.revoke(first.id, says("revoke", "carol"))).answers[-1].by == "carol"
        assert await ledger.approvals.grants() == []
        await ledger.approvals.settle(two.id, "not_run")  # gives a place back to what was taken back
        assert await ledger.approvals.grants() == []
        await pending(ledger, asks("three", grant=like()))

    with_ledger(store, test)


@pytest.mark.parametrize(("how", "left"), [("consumed", 1), ("unknown", 1), ("not_run", 2), ("released", 2)])
def test_a_use_that_certainly_did_not_run_gives_its_place_back(store: Store, how: Any, left: int) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        await approved(ledger, asks("first", grant=like()), grant=True)
        record = await used(ledger, asks("like it", grant=like()))
        after = await ledger.approvals.settle(record.id, how)
        assert after.state == ("unknown" if how == "unknown" else "consumed")
        assert [one.left for one in await ledger.approvals.grants()] == [left]
        await ledger.approvals.settle(record.id, how)  # told twice
        assert [one.left for one in await ledger.approvals.grants()] == [left]

    with_ledger(store, test)


def test_a_call_that_waits_for_a_person_is_settled_by_a_standing_approval(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        waits = await pending(ledger, asks("waits", grant=like()))
        first = await approved(ledger, asks("first", grant=like()), grant=True)
        record = await used(ledger, asks("waits", grant=like()))
        assert (record.id, record.grant) == (waits.id, first.id)
        with pytest.raises(Conflict, match="in use"):
            await ledger.approvals.decide(waits.id, says("approve"))

    with_ledger(store, test)


def test_a_no_to_this_call_beats_a_yes_to_calls_like_it(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        denied = await pending(ledger, asks("denied", grant=like()))
        await ledger.approvals.decide(denied.id, says("deny"))
        await approved(ledger, asks("first", grant=like()), grant=True)
        assert (await refused(ledger, asks("denied", grant=like()))).id == denied.id

    with_ledger(store, test)


def test_limits_count_every_call_of_a_standing_approval(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        await approved(ledger, asks("first", grant=like()), grant=True)
        await used(ledger, asks("one", grant=like()), wants(limit=1))
        assert isinstance(await claim(ledger, wants(limit=1), asks=asks("two", grant=like())), Exhausted)
        assert [one.left for one in await ledger.approvals.grants()] == [1]

    with_ledger(store, test)


# Several calls at once.


def test_calls_that_come_together_get_one_approval_once(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        record = await approved(ledger, asks())
        calls = [asks(), asks(), asks("other"), asks()]
        claimed = ledger.claim_at_once([(wants(),)] * 4, {}, dict(enumerate(calls)))
        if claimed is None:
            claimed = list(await asyncio.gather(*(ledger.claim((wants(),), (), call) for call in calls)))
        assert [type(one) for one in claimed].count(Claim) == 1
        stuck = [one.record for one in claimed if isinstance(one, Unapproved)]
        assert sorted(one.state for one in stuck) == ["in_use", "in_use", "pending"]
        assert {one.id for one in stuck if one.state == "in_use"} == {record.id}
        assert await total(ledger) == 1

    with_ledger(store, test)


def test_calls_that_come_together_and_ask_the_same_ask_one_person(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        claimed = ledger.claim_at_once([()] * 3, {}, dict.fromkeys(range(3), asks()))
        if claimed is None:
            claimed = list(await asyncio.gather(*(ledger.claim((), (), asks()) for _ in range(3))))
        assert [one.is_new for one in claimed if isinstance(one, Unapproved)].count(True) == 1
        (record,) = await ledger.approvals.records()
        assert record.asked_times == 3

    with_ledger(store, test)


# Too many.


def test_a_full_queue_asks_nobody_and_loses_none(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(ledger: Ledger, clock: Clock) -> None:
        for number in range(MAX_PENDING_EACH):
            await pending(ledger, asks(f"c{number}", timeout=60))
        assert await claim(ledger, wants(), asks=asks("one more")) == QueueFull(own=True)
        assert await total(ledger) == 0
        await pending(ledger, asks(holder="other"))
        assert (await refused(ledger, asks("c7"))).state == "pending"
        assert (await ledger.approvals.counts("stub")).states["pending"] == MAX_PENDING_EACH + 1
        clock.passes(60)  # room again, before anybody has noted that they are over
        await pending(ledger, asks("one more"))

    with_ledger(store, test)


def test_few_long_questions_wait_at_once_and_those_that_nobody_answered_are_soon_removed(store: Store) -> None:
    shown = replace(SHOWN, arguments=f'{{"text":"{"x" * MAX_BRIEF}"}}')

    async def test(ledger: Ledger, clock: Clock) -> None:
        records = [await pending(ledger, asks(f"c{number}", shown=shown)) for number in range(MAX_LONG_EACH)]
        assert await claim(ledger, asks=asks("one more", shown=shown)) == QueueFull(own=True)
        await pending(ledger, asks("a short one"))
        await pending(ledger, asks("of another", holder="other", shown=shown))
        await ledger.approvals.decide(records[0].id, says("deny"))
        await pending(ledger, asks("one more", shown=shown))
        clock.passes(1800)
        await ledger.approvals.sweep("here")
        clock.passes(KEPT_LONG)
        await ledger.approvals.sweep("here")
        found = await ledger.approvals.records()
        assert {one.asked.call for one in found} == {"a short one", "c0"}

    with_ledger(store, test)


def test_a_queue_that_others_filled_asks_nobody_either(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transitions, "MAX_PENDING", 3)

    async def test(ledger: Ledger, _: Clock) -> None:
        records = [await pending(ledger, asks(holder=f"agent-{number}")) for number in range(3)]
        assert await claim(ledger, asks=asks()) == QueueFull(own=False)
        await ledger.approvals.decide(records[1].id, says("approve"))
        await used(ledger, asks(holder="agent-1"))
        await pending(ledger, asks())

    with_ledger(store, test)


# For people who look.


def test_the_newest_come_first_by_state_and_server_and_by_what_changed(store: Store) -> None:
    async def test(ledger: Ledger, clock: Clock) -> None:
        made: dict[str, Record] = {}
        for name in ("a", "b", "c", "d"):
            made[name] = await pending(ledger, asks(name, server="other" if name == "d" else "stub"))
            clock.passes(1)
        since = clock.now
        clock.passes(1)
        await ledger.approvals.decide(made["b"].id, says("deny"))

        async def names(*args: Any, **options: Any) -> list[str]:
            found = await ledger.approvals.records(*args, **options)
            return [one.asked.call for one in found]

        assert await names() == ["d", "c", "b", "a"]
        assert await names(server="stub") == ["c", "b", "a"]
        assert await names(("pending",)) == ["d", "c", "a"]
        assert await names(("denied", "approved")) == ["b"]
        assert await names(limit=2) == ["d", "c"]
        assert await names(changed_after=since) == ["b"]
        assert await names(("pending",), changed_after=since) == []
        clock.now = NOON + 1801
        assert await names(("expired",)) == ["a"]
        assert await names(("pending",)) == ["d", "c"]
        assert await names(("expired",), changed_after=NOON + 1799) == ["a"]
        assert await names(("expired",), changed_after=NOON + 1800) == []

    with_ledger(store, test)


def test_counts_are_of_one_server_and_name_the_oldest_that_waits(store: Store) -> None:
    async def test(ledger: Ledger, clock: Clock) -> None:
        empty = await ledger.approvals.counts("stub")
        assert dict(empty.states) == {"pending": 0, "approved": 0, "in_use": 0, "unknown": 0}
        assert empty.oldest is None
        await pending(ledger, asks("over", timeout=10))
        clock.passes(5)
        await pending(ledger, asks("waits"))
        await pending(ledger, asks(server="other"))
        clock.passes(5)
        await approved(ledger, asks("runs"))
        await used(ledger, asks("runs"))
        await approved(ledger, asks("approved"))
        counts = await ledger.approvals.counts("stub")
        assert dict(counts.states) == {"pending": 1, "approved": 1, "in_use": 1, "unknown": 0}
        assert counts.oldest == NOON + 5

    with_ledger(store, test)


# The upkeep.


def test_a_sweep_notes_what_is_over_once(store: Store) -> None:
    async def test(ledger: Ledger, clock: Clock) -> None:
        waits, agreed = await pending(ledger, asks("waits")), await approved(ledger, asks("agreed"))
        clock.passes(1800)
        swept = await ledger.approvals.sweep("here")
        assert {(one.id, one.state) for one in swept} == {(waits.id, "expired"), (agreed.id, "expired")}
        assert await ledger.approvals.sweep("there") == ()

    with_ledger(store, test)


def test_what_was_final_for_long_is_removed_and_what_nobody_knows_is_not(store: Store) -> None:
    async def test(ledger: Ledger, clock: Clock) -> None:
        old = await pending(ledger, asks("old"))
        await ledger.approvals.decide(old.id, says("deny"))
        await approved(ledger, asks("lost"))
        lost = await used(ledger, asks("lost"))
        await ledger.approvals.settle(lost.id, "unknown")
        clock.passes(KEPT - 1)
        await ledger.approvals.sweep("here")
        assert await state(ledger, old) == "denied"
        clock.passes(1)
        await ledger.approvals.sweep("here")
        with pytest.raises(NoApproval):
            await ledger.approvals.find(old.id)
        assert await state(ledger, lost) == "unknown"
        await refused(ledger, asks("lost"))

    with_ledger(store, test)


def test_a_standing_approval_can_be_taken_back_however_old_it_is(store: Store) -> None:
    async def test(ledger: Ledger, clock: Clock) -> None:
        terms = replace(TERMS, seconds=int(30 * DAY))
        record = await approved(ledger, asks(grant=terms), grant=True)
        await used(ledger, asks(grant=terms))
        await ledger.approvals.settle(record.id, "consumed")
        clock.passes(20 * DAY)
        await ledger.approvals.sweep("here")
        await ledger.approvals.revoke(record.id, says("revoke"))
        assert await ledger.approvals.grants() == []
        clock.passes(20 * DAY)
        for _ in range(2):  # what came of it first
            await ledger.approvals.sweep("here")
        with pytest.raises(NoApproval):
            await ledger.approvals.find(record.id)

    with_ledger(store, test)


def test_an_instance_that_was_silent_and_lives_after_all_can_settle_what_it_had(store: Store) -> None:
    async def test(ledger: Ledger, clock: Clock) -> None:
        await approved(ledger, asks())
        record = await used(ledger, asks(), wants())
        clock.passes(LOST_AFTER)
        await ledger.approvals.sweep("there")
        settled = await ledger.approvals.settle(record.id, "released", record.entries, record.uses)
        assert settled.state == "consumed"  # never again approved: a person was told that nobody knows
        assert await total(ledger) == 0

    with_ledger(store, test)


# Webhooks.


def test_a_webhook_hears_of_each_change_once_where_the_policy_names_one(store: Store) -> None:
    async def test(ledger: Ledger, clock: Clock) -> None:
        approvals = ledger.approvals
        await pending(ledger, asks("silent"))
        record = await approved(ledger, asks(notify=True))
        late = await pending(ledger, asks("late", notify=True))
        clock.passes(1800)
        await approvals.sweep("here")
        notices = await approvals.notices("stub", 30, 10)
        assert {(one.event, one.record.id, one.record.state) for one in notices} == {
            ("pending", record.id, "pending"), ("decided", record.id, "approved"), ("expired", record.id, "expired"),
            ("pending", late.id, "pending"), ("expired", late.id, "expired"),
        }  # fmt: skip
        assert len({one.id for one in notices}) == 5
        assert await approvals.notices("stub", 30, 10) == ()
        for one in notices[:4]:
            await approvals.noticed(one.id, None)
        clock.passes(30)
        (again,) = await approvals.notices("stub", 30, 10)
        assert again == notices[4]  # whoever had it never said what became of it
        await approvals.noticed(again.id, 60)
        clock.passes(59)
        assert await approvals.notices("stub", 30, 10) == ()
        clock.passes(1)
        assert await approvals.notices("stub", 30, 10) == (replace(again, attempts=1),)

    with_ledger(store, test)


def test_notices_are_of_one_server_and_no_more_than_wanted(store: Store) -> None:
    async def test(ledger: Ledger, clock: Clock) -> None:
        for number in range(3):
            await pending(ledger, asks(f"c{number}", notify=True))
            clock.passes(1)
        assert await ledger.approvals.notices("other", 30, 10) == ()
        first = await ledger.approvals.notices("stub", 30, 2)
        assert [one.record.asked.call for one in first] == ["c0", "c1"]
        assert [one.record.asked.call for one in await ledger.approvals.notices("stub", 30, 2)] == ["c2"]

    with_ledger(store, test)


# The secret, and what is kept of a call.


def test_all_users_of_a_store_have_one_secret(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        async with ledger_in(store) as other:
            secrets = await asyncio.gather(ledger.approvals.secret(), other.approvals.secret())
            assert secrets[0] == secrets[1] == await ledger.approvals.secret()
            assert len(secrets[0]) == 32

    with_ledger(store, test)


def test_what_a_person_sees_is_kept_to_the_letter(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        arguments = '{"z":1.10,"a":1e400,"t":"\\u202e<script>\\ud83d\\ude00é\\u0000","big":' + "9" * 400 + "}"
        shown = replace(SHOWN, arguments=arguments, masked=("args.api_key",), takes=(wants(amount=Decimal("2.50")),))
        asked = asks(shown=shown, grant=like())
        record = await pending(ledger, asked)
        assert (await ledger.approvals.find(record.id)).asked == asked

    with_ledger(store, test)


def test_ids_are_not_guessed(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        ids = {(await pending(ledger, asks(f"c{number}"))).id for number in range(20)}
        assert len({one.removeprefix("apr_") for one in ids}) == 20
        assert all(len(bytes.fromhex(one.removeprefix("apr_"))) == 10 for one in ids)

    with_ledger(store, test)
