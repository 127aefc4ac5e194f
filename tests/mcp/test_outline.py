"""What the top level of a message shows is read from its ends, and nothing that is nested is ever taken for it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.mcp import outline
from tests.support.fuzzing import examples

KEYS = st.sampled_from(["id", "ID", "method", "result", "error", "params", "jsonrpc", 'x"id', "{", "x,", ":", ""])
TEXTS = (
    KEYS | st.sampled_from(['"id":5}', '{"method":"', ',"id":7', "\\", '\\"', "]}", "é\ud7ff"]) | st.text(max_size=6)
)
PLAIN = st.none() | st.booleans() | st.integers(-99, 10**17) | TEXTS
VALUES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=5)


def written(value: Any, *, spaced: bool, ascii_only: bool) -> bytes:
    return json.dumps(value, separators=(" , ", " : ") if spaced else (",", ":"), ensure_ascii=ascii_only).encode()


def truth(value: dict[str, Any]) -> list[tuple[str, Any]]:
    """What there is to find: lists and objects count as nothing."""
    return [(key.casefold(), None if isinstance(one, list | dict) else (one,)) for key, one in value.items()]


def found(members: outline.Members) -> list[tuple[str, Any]]:
    return [(key, (json.loads(token),) if token else None) for key, token in members]


@pytest.mark.fuzz
@given(OBJECTS, st.booleans(), st.booleans())
@examples(150)
def test_of_a_whole_message_all_members_at_the_top_are_found_and_no_other(
    value: dict[str, Any], spaced: bool, ascii_only: bool
) -> None:
    line = written(value, spaced=spaced, ascii_only=ascii_only)
    assert found(outline.members(line, line)) == truth(value)


@pytest.mark.fuzz
@given(OBJECTS, st.booleans(), st.booleans(), st.data())
@examples(300)
def test_of_the_ends_of_a_message_nothing_is_found_that_is_not_at_its_top(
    value: dict[str, Any], spaced: bool, ascii_only: bool, data: st.DataObject
) -> None:
    line = written(value, spaced=spaced, ascii_only=ascii_only)
    head = line[: data.draw(st.integers(1, len(line)))]
    tail = line[data.draw(st.integers(0, len(line) - 1)) :]
    known = truth(value)
    for key, one in found(outline.members(head, tail)):
        assert (key, one) in known or (one is None and key in dict(known))


@pytest.mark.parametrize("line", [b"", b"7", b"[]", b'["id",1]', b'"{}"', b'{"id":1', b'{"id":1}]', b'x{"id":1}'])
def test_what_is_no_object_from_end_to_end_has_no_members(line: bytes) -> None:
    assert outline.members(line, line) == []


def test_what_is_long_is_looked_at_from_its_ends_only() -> None:
    line = b'{"id":1,"a":' + b"[" * (1 << 20) + b"]" * (1 << 20) + b',"id":2,"b":[],"method":"x","c":3}'
    assert outline.members(line, line) == [("id", b"1"), ("a", b""), ("method", b'"x"'), ("c", b"3")]


def test_a_string_that_is_not_closed_is_looked_through_once() -> None:
    # Each escaped quote in it could begin a string to whoever looks on from there: that took a second for 16 KiB.
    inside = b'{"a":["' + b'\\"' * 50_000
    assert outline.members(inside + b"}", inside + b"}") == [("a", b"")]
