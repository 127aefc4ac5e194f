"""JSON-RPC messages: what is read, what is refused with which id, and that what travels on is what was read."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.errors import InvalidMessage
from sidecar.mcp import jsonrpc, strict_json
from sidecar.mcp.jsonrpc import Id, Notification, Request, Response
from sidecar.mcp.strict_json import NotStrict
from tests.support.fuzzing import examples

CALL = b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"look","arguments":{"a":%s}}}'


def raw_of(line: bytes) -> bytes:
    """The canonical bytes of the one message in a line."""
    message = jsonrpc.read(line)
    assert not isinstance(message, jsonrpc.Batch)
    return message.raw


def refusal(line: bytes) -> InvalidMessage:
    with pytest.raises(InvalidMessage) as caught:
        jsonrpc.read(line)
    return caught.value


# What a message is.


def test_a_message_with_a_method_and_an_id_is_a_request() -> None:
    line = b'{"jsonrpc":"2.0","id":7,"method":"ping","params":{"a":1}}'
    assert jsonrpc.read(line) == Request(7, "ping", {"a": 1}, line, json.loads(line))


def test_a_message_with_a_method_and_no_id_is_a_notification() -> None:
    line = b'{"jsonrpc":"2.0","method":"notifications/progress","params":null}'
    assert jsonrpc.read(line) == Notification("notifications/progress", None, line, json.loads(line))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"jsonrpc":"2.0","id":"a","result":null}', ("a", None, None)),
        (b'{"jsonrpc":"2.0","id":1,"error":{"code":1}}', (1, None, {"code": 1})),
        (b'{"jsonrpc":"2.0","id":null,"error":{"code":1}}', (None, None, {"code": 1})),
        (b'{"jsonrpc":"2.0","error":{"code":1}}', (None, None, {"code": 1})),
    ],
)
def test_a_message_with_a_result_or_an_error_is_a_response(
    line: bytes, expected: tuple[Id | None, Any, dict[str, Any] | None]
) -> None:
    assert jsonrpc.read(line) == Response(*expected, raw=line, members=json.loads(line))


@pytest.mark.parametrize("id_", [0, -1, 2**53 - 1, -(2**53) + 1, "", "7", "é", " 7 "])
def test_an_id_is_a_text_or_an_integer_that_every_parser_reads_alike(id_: Id) -> None:
    line = json.dumps({"jsonrpc": "2.0", "id": id_, "method": "ping"}, ensure_ascii=False).encode()
    message = jsonrpc.read(line)
    assert isinstance(message, Request)
    assert (type(message.id), message.id) == (type(id_), id_)


def test_members_that_json_rpc_does_not_know_travel_on() -> None:
    line = b'{"jsonrpc":"2.0","method":"x","future":[1]}'
    assert raw_of(line) == line


# What is refused; the whole table goes over the wire in tests/wire/test_bad_inputs.py.


@pytest.mark.parametrize(
    ("line", "code", "id_"),
    [
        pytest.param(b"", -32700, None, id="nothing"),
        pytest.param(b'{"id":7,', -32700, None, id="half a message"),
        pytest.param(CALL % b"1" + b"{}", -32700, None, id="two messages"),
        pytest.param(CALL % b"NaN", -32700, 7, id="NaN"),
        pytest.param(CALL % b"-Infinity", -32700, 7, id="-Infinity"),
        pytest.param(CALL % b'{"b":1,"b":1}', -32700, 7, id="key twice"),
        pytest.param(CALL % b'{"b":1,"\\u0062":1}', -32700, 7, id="key twice, one escaped"),
        pytest.param(CALL % b'"\\ud800"', -32700, 7, id="lone surrogate"),
        pytest.param(CALL % b'{"\\udfff":1}', -32700, 7, id="lone surrogate in a key"),
        pytest.param(CALL % b'"\xff"', -32700, 7, id="not UTF-8"),
        pytest.param(CALL % b'"\xed\xa0\x80"', -32700, 7, id="surrogate in UTF-8"),
        pytest.param(CALL % b'"\r"', -32700, None, id="CR in a text"),
        pytest.param(CALL % b'"\x00"', -32700, None, id="NUL in a text"),
        pytest.param(CALL % b"01", -32700, None, id="leading zero"),
        pytest.param(CALL % b"1.", -32700, None, id="no digit after the point"),
        pytest.param(CALL % b"+1", -32700, None, id="plus"),
        pytest.param(CALL % "١".encode(), -32700, None, id="Arabic digit"),
        pytest.param(CALL % b"[1,]", -32700, None, id="trailing comma"),
        pytest.param(CALL % b"1/**/", -32700, None, id="comment"),
        pytest.param(CALL.replace(b'"id":7', b'"id":7,"id":8') % b"1", -32700, None, id="id twice"),
        pytest.param(b'{"jsonrpc":"2.0","id":7,"id":7,"method":"x"}', -32700, None, id="same id twice"),
        pytest.param(b'{"jsonrpc":"2.0","id":7,"ID":8,"a":NaN}', -32700, None, id="id in two cases"),
        pytest.param(b"7", -32600, None, id="number"),
        pytest.param(b"null", -32600, None, id="null"),
        pytest.param(b"[]", -32600, None, id="empty batch"),
        pytest.param(b'{"jsonrpc":"2.0","id":7}', -32600, 7, id="neither request nor response"),
        pytest.param(b'{"jsonrpc":"2.0","id":7,"result":1,"error":{}}', -32600, 7, id="result and error"),
        pytest.param(b'{"jsonrpc":"2.0","id":7,"error":"x"}', -32600, 7, id="error that is no object"),
        pytest.param(b'{"jsonrpc":"2.0","result":1}', -32600, None, id="result without id"),
        pytest.param(b'{"jsonrpc":"2.0","id":null,"result":1}', -32600, None, id="result with id null"),
        pytest.param(b'{"jsonrpc":"2.0","id":2.0,"result":1}', -32600, None, id="result with id 2.0"),
        pytest.param(b'{"jsonrpc":"2.0","id":-0,"method":"x"}', -32600, None, id="id -0"),
    ],
)
def test_what_cannot_be_read_strictly_is_refused(line: bytes, code: int, id_: Id | None) -> None:
    problem = refusal(line)
    assert (problem.code, problem.id) == (code, id_)


@pytest.mark.parametrize(("levels", "spaced"), [(128, False), (128, True), (129, False), (129, True), (12_000, True)])
def test_128_levels_are_read_and_more_are_refused(levels: int, spaced: bool) -> None:
    inner = levels - 3  # the message, its params and its arguments
    line = CALL % (b"[" * inner + b" " * spaced + b"]" * inner)
    if levels == 128:
        assert raw_of(line) == line.replace(b" ", b"")
    else:
        problem = refusal(line)
        assert (problem.code, problem.id) == (-32700, 7)


GREATEST = b"%d" % sys.float_info.max


@pytest.mark.parametrize(
    "token", [GREATEST, b"-" + GREATEST, b"1e308", b"1E-400", b"0." + b"1" * 398, b"0e400", GREATEST + b".4"]
)
def test_a_number_at_the_bounds_is_kept_as_it_was_written(token: bytes) -> None:
    assert raw_of(CALL % token) == CALL % token


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(b"2" * 309, id="309 digits that no double holds"),
        pytest.param(b"-" + b"2" * 309, id="sign and 309 digits"),
        pytest.param(b"1" * 310, id="310 digits"),
        pytest.param(b"1" * 401, id="401 digits"),
        pytest.param(b"0." + b"1" * 399, id="401 characters"),
        pytest.param(b"1e309", id="1e309"),
        pytest.param(b"-1.8E+308", id="-1.8E+308"),
        pytest.param(b"1e400", id="1e400"),
        pytest.param(b"1e401", id="1e401"),
        pytest.param(b"1E-401", id="1E-401"),
        pytest.param(b"1e" + b"9" * 5000, id="exponent of 5,000 digits"),
        pytest.param(b"9" * 5000, id="5,000 digits"),
    ],
)
def test_a_number_beyond_the_bounds_is_refused_wherever_it_stands(token: bytes) -> None:
    for shift in range(0, 402, 29):
        problem = refusal(CALL % (b'["' + b"x" * shift + b'",' + token + b"]"))
        assert problem.code == -32700


@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc":"2.0","id":7,"method":"ping","method\\u0000":"tools/call"}',
        b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"look","name\\u0000":"forbidden"}}',
        CALL % b'{"amount":1,"amount\\u0000x":1000000}',
        CALL % b'[ {"a":[{"\\u0000":null}]} ]',
    ],
)
def test_a_key_with_a_nul_character_is_refused_since_to_readers_in_c_it_ends_there(line: bytes) -> None:
    problem = refusal(line)
    assert (problem.code, problem.id) == (-32700, 7)


def test_a_nul_character_in_a_text_travels_on() -> None:
    assert raw_of(CALL % b'{"a":"x\\u0000y","\\\\u0000":1}') == CALL % b'{"a":"x\\u0000y","\\\\u0000":1}'


# What travels on.


@pytest.mark.parametrize("token", [b"1.10", b"1e5", b"-0", b"-0.0", b"0.1", b"1E308", b"9" * 30, b"1" + b"0" * 20])
def test_a_number_travels_as_it_was_written(token: bytes) -> None:
    assert raw_of(CALL % token) == CALL % token
    assert raw_of(b" " + CALL % token) == CALL % token


def test_a_carriage_return_between_two_tokens_does_not_travel_on() -> None:
    hidden = CALL % b"1"
    line = b'{"jsonrpc":"2.0","method":"notifications/x","params":{"a":\r' + hidden + b"\r}}"
    assert raw_of(line) == line.replace(b"\r", b"")


@dataclass(frozen=True)
class Number:
    """A number as it was written: two spellings of one value are two numbers here."""

    token: str


NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,39})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?", fullmatch=True).map(Number)
KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.text() | NUMBERS | st.integers().map(lambda value: Number(str(value))),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
BLANKS = st.sampled_from(["", " ", "\t", "\r", " \r"])


def _escaped(char: str) -> str:
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


@st.composite
def spelled(draw: st.DrawFn, value: Any) -> str:
    """One of the many JSON texts of a value: blanks, escapes and the order of keys are free."""

    as_escapes = draw(st.booleans())

    def text(value: str) -> str:
        return '"' + "".join(map(_escaped, value)) + '"' if as_escapes else json.dumps(value, ensure_ascii=False)

    match value:
        case Number(token):
            body = token
        case str():
            body = text(value)
        case list():
            body = "[" + ",".join(draw(spelled(item)) for item in value) + draw(BLANKS) + "]"
        case dict():
            members = [text(key) + draw(BLANKS) + ":" + draw(spelled(value[key])) for key in value]
            body = "{" + ",".join(draw(st.permutations(members))) + draw(BLANKS) + "}"
        case _:
            body = json.dumps(value)
    return draw(BLANKS) + body + draw(BLANKS)


@st.composite
def spelled_messages(draw: st.DrawFn) -> tuple[dict[str, Any], bytes]:
    """A notification and one of its spellings."""
    value = {"jsonrpc": "2.0", "method": draw(st.text()), "params": {"value": draw(VALUES)}}
    return value, draw(spelled(value)).encode()


@settings(deadline=None, max_examples=150)
@given(spelled_messages())
def test_every_spelling_of_a_message_travels_as_the_same_values(case: tuple[dict[str, Any], bytes]) -> None:
    value, line = case
    raw = raw_of(line)
    assert json.loads(raw, parse_float=Number, parse_int=Number) == value
    assert b"\r" not in raw
    assert b"\n" not in raw
    assert raw_of(raw) == raw


@pytest.mark.parametrize("end", ["\u0085", "\u2028", "\u2029"])
def test_what_ends_a_line_to_some_readers_travels_as_an_escape(end: str) -> None:
    # Node's readline and Python's splitlines would find this call in the middle of a harmless text.
    hidden = json.dumps((CALL % b"1").decode())[1:-1]
    line = json.dumps({"jsonrpc": "2.0", "method": "m", "params": {end: f"é{end}{hidden}{end}"}}, ensure_ascii=False)
    raw = raw_of(line.replace(", ", ",").replace(": ", ":").encode())
    assert len(raw.decode().splitlines()) == 1
    assert json.loads(raw) == json.loads(line)
    assert raw_of(raw) == raw
    assert jsonrpc.result(1, end).raw == b'{"jsonrpc":"2.0","id":1,"result":"\\u%04x"}' % ord(end)


VALID = [CALL % b'{"b":[1.10,"\\u00e9",-0]}', b'{"jsonrpc":"2.0","id":"x","result":{"a":[null,true]}}']


@st.composite
def damaged_lines(draw: st.DrawFn) -> bytes:
    """A good message of which a part was replaced."""
    line = draw(st.sampled_from(VALID))
    start = draw(st.integers(0, len(line)))
    end = draw(st.integers(start, min(len(line), start + 8)))
    return line[:start] + draw(st.binary(max_size=6) | st.sampled_from([b'"', b"\\ud800", b"NaN", b"{"])) + line[end:]


@settings(deadline=None, max_examples=400)
@given(st.binary() | damaged_lines() | VALUES.flatmap(spelled).map(str.encode))
def test_any_bytes_are_a_message_or_a_refusal(line: bytes) -> None:
    try:
        read = jsonrpc.read(line)
    except InvalidMessage:
        return
    elements = read.elements if isinstance(read, jsonrpc.Batch) else (read,)
    for message in elements:
        if not isinstance(message, InvalidMessage):
            again = jsonrpc.read(message.raw)
            assert not isinstance(again, jsonrpc.Batch)
            assert again.raw == message.raw


# The id of what was not kept whole.


@pytest.mark.parametrize(
    ("head", "tail", "id_"),
    [
        pytest.param(b'{"jsonrpc":"2.0","id":7,"method":"x', b'"}}', 7, id="at the head"),
        pytest.param(b' { "id" : "a\\u0062" , "met', b'"}}', "ab", id="first, with blanks and an escape"),
        pytest.param(b'{"jsonrpc":"2.0","method":"x', b'"},"id":7}', 7, id="at the tail"),
        pytest.param(b'{"jsonrpc":"2.0","method":"x', b'"},"id": -7 , "jsonrpc":"2.0"} ', -7, id="last but one"),
        pytest.param(b'{"params":{"id":7,"x":"', b'"}}', None, id="nested at the head"),
        pytest.param(b'{"params":{"x":"', b'","id":7}}', None, id="nested at the tail"),
        pytest.param(b'{"params":"', b'\\"id\\":7}"}', None, id="inside a text"),
        pytest.param(b'{"id":7.0,"x":"', b'"}', None, id="7.0"),
        pytest.param(b'{"id":9007199254740992,"x":"', b'"}', None, id="2^53"),
        pytest.param(b'{"id":null,"x":"', b'"}', None, id="null"),
        pytest.param(b'{"id":"\xff","x":"', b'"}', None, id="not UTF-8"),
        pytest.param(b'{"id":"\\ud800","x":"', b'"}', None, id="lone surrogate"),
    ],
)
def test_an_id_is_read_from_the_ends_only_where_it_cannot_be_nested(head: bytes, tail: bytes, id_: Id | None) -> None:
    assert jsonrpc.unreadable(jsonrpc.INVALID_REQUEST, "too long", head, tail).id == id_


def test_an_error_says_its_code_and_its_data() -> None:
    assert jsonrpc.error("a", -1, "no", {"b": 1}).raw == (
        b'{"jsonrpc":"2.0","id":"a","error":{"code":-1,"message":"no","data":{"b":1}}}'
    )
    assert jsonrpc.error(None, -1, "no").raw == b'{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":"no"}}'


# The quick proof that a line is canonical, against the exact reader.


PIECES = [
    b"1", b"-0", b"-0.0", b"1.0", b"1e5", b"1E5", b"0.1", b"1e16", b"9007199254740993", b"1e308", b"1e309", b"1e-400",
    b"1" * 308, b"1" * 309, b"2" * 309, b"1" * 400, b"1" * 401, b"00", b"null", b"true", b"NaN",
    b'"a"', b'"\\u0061"', b'"\\/"', b'"\x7f"', '"é\u2028"'.encode(), b'"\xff"', b'"\\ud800"', b'"\\ud83d\\ude00"',
    '"\U0001f600"'.encode(), b'"\xed\xa0\x80"', b'{"a":1,"a":1}', b'{"a":1,"\\u0061":2}', b"[]", b"{}", b"[ ]",
    b'{"a\\u0000":1}', b'{"a":"\\u0000"}', b"[" * 130 + b"]" * 130, b"\r", b" ", b",", b":", b"}", b"]", b'"',
]  # fmt: skip


@st.composite
def lines_to_prove(draw: st.DrawFn) -> bytes:
    """Values in JSON, of pieces that one of the two readers might take for something else, some of them damaged."""
    inner = st.recursive(
        st.sampled_from(PIECES),
        lambda part: st.one_of(
            st.lists(part, max_size=4).map(lambda parts: b"[" + b",".join(parts) + b"]"),
            st.lists(st.tuples(st.sampled_from([b'"a"', b'"b"', b'"A"']), part), max_size=3).map(
                lambda members: b"{" + b",".join(key + b":" + value for key, value in members) + b"}"
            ),
        ),
        max_leaves=8,
    )
    line = draw(inner | VALUES.flatmap(spelled).map(str.encode))
    if draw(st.booleans()):
        return line
    at = draw(st.integers(0, len(line)))
    return line[:at] + draw(st.sampled_from(PIECES)) + line[at + draw(st.integers(0, 2)) :]


@pytest.mark.fuzz
@examples(300)
@given(lines_to_prove())
def test_what_is_proved_quickly_is_what_the_exact_reader_reads(line: bytes) -> None:
    def exactly() -> bytes:
        value, raw = strict_json._exact(line)
        if strict_json._depth(value) > strict_json.MAX_DEPTH:
            raise NotStrict("too deep")
        if strict_json._has_nul_key(value):
            raise NotStrict("a key in which readers in C find an end")
        return raw

    def outcome(read: Callable[[], bytes]) -> bytes | None:
        try:
            return read()
        except NotStrict:
            return None

    value = None

    def quickly() -> bytes:
        nonlocal value
        value, raw = strict_json.read_value(line)
        return raw

    raw = outcome(quickly)
    assert raw == outcome(exactly)
    if isinstance(raw, bytes):
        assert strict_json.encode(value) == raw
        # And to a reader that is not ours it is the same as the line.
        assert json.loads(raw, parse_float=str, parse_int=str) == json.loads(line, parse_float=str, parse_int=str)


# Messages that are made of others.


def test_a_message_with_other_values_keeps_the_order_of_its_members_and_what_nobody_here_knows() -> None:
    read = jsonrpc.read(b'{"x":1,"params":{"b":1,"a":{"t":2,"n":1.10}},"method":"m","id":7,"jsonrpc":"2.0"}')
    assert isinstance(read, Request)
    other = jsonrpc.changed(read, {("id",): "a", ("params", "a", "t"): 3})
    assert other.raw == b'{"x":1,"params":{"b":1,"a":{"t":3,"n":1.10}},"method":"m","id":"a","jsonrpc":"2.0"}'
    assert other == jsonrpc.read(other.raw)
    assert read == jsonrpc.read(read.raw)


def test_a_request_that_came_again_under_another_id_has_that_id_in_whatever_is_made_of_it() -> None:
    first = jsonrpc.read(b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":1}}')
    assert isinstance(first, Request)
    again = jsonrpc.again(first, 2, first.raw.replace(b'"id":1', b'"id":2'))
    assert jsonrpc.changed(again, {("params", "a"): 3}).raw == b'{"jsonrpc":"2.0","id":2,"method":"m","params":{"a":3}}'
