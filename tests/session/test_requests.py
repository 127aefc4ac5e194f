"""Requests that wait for an answer: exactly one answer settles each, and only one with exactly its id."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.mcp.jsonrpc import Id
from sidecar.session.outstanding import MAX_CANCELLED, MAX_OUTSTANDING, OutstandingRequests
from tests.support.fuzzing import examples


def waiting(*ids: Id) -> OutstandingRequests[str]:
    """What waits under each id is called after it."""
    requests: OutstandingRequests[str] = OutstandingRequests()
    for id_ in ids:
        requests.open(id_, f"what waits for {id_!r}")
    return requests


def test_an_answer_settles_its_request_once() -> None:
    requests = waiting(1, "a")
    assert requests.close(1) == "what waits for 1"
    assert requests.close(1) is None
    assert len(requests) == 1


@pytest.mark.parametrize(("asked", "answered"), [(2, "2"), ("2", 2), (2, " 2 "), (2, 3), ("a", "A")])
def test_an_answer_with_another_id_or_another_type_settles_nothing(asked: Id, answered: Id) -> None:
    requests = waiting(asked)
    assert requests.get(answered) is None
    assert requests.close(answered) is None
    assert requests.get(asked) is not None


@pytest.mark.parametrize(("first", "second"), [(7, 7), (7, "7"), ("7", 7), ("-1", -1), ("", "")])
def test_an_id_is_taken_by_one_that_looks_the_same(first: Id, second: Id) -> None:
    requests = waiting(first)
    assert requests.is_taken(second)
    requests.close(first)
    assert not requests.is_taken(second)


def test_an_answer_may_still_come_after_a_cancel() -> None:
    requests = waiting(1)
    assert requests.cancel(1, "late") is None
    assert len(requests) == 0
    assert requests.get(1) is None
    assert requests.is_taken("1")
    assert requests.close(1) == "late"
    assert not requests.is_taken(1)


def test_a_cancel_of_another_id_or_another_type_changes_nothing() -> None:
    requests = waiting(1)
    requests.cancel("1", "late")
    requests.cancel(2, "late")
    assert len(requests) == 1


def test_the_oldest_cancelled_request_is_given_up_when_there_are_too_many() -> None:
    requests = waiting(*range(MAX_CANCELLED + 1))
    given_up = [requests.cancel(id_, f"late {id_}") for id_ in range(MAX_CANCELLED + 1)]
    assert given_up == [None] * MAX_CANCELLED + ["late 0"]
    assert requests.close(0) is None
    assert requests.close(1) is not None


def test_only_so_many_requests_may_wait() -> None:
    requests = waiting(*range(MAX_OUTSTANDING - 1))
    assert not requests.is_full
    requests.open("last", "")
    assert requests.is_full


def test_at_the_end_everything_comes_out_and_says_whether_an_answer_is_due() -> None:
    requests = waiting(1, "a")
    requests.cancel(1, "late")
    assert sorted(requests.drain(), key=str) == [("a", "what waits for 'a'", True), (1, "late", False)]
    assert requests.drain() == []
    assert not requests.is_taken(1)


IDS: list[Id] = [0, 1, -1, 10**15, "0", "1", "-1", "01", " 1", "-0", "1.0", str(10**15), "a", ""]


@pytest.mark.fuzz
@examples(200)
@given(st.lists(st.tuples(st.sampled_from(["open", "close", "cancel"]), st.sampled_from(IDS)), max_size=30))
def test_an_id_is_found_taken_as_by_a_look_at_every_id_that_is_outstanding(steps: list[tuple[str, Id]]) -> None:
    # Most clients use ids of one type, and then only that type is looked for: here they use both in any order.
    requests: OutstandingRequests[str] = OutstandingRequests()
    outstanding: set[tuple[type, Id]] = set()
    for step, id_ in steps:
        if step == "open" and not requests.is_taken(id_):
            requests.open(id_, "it")
            outstanding.add((type(id_), id_))
        elif step == "close":
            requests.close(id_)
            outstanding.discard((type(id_), id_))
        elif step == "cancel":
            requests.cancel(id_, "late")
        for other in IDS:
            assert requests.is_taken(other) is any(str(taken) == str(other) for _, taken in outstanding)
