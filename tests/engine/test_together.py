"""Several questions in one request: what is put together, and that no answer is taken for that of another question."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.decision.decision import read_answer
from sidecar.engine.together import MOST, apart, together
from sidecar.engine.wire import BadReply
from sidecar.errors import EngineUnavailable

LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=6)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
ANSWERS = st.dictionaries(st.integers(0, MOST - 1), VALUES, max_size=MOST)


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def reply(answers: bytes, head: bytes = b"") -> bytes:
    """As OPA writes it, with a line break at its end."""
    return b'{%b"result":%b}\n' % (head, answers)


@given(st.lists(VALUES, min_size=1, max_size=MOST))
def test_each_question_stands_under_its_position_as_it_would_be_asked_alone(questions: list[Any]) -> None:
    bodies = [b'{"input":%b}' % compact(question) for question in questions]
    assert json.loads(together(bodies)) == {
        "input": {"questions": {str(at): question for at, question in enumerate(questions)}}
    }


def test_a_number_is_asked_about_as_it_was_written() -> None:
    body = b'{"input":{"arguments":{"a":1.50e+3}}}'
    assert together([body, body]).count(b'{"arguments":{"a":1.50e+3}}') == 2


@given(ANSWERS, st.sampled_from([b"", b'"decision_id":"an-id",']))
def test_each_answer_is_that_of_its_position_and_what_is_missing_is_none(answers: dict[int, Any], head: bytes) -> None:
    written = compact({str(at): answer for at, answer in answers.items()})
    found = apart(reply(written, head), MOST)
    assert len(found) == MOST
    for at, alone in enumerate(found):
        assert (alone is None) is (at not in answers)
        if alone is not None:
            assert json.loads(alone)["result"] == answers[at]
            assert alone.startswith(b"{" + head)


@pytest.mark.parametrize(
    "answers",
    [
        b'{"0":1,"2":3}',  # shifted
        b'{"-1":1,"0":1,"1":2}',
        b'{"00":1,"1":2}',
        b'{"0":1,"1":2,"x":3}',
        b'{"0":1,"1":2,"":3}',
        b'{"0":1,"1":2,"0":3}',  # doubled
        b'{"0":1,"\\u0030":2,"1":3}',
        b'{"\\u0030":2,"1":3}',
        b'{"0":1,"1":2,"result":{"0":1,"1":2}}',
        b'{ "0":1,"1":2}',
        b'{"0":1,"1":2},"result":{"0":3,"1":4}',
        b'{"0":1,"1":2},"also":1',
        b"[1,2]",
        b"null",
        b"1",
        b"",
        b'{"0":1,"1":}',
        b'{"0":1,"1":2',
        b'{"0":1,"\xff":2}',
    ],
)
def test_a_reply_with_anything_foreign_doubled_or_broken_in_it_answers_nothing(answers: bytes) -> None:
    with pytest.raises(BadReply):
        apart(reply(answers), 2)


def test_a_reply_without_a_result_answers_nothing() -> None:
    for body in (b"", b"{}\n", b"[]", b'{"code":"internal_error"}', b'{"decision_id":"x"}'):
        with pytest.raises(BadReply):
            apart(body, 2)


def pairs_of(body: bytes) -> list[tuple[str, Any]]:
    """The members of the result as an exact reader sees them, doubled ones too; raises ValueError."""

    class Pairs(list[tuple[str, Any]]):
        """An object."""

    top = json.loads(body, object_pairs_hook=Pairs)
    ((_, result),) = [pair for pair in top if pair[0] == "result"]
    assert isinstance(result, Pairs)
    return result


def usable(alone: bytes) -> bool:
    try:
        read_answer(alone)
    except EngineUnavailable:
        return False
    return True


PIECES = st.sampled_from(
    [b'"0"', b'"1"', b'"2"', b":", b",", b"{", b"}", b"[", b"]", b"1", b"null", b'"', b"\\", b'"result":', b" ",
     b'"decision_id":"x",', b"\n", b"\xff", b'\\u0030', b'{"result":{"0":1,"1":2}}', b'{"result":{"1":2,"0":1}}\n']
)  # fmt: skip


@given(st.lists(PIECES, max_size=12).map(b"".join))
@example(b'{"result":{"0":1,"1":{"a":"}"}}}')
@example(b'{"result":{"0":"\\","1":"2"}}')
def test_whatever_is_believed_an_exact_reader_reads_alike(body: bytes) -> None:
    try:
        found = apart(body, 2)
    except BadReply:
        return
    try:
        pairs = pairs_of(body)
    except ValueError:
        # It is passed over without being read; then no part of it can be used.
        assert not [alone for alone in found if alone is not None and usable(alone)]
        return
    assert len({key for key, _ in pairs}) == len(pairs)
    expected = dict(pairs)
    for at, alone in enumerate(found):
        assert (alone is None) is (str(at) not in expected)
        if alone is not None:
            assert dict(json.loads(alone, object_pairs_hook=list))["result"] == expected[str(at)]
