"""What may become of an approval, without a store: nothing but what the table in the module says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sidecar.ledger import transitions
from sidecar.ledger.approvals import (
    FINAL,
    KEPT,
    KEPT_LONG,
    LOST_AFTER,
    MAX_BRIEF,
    STATES,
    Answer,
    Conflict,
    Grant,
    QueueFull,
    Record,
    Settlement,
    State,
    Unapproved,
)
from sidecar.ledger.transitions import Event, Use, Waiting, decide, is_old, over, resolve, revoke, settle, take
from tests.ledger.asking import SHOWN, TERMS, asks, same, says

ROW = re.compile(r"^\| (?P<before>[^|]*) \| +`(?P<after>\w+)` +\|", re.MULTILINE)
TABLE = {
    (before, found["after"])
    for found in ROW.finditer(transitions.__doc__ or "")
    for before in re.findall(r"`(\w+)`", found["before"]) or [""]
}
"""Which state may follow which, as the module says; nothing comes before the first."""

NOW = 1_000.0
LONG = replace(SHOWN, arguments=f'{{"text":"{"x" * MAX_BRIEF}"}}')


class Kept:
    """Stored approvals, and all that was written of them."""

    def __init__(self, *records: Record, grants: Sequence[Grant] = (), heard: float | None = None) -> None:
        self.now = NOW
        self.all = {record.id: record for record in records}
        self.standing = {grant.id: grant for grant in grants}
        self.heard = heard
        self.written: list[tuple[str, str]] = []
        self.told: list[Event] = []
        self.waiting = Waiting(0, 0, 0, 0)

    def get(self, id: str) -> Record | None:  # noqa: A002 - the field's word
        return self.all.get(id)

    def of_binding(self, binding: str) -> Record | None:
        found = [one for one in self.all.values() if one.asked.binding == binding and not one.grant]
        return found[-1] if found else None

    def unfinished(self, server: str, call: str) -> Sequence[Record]:
        return [one for one in self.all.values() if one.state in ("in_use", "unknown") and one.asked.call == call]

    def grant(self, id: str) -> Grant | None:  # noqa: A002
        return self.standing.get(id)

    def grants(self, server: str, tool: str, holder: str, rules: str) -> Sequence[Grant]:
        return list(self.standing.values())

    def pending(self, holder: str) -> Waiting:
        return self.waiting

    def heard_of(self, instance: str) -> float | None:
        return self.heard

    def put(self, record: Record, tell: Event | None = None) -> None:
        before = self.all[record.id].state if record.id in self.all else ""
        if before != record.state:
            self.written.append((before, record.state))
        self.told += [tell] if tell else []
        self.all[record.id] = record

    def put_grant(self, grant: Grant) -> None:
        self.standing[grant.id] = grant


TIMES = st.sampled_from([NOW - KEPT, NOW - LOST_AFTER, NOW - 1, NOW, NOW + 1])
RECORDS = st.builds(
    Record,
    st.just("apr_1"),
    st.builds(asks, approvers=st.integers(1, 2), four_eyes=st.booleans(), grant=st.sampled_from([None, TERMS])),
    st.sampled_from(STATES),
    created=TIMES,
    changed=TIMES,
    expires=TIMES,
    answers=st.lists(st.builds(says, st.sampled_from(["approve", "deny"]), PEOPLE := st.sampled_from("ab")), max_size=2)
    .map(tuple),
    grant=st.sampled_from(["", "apr_1", "apr_2"]),
    owner=st.just("here"),
    uses=st.integers(0, 2),
)  # fmt: skip
ANSWERS = st.builds(says, st.sampled_from(["approve", "deny"]), PEOPLE, grant=st.booleans())
GRANTS = st.builds(
    Grant, st.sampled_from(["apr_1", "apr_2"]), st.just("stub"), st.just("place_order"), st.just(""), st.just("agent"),
    st.just("rules"), st.just(TERMS), TIMES, TIMES, st.integers(0, 3), st.just(()), st.booleans(),
)  # fmt: skip


def do(what: str, record: Record, records: Kept, answer: Answer, use: int | None) -> object:
    """One thing that may happen to an approval."""
    match what:
        case "take":
            taken = take(record.asked, records)
            return taken.put((), records) if isinstance(taken, Use) else taken
        case "same":
            return take(same(), records)
        case "decide":
            return decide(record.id, answer, records)
        case "committed" | "failed":
            return resolve(record.id, says("committed" if what == "committed" else "failed"), records)
        case "revoke":
            return revoke(record.id, says("revoke"), records)
        case "over":
            return over(record, records)
        case _:
            how: Any = what
            return settle(record.id, how, (), records, use)


WHAT = st.sampled_from(["take", "same", "decide", "committed", "failed", "revoke", "over", *get_args(Settlement)])


@given(
    RECORDS, st.lists(GRANTS, max_size=2), st.sampled_from([None, NOW - LOST_AFTER, NOW]), WHAT, ANSWERS,
    st.sampled_from([None, 0, 1]),
)  # fmt: skip
def test_nothing_happens_that_the_table_does_not_name(
    record: Record, grants: list[Grant], heard: float | None, what: str, answer: Answer, use: int | None
) -> None:
    records = Kept(record, grants=grants, heard=heard)
    try:
        do(what, record, records, answer, use)
    except Conflict:
        assert records.all == {record.id: record}
    assert set(records.written) <= TABLE
    after = records.all[record.id]
    if record.state in FINAL:
        assert after.state == record.state
    assert after.answers[: len(record.answers)] == record.answers
    assert after.asked == record.asked


def test_everything_that_the_table_names_happens() -> None:
    seen: set[tuple[str, str]] = set()
    for state in STATES:
        for over_ in (NOW - 1, NOW + 1):
            for what in (*get_args(Settlement), "take", "decide", "committed", "revoke", "over"):
                for verdict in ("approve", "deny"):
                    for grants in ((), (standing(),)):
                        record = Record("apr_1", asks(grant=TERMS), state, 0.0, NOW - LOST_AFTER, over_, owner="here")
                        records = Kept(record, grants=grants)
                        try:
                            do(what, record, records, says("deny" if verdict == "deny" else "approve"), None)
                        except Conflict:
                            continue
                        seen |= set(records.written)
    assert seen == TABLE


def standing(**changes: Any) -> Grant:
    """A standing approval for calls as `asks` makes them."""
    made = Grant("apr_2", "stub", "place_order", "", "agent", "rules", TERMS, 0.0, NOW + 1, 3, ())
    return replace(made, **changes)


@pytest.mark.parametrize("state", sorted(FINAL))
@pytest.mark.parametrize("verdict", ["approve", "deny"])
def test_what_is_final_takes_no_other_answer_and_says_which_state_it_is_in(state: State, verdict: Any) -> None:
    record = Record("apr_1", asks(), state, 0.0, 0.0, 0.0)
    with pytest.raises(Conflict, match="it expired" if state == "expired" else f"it is {state} already") as caught:
        decide("apr_1", says(verdict), Kept(record))
    assert caught.value.record == record


def test_a_webhook_hears_of_what_people_wait_for_and_of_nothing_else() -> None:
    records = Kept()
    taken = take(asks(), records)
    assert isinstance(taken, Unapproved)
    take(asks(), records)
    assert records.told == ["pending"]
    decide(taken.record.id, says("approve"), records)
    assert records.told == ["pending", "decided"]
    use = take(asks(), records)
    assert isinstance(use, Use)
    use.put((), records)
    settle(taken.record.id, "unknown", (), records)
    resolve(taken.record.id, says("committed"), records)
    assert records.told == ["pending", "decided"]


@pytest.mark.parametrize(("waiting", "own"), [
    ((100, 100, 0, 0), True), ((0, 10_000, 0, 0), False), ((100, 10_000, 0, 0), True),
    ((20, 20, 20, 20), True), ((0, 200, 0, 200), False), ((20, 200, 20, 200), True),
])  # fmt: skip
def test_a_full_queue_takes_no_more_and_says_whose_it_is(waiting: tuple[int, int, int, int], own: bool) -> None:
    records = Kept()
    records.waiting = Waiting(*waiting)
    assert take(asks(shown=LONG), records) == QueueFull(own)
    assert records.all == {}


def test_a_short_question_is_asked_however_many_long_ones_wait() -> None:
    records = Kept()
    records.waiting = Waiting(20, 200, 20, 200)
    assert isinstance(take(asks(), records), Unapproved)


def test_a_long_question_that_nobody_answered_is_not_kept_for_long() -> None:
    record = Record("apr_1", asks(shown=LONG), "expired", 0.0, NOW - KEPT_LONG, 0.0)
    assert is_old(record, Kept(record))
    assert not is_old(replace(record, changed=NOW - KEPT_LONG + 1), Kept(record))
    assert not is_old(replace(record, answers=(says("approve"),)), Kept(record))
    assert not is_old(replace(record, state="denied"), Kept(record))
    assert not is_old(replace(record, asked=asks()), Kept(record))


def test_what_is_over_is_noted_once_and_what_lives_is_left() -> None:
    records = Kept(Record("apr_1", asks(), "pending", 0.0, 0.0, NOW))
    assert over(records.all["apr_1"], records) == replace(records.all["apr_1"], state="expired", changed=NOW)
    assert over(records.all["apr_1"], records) is None
    lives = Record("apr_2", asks(), "in_use", 0.0, 0.0, 0.0, owner="here")
    assert over(lives, Kept(lives, heard=NOW - LOST_AFTER + 1)) is None
    assert over(lives, Kept(lives, heard=NOW - LOST_AFTER)) == replace(lives, state="unknown", changed=NOW)
    begun = replace(lives, changed=NOW - 1)
    assert over(begun, Kept(begun)) is None  # before its instance first said that it lives


def test_what_is_old_is_not_what_a_standing_approval_came_of() -> None:
    record = Record("apr_2", asks(), "consumed", 0.0, NOW - KEPT, 0.0)
    assert is_old(record, Kept(record))
    assert not is_old(replace(record, changed=NOW - KEPT + 1), Kept(record))
    assert not is_old(replace(record, state="unknown"), Kept(record))
    assert not is_old(record, Kept(record, grants=[standing()]))
    assert is_old(record, Kept(record, grants=[standing(until=NOW)]))
