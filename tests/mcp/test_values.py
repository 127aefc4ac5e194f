"""How many values a message may have: told before it is read, whatever stands in its texts."""

from __future__ import annotations

import gc
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import InvalidMessage
from sidecar.mcp import strict_json
from sidecar.mcp.jsonrpc import Request, read
from sidecar.mcp.strict_json import MAX_VALUES
from tests.session.fakes import MARKER, ObservedSession, encoded
from tests.support.fuzzing import examples


def message(values: str) -> bytes:
    """A request whose arguments are some values in a list."""
    return b'{"jsonrpc":"2.0","id":7,"method":"x","params":{"a":[%b]}}' % values.encode()


@pytest.mark.parametrize("value", ["1", "1e5", "[]", "{}", '""', '"\\\\\\""', '{"":1}', "[[1]]", " 1.0 "])
def test_a_message_of_more_values_than_may_be_is_refused_with_its_id(value: str) -> None:
    with pytest.raises(InvalidMessage, match="up to 100000 values") as refused:
        read(message(",".join([value] * (MAX_VALUES + 1))))
    assert refused.value.id == 7
    assert isinstance(read(message(",".join([value] * (MAX_VALUES // 4)))), Request)


@pytest.mark.parametrize("text", [",", "[{", '\\"', "\\\\", '\\",', "\\\\\\\\\\\\,"])
def test_what_stands_in_a_text_is_no_value(text: str) -> None:
    assert isinstance(read(message(f'"{text * MAX_VALUES}"')), Request)


@pytest.mark.fuzz
def test_values_are_counted_as_reading_every_character_would() -> None:
    texts = st.text(alphabet='",[{\\ x]}é', max_size=4)
    values: st.SearchStrategy[Any] = st.recursive(
        st.none() | st.integers(0, 9) | texts,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=12,
    )

    @examples(300)
    @given(values, st.sampled_from([None, (", ", ": ")]), st.booleans())
    def compare(value: Any, separators: tuple[str, str] | None, escaped: bool) -> None:
        line = json.dumps(value, separators=separators or (",", ":"), ensure_ascii=escaped).encode()
        assert strict_json._has_too_many_values(line, 6) is (_marks(line) >= 6)

    compare()


def _marks(line: bytes) -> int:
    """Commas and opening brackets outside of texts, character by character."""
    found, inside, escaped = 0, False, False
    for character in line.decode():
        if inside:
            inside = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            inside = True
        else:
            found += character in ",[{"
    return found


def test_a_call_that_was_sent_on_holds_nothing_of_what_it_said() -> None:
    world = ObservedSession()
    world.session.from_client(
        encoded(id=1, method="tools/call", params={"name": "quick", "arguments": {"pin": MARKER}})
    )
    world.call(2, "slow")
    world.gate.allow()
    held = [one for one in gc.get_objects() if type(one) is dict and one.get("pin") == MARKER]
    assert held == []
    world.answer(1)
    assert world.last_to_client["id"] == 1


@pytest.mark.parametrize("number", ["1e299", "1.7976931348623157e308", "5e-324", "2.2250738585072014e-308", "-1e299"])
def test_a_number_with_a_great_exponent_is_read_by_the_quick_reader(number: str) -> None:
    """It is fifteen times as quick as the own one of msgspec, which held up everybody for seconds."""
    assert strict_json._decoder.float_hook is float
    assert strict_json.read_value(number.encode()) == (float(number), number.encode())


def test_a_number_beyond_every_double_is_not_taken_for_an_infinite_one() -> None:
    for number in (b"1e309", b"-1e309", b"2e308"):
        with pytest.raises(strict_json.NotStrict, match="greater than every double"):
            strict_json.read_value(b'{"a":[%b,null]}' % number)
