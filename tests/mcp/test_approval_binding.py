"""What an approval is bound to: no change that a server can see keeps the bytes, and no other changes them."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import InvalidMessage
from sidecar.mcp.approval_binding import beside, bound, plain, same_call
from sidecar.mcp.jsonrpc import Batch, Request, read
from sidecar.mcp.strict_json import read_value
from sidecar.mcp.tool_call import ToolCall, read_call
from tests.support.fuzzing import examples


def call(params: str) -> ToolCall:
    """The call that came with these parameters."""
    request = read(b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":%b}' % params.encode())
    assert isinstance(request, Request)
    return read_call(request)


def bytes_of(params: str) -> bytes:
    """What an approval of a call with these parameters is bound to."""
    return bound(call(params).params)


def same(arguments: str, tool: str = "t") -> bytes:
    """What a call with these arguments does."""
    return same_call(tool, plain(call(f'{{"name":{json.dumps(tool)},"arguments":{arguments}}}').arguments))


BASE = '{"name":"t","arguments":{"a":1,"b":{"c":[1,{"d":2,"e":3}]}},"_meta":{"k":"v"}}'


@pytest.mark.parametrize(
    "params",
    [
        '{"_meta":{"k":"v"},"arguments":{"b":{"c":[1,{"e":3,"d":2}]},"a":1},"name":"t"}',
        '{"name":"\\u0074","arguments":{"\\u0061":1,"b":{"c":[1, {"d":2,"e":3}]}},"_meta":{"k":"\\u0076"}}',
        BASE[:-2] + ',"progressToken":5,"traceparent":"00-1-2-01","tracestate":"x=y","baggage":"a=b"}}',
        BASE[:-2] + ',"progressToken":"text"}}',
    ],
)
def test_what_no_server_can_tell_apart_is_bound_alike(params: str) -> None:
    assert bytes_of(params) == bytes_of(BASE)


@pytest.mark.parametrize(
    "params",
    [
        BASE.replace('"a":1', '"a":1.0'),
        BASE.replace('"a":1', '"a":1e0'),
        BASE.replace('"a":1', '"a":"1"'),
        BASE.replace('"a":1', '"a":true'),
        BASE.replace('[1,{"d":2,"e":3}]', '[{"d":2,"e":3},1]'),
        BASE.replace('"name":"t"', '"name":"T"'),
        BASE.replace('"v"', '"w"'),
        BASE.replace(',"_meta":{"k":"v"}', ""),
        BASE[:-2] + ',"progressToken":{"a":1}}}',
        BASE[:-2] + ',"progressToken":true}}',
        BASE[:-2] + ',"traceparent":["a"]}}',
        BASE[:-2] + ',"Baggage":"a"}}',
        BASE[:-1] + ',"task":{"ttl":60}}',
        BASE[:-1] + ',"inputResponses":{"q":{"action":"accept"}}}',
        BASE[:-1] + ',"requestState":"s"}',
        BASE[:-1] + ',"traceparent":"a"}',
        BASE[:-1] + ',"anything":null}',
    ],
)
def test_whatever_a_server_can_see_is_bound(params: str) -> None:
    assert bytes_of(params) != bytes_of(BASE)


def test_a_meta_with_nothing_but_a_progress_token_is_none() -> None:
    bare = '{"name":"t","arguments":{}}'
    assert bytes_of(bare[:-1] + ',"_meta":{"progressToken":1}}') == bytes_of(bare)
    assert bytes_of(bare[:-1] + ',"_meta":{}}') == bytes_of(bare)


def test_letters_that_look_alike_are_different_text() -> None:
    composed, decomposed = '{"name":"t","arguments":{"a":"\\u00e9"}}', '{"name":"t","arguments":{"a":"e\\u0301"}}'
    assert bytes_of(composed) != bytes_of(decomposed)
    assert same('{"a":"\\u00e9"}') != same('{"a":"e\\u0301"}')


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "1.0"), ("1", "1e0"), ("100", "1E2"), ("0", "-0.0"), ("0", "0e5"), ("0.5", "5e-1"), ("1.10", "1.1"),
        ("123456789012345678901234567890", "123456789012345678901234567890.0"),
        ("[1,{}]", "[1.0,{}]"), ("{}", "{ }"), ('"\\u0061"', '"a"'),
    ],
)  # fmt: skip
def test_equal_values_are_the_same_call(one: str, other: str) -> None:
    assert same(f'{{"a":{one}}}') == same(f'{{"a":{other}}}')


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "2"), ("1", '"1"'), ("1", "true"), ("0", "false"), ("0", "null"), ("1", "-1"), ("10", "1"),
        ("123456789012345678901234567890", "123456789012345678901234567891"),
        ("9007199254740993", "9007199254740992"), ("100.00000000000000001", "100"), ("[1,2]", "[2,1]"), ("[]", "{}"),
    ],
)  # fmt: skip
def test_other_values_are_another_call(one: str, other: str) -> None:
    assert same(f'{{"a":{one}}}') != same(f'{{"a":{other}}}')


def test_another_tool_is_another_call_and_no_arguments_are_empty_ones() -> None:
    assert same("{}", "t") != same("{}", "u")
    assert same("null") == same("{}") == same_call("t", plain(call('{"name":"t"}').arguments))


def test_what_is_shown_beside_the_arguments_is_what_else_is_bound() -> None:
    params = '{"task":{"ttl":1.0},"name":"t","_meta":{"progressToken":1,"z":1,"a":2},"arguments":{"a":1}}'
    assert beside(call(params).params) == b'{"task":{"ttl":1.0},"_meta":{"z":1,"a":2}}'
    assert beside(call('{"name":"t"}').params) == b"{}"


TOKENS = st.one_of(
    st.integers(-(10**40), 10**40).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(json.dumps),
    st.decimals(-(10**20), 10**20, places=5).map(str),
    st.sampled_from(["-0", "1E5", "1e-300", "0.10", "1.0e+2"]),
)
KEYS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=3)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | TOKENS.map(lambda token: msgspec.Raw(token.encode())) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)
ARGUMENTS = st.dictionaries(KEYS, VALUES, max_size=4)


def reordered(value: Any, turn: bool) -> Any:
    """The value with the keys of its objects in the opposite order, or as it is."""
    if isinstance(value, dict):
        items = [(key, reordered(item, turn)) for key, item in value.items()]
        return dict(reversed(items) if turn else items)
    return [reordered(item, turn) for item in value] if isinstance(value, list) else value


def as_value(value: Any) -> Any:
    """The JSON value that a value is, in a form in which Python compares it: numbers exactly, no boolean is one."""
    if isinstance(value, dict):
        return {key: as_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_value(item) for item in value]
    return ("number", Decimal(bytes(value).decode())) if isinstance(value, msgspec.Raw) else (type(value), value)


def as_written(value: Any) -> Any:
    """The same, with numbers as their tokens."""
    if isinstance(value, dict):
        return {key: as_written(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_written(item) for item in value]
    return ("number", bytes(value)) if isinstance(value, msgspec.Raw) else (type(value), value)


def _escaped(line: bytes) -> bytes:
    """The same JSON with every character that is not ASCII as escapes of its UTF-16 units."""
    found = []
    for character in line.decode():
        units = character.encode("utf-16-be")
        pairs = [units[at : at + 2].hex() for at in range(0, len(units), 2)]
        found.append(character if character.isascii() else "".join(f"\\u{unit}" for unit in pairs))
    return "".join(found).encode()


NUMERALS = st.tuples(
    st.sampled_from(["", "-"]),
    st.sampled_from(["0", "1", "10", "1200", "123456789012345678901234567890"]),
    st.sampled_from(["", ".0", ".10", ".000", ".0050", ".12345678901234567890"]),
    st.sampled_from(["", "e0", "E5", "e+2", "e-2", "E-30"]),
).map("".join)


@given(TOKENS | NUMERALS)
def test_a_number_is_stored_as_its_exact_decimal_without_an_exponent(token: str) -> None:
    """As older versions wrote it, or a call would not be known again by what they stored."""
    number = Decimal(token)
    text = f"{number:f}" if number else "0"
    written = text.rstrip("0").rstrip(".") if "." in text else text
    arguments = plain(read_value(b'{"a":[%b]}' % token.encode())[0])
    assert same_call("t", arguments) == b'["t",{"a":[%b]}]' % written.encode()


@given(st.dictionaries(KEYS | st.just("_meta"), VALUES, max_size=3), ARGUMENTS, st.booleans())
def test_what_is_bound_is_what_the_bytes_say_that_are_sent(
    others: dict[str, Any], arguments: dict[str, Any], is_batch: bool
) -> None:
    params = {**others, "name": "t", "arguments": arguments}
    line = msgspec.json.encode({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params})
    message = read(b" [%b]" % line if is_batch else b" " + line)
    request = message.elements[0] if isinstance(message, Batch) else message
    assert isinstance(request, Request)
    try:
        found = read_call(request)
    except InvalidMessage:
        return  # other parameters look like one that is known
    sent = read_value(found.raw)[0]["params"]
    assert (bound(found.params), beside(found.params)) == (bound(sent), beside(sent))
    assert same_call("t", plain(found.arguments)) == same_call("t", plain(sent["arguments"]))


@pytest.mark.fuzz
def test_bytes_are_equal_exactly_where_the_values_are() -> None:
    @examples(300)
    @given(ARGUMENTS, ARGUMENTS | st.none(), st.booleans(), st.booleans())
    def compare(one: dict[str, Any], other: dict[str, Any] | None, turn: bool, escaped: bool) -> None:
        second = reordered(one if other is None else other, turn)
        lines = [msgspec.json.encode({"name": "t", "arguments": arguments}) for arguments in (one, second)]
        if escaped:
            lines[1] = _escaped(lines[1])
        first_params, second_params = (read_value(line)[0] for line in lines)
        assert (bound(first_params) == bound(second_params)) is (as_written(one) == as_written(second))
        first, other_call = (same_call("t", plain(params["arguments"])) for params in (first_params, second_params))
        assert (first == other_call) is (as_value(one) == as_value(second))

    compare()
