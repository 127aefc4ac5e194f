"""What is remembered: answers to the very same question, in bounded room, the least recently used forgotten first."""

from __future__ import annotations

from itertools import combinations

import msgspec
import pytest

from sidecar.decision.decision import Answer, Decision
from sidecar.engine.decision_cache import MAX_BYTES, MAX_QUESTION, DecisionCache
from tests.engine.asking import body_of, bundle_of

DECISION = Decision(1, "allow", "allow", "", "", (), (), None, "r", 1)
ANSWER = Answer(DECISION, "engine-id")
READS_ALL = bundle_of("tools: {t: {rules: [{conditions: [{path: args.a, op: exists, value: true}]}]}}")


def about(number: int, size: int = 100) -> bytes:
    return b"%0*d" % (size, number)


def test_an_answer_is_remembered_as_it_was_but_for_the_mark() -> None:
    cache = DecisionCache()
    assert cache.get(b"question") is None
    cache.keep(b"question", ANSWER)
    assert cache.get(b"question") == msgspec.structs.replace(ANSWER, remembered=True, recalled=True)
    assert not ANSWER.remembered


def test_the_first_answer_to_a_question_stays() -> None:
    cache = DecisionCache()
    cache.keep(b"question", ANSWER)
    cache.keep(b"question", Answer(DECISION, "other"))
    found = cache.get(b"question")
    assert found is not None
    assert found.engine_id == "engine-id"


def test_forgetting_leaves_nothing_and_all_the_room() -> None:
    cache = DecisionCache(max_bytes=7_000)
    for _ in range(3):
        for number in range(10):
            cache.keep(about(number), ANSWER)
        assert all(cache.get(about(number)) for number in range(10))
        cache.clear()
        assert not any(cache.get(about(number)) for number in range(10))


def test_what_is_remembered_stays_below_the_bound() -> None:
    cache = DecisionCache(max_bytes=70_000)
    for number in range(1_000):
        cache.keep(about(number), ANSWER)
    kept = [number for number in range(1_000) if cache.get(about(number))]
    assert kept == list(range(900, 1_000))


def test_larger_questions_take_more_of_the_room() -> None:
    cache = DecisionCache(max_bytes=70_000)
    for number in range(1_000):
        cache.keep(about(number, size=6_400), ANSWER)
    assert [number for number in range(1_000) if cache.get(about(number, size=6_400))] == list(range(990, 1_000))


def test_what_was_used_longest_ago_is_forgotten_first() -> None:
    cache = DecisionCache(max_bytes=7_000)
    for number in range(10):
        cache.keep(about(number), ANSWER)
    cache.get(about(0))
    cache.keep(about(10), ANSWER)
    assert [number for number in range(11) if cache.get(about(number))] == [0, *range(2, 11)]


def test_a_question_too_large_to_be_worth_it_is_not_remembered() -> None:
    cache = DecisionCache()
    cache.keep(b"x" * MAX_QUESTION, ANSWER)
    cache.keep(b"x" * (MAX_QUESTION + 1), ANSWER)
    assert cache.get(b"x" * MAX_QUESTION) is not None
    assert cache.get(b"x" * (MAX_QUESTION + 1)) is None


def test_one_large_question_cannot_push_out_much() -> None:
    assert MAX_QUESTION * 100 < MAX_BYTES


VALUES = [
    "1", "1.0", "1.00", "1e0", "10e-1", '"1"', "true", '"true"', "-0", "0", "0.0", "-0.0", "false", "null", '"null"',
    '""', "[]", "{}", "[1]", "[true]", "18446744073709551617", "18446744073709551617.0", "0.1", "0.10",
    "0.1000000000000000055511151231257827",
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), list(combinations(VALUES, 2)))
def test_values_of_another_type_or_spelling_are_different_questions(one: str, other: str) -> None:
    cache = DecisionCache()
    cache.keep(body_of(READS_ALL, "t", f'{{"a":{one}}}'), ANSWER)
    assert cache.get(body_of(READS_ALL, "t", f'{{"a":{one}}}')) is not None
    assert cache.get(body_of(READS_ALL, "t", f'{{"a":{other}}}')) is None


@pytest.mark.parametrize("value", VALUES)
def test_an_absent_argument_is_another_question_than_any_value(value: str) -> None:
    assert body_of(READS_ALL, "t", f'{{"a":{value}}}') != body_of(READS_ALL, "t", "{}")


def test_arguments_that_no_rule_reads_make_no_difference() -> None:
    assert body_of(READS_ALL, "t", '{"a":1,"b":2}') == body_of(READS_ALL, "t", '{"b":3,"a":1}')


def test_tools_are_different_questions() -> None:
    assert body_of(READS_ALL, "t", "{}") != body_of(READS_ALL, "T", "{}")
