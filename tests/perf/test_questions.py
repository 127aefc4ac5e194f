"""What is asked of OPA for a call: nothing for a question that was seen before, one for a new one, and that small."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.opa_tap import OpaTap
from tests.support.straight import Straight, passed

IN_FLIGHT = 32
HEAD_BYTES = 256
BODY_BYTES = 160


def test_a_question_that_was_seen_before_is_not_put_again(way: Straight, tap: OpaTap, new: Iterator[int]) -> None:
    number = next(new)
    way.passes("read", sz=number)
    assert tap.asked() == 1
    for _ in range(50):
        way.passes("read", sz=number)
    assert all(map(passed, way.together([("read", {"sz": number})] * IN_FLIGHT)))
    assert tap.asked() == 1


def test_a_new_question_is_put_once(way: Straight, tap: OpaTap, new: Iterator[int]) -> None:
    for _ in range(20):
        way.passes("read", sz=next(new))
    assert tap.asked() == 20
    assert all(map(passed, way.together([("read", {"sz": next(new)}) for _ in range(IN_FLIGHT)])))
    assert tap.asked() == 20 + IN_FLIGHT


def test_a_tool_without_rules_and_a_counted_one_are_asked_about_once(way: Straight, tap: OpaTap) -> None:
    for _ in range(20):
        way.passes("unlisted", sz=1)
        way.passes("counted", sz=1)
    assert tap.asked() <= 2
    before = tap.asked()
    for _ in range(20):
        way.passes("unlisted", sz=2)
        way.passes("counted", sz=2)
    assert tap.asked() == before


def test_calls_with_the_same_question_that_arrive_together_ask_once(
    way: Straight, tap: OpaTap, new: Iterator[int]
) -> None:
    calls = [("read", {"sz": next(new)})] * IN_FLIGHT
    with tap.holding():
        ids = way.post_and_wait(calls, tap)
    assert all(map(passed, way.replies(ids)))
    assert tap.asked("read") == 1


@pytest.mark.parametrize("unread", [{"text": "x" * 20_000}, {f"k{number}": number for number in range(100)}], ids=len)
def test_an_argument_that_no_rule_reads_is_not_sent(
    way: Straight, tap: OpaTap, new: Iterator[int], unread: dict[str, object]
) -> None:
    number = next(new)
    way.passes("read", sz=number)
    way.passes("read", sz=number, **unread)
    assert tap.asked() == 1
    way.passes("read", sz=next(new), **unread)
    first, second = tap.questions
    assert len(first.body) == len(second.body)
    assert set(second.input["arguments"]) == {"sz"}


def test_a_question_is_small(way: Straight, tap: OpaTap, new: Iterator[int]) -> None:
    way.passes("read", sz=next(new), path="a.md")
    (question,) = tap.questions
    assert len(question.head) <= HEAD_BYTES
    assert len(question.body) <= BODY_BYTES
