"""Approvals against a model of them, on every store: calls, answers, crashes, clocks that are set, in any order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal, TypeAlias

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace

from sidecar.ledger.approvals import (
    Asked,
    Conflict,
    GrantTerms,
    NoApproval,
    Record,
    SameCall,
    Settlement,
    Unapproved,
)
from sidecar.ledger.protocol import Claim, Claimed, Exhausted
from sidecar.ledger.values import Counter, Entry, Reservation
from tests.ledger.approvals_model import GRANT_CALLS, GRANT_SECONDS, LOST, Call, Model, One
from tests.ledger.asking import SHOWN, says
from tests.ledger.stores import Clock, Store, claim

WINDOW = 2**31
"""Seconds of a window that no clock of these tests leaves."""

LIMIT = 6
INSTANCES = ("here", "there")

CALLS = st.sampled_from(
    [
        *(Call("cancel", holder) for holder in ("agent", "other")),
        Call("cancel", "agent", definition="old"),
        Call("cancel", "agent", definition="new"),
        Call("transfer", "agent", approvers=2, four_eyes=True),
        *(Call("order", holder, size, grants=True) for holder in ("agent", "other") for size in (1, 2, 3)),
        *(Call("order", "agent", 2, definition=which, grants=True) for which in ("old", "new")),
        Call("both", "agent", approvers=2, grants=True),
    ]
)
PICK = st.integers(0, 11)
HOW = st.sampled_from(["consumed", "not_run", "unknown", "released"])
PEOPLE = st.sampled_from(["alice", "bob", "carol"])


Use: TypeAlias = tuple[str, int, tuple[Entry, ...]]
"""The id of the approval, the number of its use, and what the call took."""


def asked(call: Call, owner: str) -> Asked:
    """A call as the store gets it."""
    same, at_most = (("args.instId", call.name),), (("args.sz", f"{call.size}.0"),)
    terms = GrantTerms(int(GRANT_SECONDS), GRANT_CALLS, same, at_most) if call.grants else None
    return Asked(
        "stub", call.name, call.holder, call.binding, call.same, call.definition, f"rules of {call.name}", owner,
        int(call.timeout), int(call.use_within), call.approvers, call.four_eyes, False,
        replace(SHOWN, asker=call.asker), terms,
    )  # fmt: skip


class ApprovalsAndModel(RuleBasedStateMachine):
    """Two instances on one store, used in turn, each with a clock of its own that anybody may set."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.clocks = {instance: Clock() for instance in INSTANCES}
        self.ledgers = {instance: store.ledger(clock) for instance, clock in self.clocks.items()}
        self.runner = asyncio.Runner()
        self.model = Model(LIMIT)
        self.now = Clock().now
        self.final: dict[str, Record] = {}
        self.calls: list[Call] = []
        self.uses: list[Use] = []
        self.ended: list[Use] = []

    def teardown(self) -> None:
        for ledger in self.ledgers.values():
            self.runner.run(ledger.close())
        self.runner.close()

    @initialize(calls=st.lists(CALLS, min_size=1, max_size=3))
    def both_live(self, calls: list[Call]) -> None:
        """Few calls, so that they meet."""
        self.calls = calls
        self.clocks_are_set("here", 0)

    def one_of(self, pick: int, *states: str) -> str:
        """An approval in one of these states, if there is one; else any."""
        found = [id_ for id_ in self.model.all if self.model.state(id_, self.now) in states]
        ids = found or list(self.model.all)
        return ids[pick % len(ids)]

    def wanted(self, takes: int) -> tuple[Reservation, ...]:
        """What a call takes from the limit."""
        return (Reservation("stub/orders", "", WINDOW, takes, LIMIT),) if takes else ()

    # The agents.

    @rule(pick=PICK, ready=st.booleans(), owner=st.sampled_from(INSTANCES), wait=st.booleans())
    def a_call_comes(self, pick: int, ready: bool, owner: str, wait: bool) -> None:
        """A call that takes one, and its approval with it or neither."""
        able = [call for call in self.calls if self.model.usable(call, self.now)[0] in ("own", "standing")]
        calls = (ready and able) or self.calls
        self.comes(calls[pick % len(calls)], owner, wait)

    def comes(self, call: Call, owner: str, wait: bool) -> None:
        """The store and the model agree on what becomes of a call."""
        blocks = self.model.blocks(call.same)
        can, id_ = self.model.usable(call, self.now)
        match self.claims(owner, call, wait):
            case Unapproved() as result:
                assert blocks or can not in ("own", "standing"), (can, id_)
                self.unapproved(call, result)
            case Exhausted(position=0):
                assert not blocks
                assert can in ("own", "standing")
                assert self.model.taken == LIMIT
            case Claim(entries, totals, Record() as record):
                assert not blocks
                assert record.state == "in_use"
                assert self.model.taken < LIMIT
                self.taken(call, can, id_, record, owner)
                assert totals == (self.model.taken,)
                self.uses.append((record.id, record.uses, entries))
            case result:
                raise AssertionError(result)

    @rule(pick=PICK, grant=st.booleans(), owner=st.sampled_from(INSTANCES))
    def everybody_agrees(self, pick: int, grant: bool, owner: str) -> None:
        """The usual course, so that many runs get far: a call asks, is approved, and runs."""
        call = self.calls[pick % len(self.calls)]
        if not self.model.blocks(call.same) and self.model.usable(call, self.now)[0] in (
            "ask",
            "pending",
        ):
            self.comes(call, owner, False)
            id_ = self.model.usable(call, self.now)[1]
            for by in ("alice", "carol")[: call.approvers]:
                self.answers(id_, by, "approve", grant and call.grants)
        self.comes(call, owner, False)

    @rule(pick=PICK, owner=st.sampled_from(INSTANCES))
    def the_same_call_comes_where_it_needs_no_approval(self, pick: int, owner: str) -> None:
        call = self.calls[pick % len(self.calls)]
        blocks = self.model.blocks(call.same)
        match self.runner.run(claim(self.ledgers[owner], asks=SameCall("stub", call.same))):
            case Unapproved(record):
                assert record.id in blocks
            case Claim(approval=None):
                assert not blocks
            case result:
                raise AssertionError(result)

    def claims(self, owner: str, call: Call, wait: bool) -> Claimed:
        """What the store makes of a call."""
        ledger, wanted, asks = self.ledgers[owner], self.wanted(1), asked(call, owner)
        return self.runner.run(ledger.claim(wanted, (), asks) if wait else claim(ledger, *wanted, asks=asks))

    def unapproved(self, call: Call, result: Unapproved) -> None:
        """A call that has to wait: the model agrees why."""
        record = result.record
        blocks = self.model.blocks(call.same)
        can, id_ = self.model.usable(call, self.now)
        if any(self.model.all[one].state == "unknown" or record.state == "unknown" for one in blocks):
            assert record.id in blocks
            assert record.state == "unknown"
        elif can in ("own", "standing"):
            assert record.id in blocks
            assert record.state == "in_use"
        elif can == "ask":
            assert result.is_new
            assert record.state == "pending"
            assert record.id not in self.model.all
            self.model.all[record.id] = One(call, "pending", self.now, self.now + call.timeout)
        else:
            assert not result.is_new
            assert (record.state, record.id) == (can, id_)

    def taken(self, call: Call, can: str, id_: str, record: Record, owner: str) -> None:
        """A call that may run: the model agrees on what."""
        if can == "own":
            assert (record.id, record.grant) == (id_, "")
        else:
            assert can == "standing"
            assert self.model.standing[record.grant].fits(call, self.now)
            self.model.standing[record.grant].left -= 1
            waits = self.model.newest(call)
            if waits is not None and self.model.state(waits, self.now) == "pending":
                assert record.id == waits
            else:
                assert record.id not in self.model.all
                self.model.all[record.id] = One(call, "pending", self.now, self.now)
            self.model.all[record.id].grant = record.grant
        self.model.use(record.id, owner, self.now)

    # What becomes of the calls.

    @precondition(lambda self: self.uses)
    @rule(pick=PICK, how=HOW, at_once=st.booleans())
    def a_use_ends(self, pick: int, how: Settlement, at_once: bool) -> None:
        use = self.uses.pop(pick % len(self.uses))
        self.ended.append(use)
        self.settles(use, how, at_once)

    @precondition(lambda self: self.ended)
    @rule(pick=PICK, how=HOW, at_once=st.booleans())
    def the_end_of_a_use_is_told_once_more(self, pick: int, how: Settlement, at_once: bool) -> None:
        """Even otherwise than before: an answer that comes late."""
        self.settles(self.ended[pick % len(self.ended)], how, at_once)

    def settles(self, use: Use, how: Settlement, at_once: bool) -> None:
        """A use ends; one that ran for nothing gives back what it took."""
        id_, number, entries = use
        back = entries if how in ("not_run", "released") else ()
        approvals = self.ledgers["here"].approvals
        if not at_once or approvals.settle_at_once(id_, how, back, number) is None:
            self.runner.run(approvals.settle(id_, how, back, number))
        self.model.settle(id_, number, how, self.now)

    # People.

    @precondition(lambda self: self.model.all)
    @rule(pick=PICK, by=PEOPLE, verdict=st.sampled_from(["approve", "approve", "approve", "deny"]), grant=st.booleans())
    def a_person_answers(self, pick: int, by: str, verdict: Literal["approve", "deny"], grant: bool) -> None:
        id_ = self.one_of(pick, "pending")
        self.answers(id_, by, verdict, grant and verdict == "approve")

    def answers(self, id_: str, by: str, verdict: Literal["approve", "deny"], grant: bool) -> None:
        """An answer, which is taken where the model takes it."""
        expected = self.model.decide(id_, by, verdict, grant, self.now)
        answer = says(verdict, by, grant=grant)
        if expected is None:
            with pytest.raises(Conflict):
                self.runner.run(self.ledgers["there"].approvals.decide(id_, answer))
        else:
            assert self.runner.run(self.ledgers["there"].approvals.decide(id_, answer))[1] is expected

    @precondition(lambda self: self.model.all)
    @rule(pick=PICK, by=PEOPLE, verdict=st.sampled_from(["approve", "deny"]))
    def a_person_answers_whatever_it_is(self, pick: int, by: str, verdict: Literal["approve", "deny"]) -> None:
        self.answers(self.one_of(pick), by, verdict, False)

    @precondition(lambda self: self.model.all)
    @rule(pick=PICK, verdict=st.sampled_from(["committed", "failed"]))
    def a_person_says_what_happened(self, pick: int, verdict: Literal["committed", "failed"]) -> None:
        id_ = self.one_of(pick, "unknown")
        if self.model.resolve(id_, verdict, self.now):
            self.runner.run(self.ledgers["here"].approvals.resolve(id_, says(verdict)))
        else:
            with pytest.raises(Conflict):
                self.runner.run(self.ledgers["here"].approvals.resolve(id_, says(verdict)))

    @precondition(lambda self: self.model.all)
    @rule(pick=PICK)
    def a_person_takes_it_back(self, pick: int) -> None:
        id_ = self.one_of(pick, "approved", "consumed")
        if self.model.revoke(id_, self.now):
            self.runner.run(self.ledgers["here"].approvals.revoke(id_, says("revoke")))
        else:
            with pytest.raises(Conflict):
                self.runner.run(self.ledgers["here"].approvals.revoke(id_, says("revoke")))

    @rule(id_=st.sampled_from(["apr_", "", "apr_00000000000000000000", "*"]))
    def somebody_guesses_an_id(self, id_: str) -> None:
        with pytest.raises(NoApproval):
            self.runner.run(self.ledgers["here"].approvals.decide(id_, says("approve")))

    # Time.

    @rule(seconds=st.sampled_from([0.25, 1, 4, 5, 25, 30, 59.75, 60, 200, 400]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        for clock in self.clocks.values():
            clock.passes(seconds)

    @rule(instance=st.sampled_from(INSTANCES))
    def an_instance_sweeps(self, instance: str) -> None:
        """The other one may have crashed: it says nothing."""
        expected = self.model.sweep(instance, self.now)
        changed = self.runner.run(self.ledgers[instance].approvals.sweep(instance))
        assert {record.id for record in changed} == expected

    @rule(instance=st.sampled_from(INSTANCES), by=st.sampled_from([-86400, -3600, -1, 1, 10, 400]))
    def clocks_are_set(self, instance: str, by: float) -> None:
        """Time goes on from the highest that anybody has seen; both look, so that the model knows which that is."""
        self.clocks[instance].now += by
        self.now = max(self.now, self.clocks[instance].now)
        for one in (instance, *INSTANCES):
            self.an_instance_sweeps(one)

    # What always holds.

    @invariant()
    def the_store_and_the_model_agree(self) -> None:
        approvals = self.ledgers["there"].approvals
        records = {record.id: record for record in self.runner.run(approvals.records())}
        assert set(records) == set(self.model.all)
        for id_, record in records.items():
            one = self.model.all[id_]
            if record.state == "unknown" and one.state == "in_use" and self.model.silent(one, self.now) >= LOST:
                one.state = "unknown"  # whoever sees it first may note it
            assert record.state == self.model.state(id_, self.now), record
            answers = [(said.by, said.verdict, said.grant) for said in record.answers]
            assert [said for said in answers if said[1] in ("approve", "deny")] == one.answers
        granted = {grant.id: grant.left for grant in self.runner.run(approvals.grants())}
        usable = {id_: one.left for id_, one in self.model.standing.items() if one.usable(self.now)}
        assert granted == usable
        total = self.runner.run(self.ledgers["here"].totals((Counter("stub/orders", "", WINDOW),)))
        assert total == (self.model.taken,)

    @invariant()
    def what_is_final_stays_as_it_is(self) -> None:
        for id_, was in self.final.items():
            is_now = self.runner.run(self.ledgers["here"].approvals.find(id_))
            assert (is_now.state, is_now.answers[: len(was.answers)]) == (was.state, was.answers)
        for record in self.runner.run(self.ledgers["here"].approvals.records(("denied", "expired", "consumed"))):
            self.final.setdefault(record.id, record)

    @invariant()
    def no_approval_lets_two_calls_through_and_none_more_than_it_was_given(self) -> None:
        assert all(one.forwarded <= 1 for one in self.model.all.values())
        assert 0 <= self.model.taken <= LIMIT
        for grant in self.model.standing:
            used = [one for id_, one in self.model.all.items() if grant in (one.grant, id_)]
            assert sum(one.forwarded for one in used) <= GRANT_CALLS


@pytest.mark.slow
def test_approvals_and_a_model_of_them_agree(fresh: Callable[[], Store]) -> None:
    run_state_machine_as_test(
        lambda: ApprovalsAndModel(fresh()),  # type: ignore[arg-type]  # it takes any factory, as its documentation says
        settings=settings(
            max_examples=100,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),  # a busy machine is no defect
        ),
    )
