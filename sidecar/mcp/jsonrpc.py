"""JSON-RPC 2.0 messages: bytes to values and back, strictly. No MCP, no policy, no I/O.

One line becomes one message or one refusal. A message carries `raw`, the canonical bytes of what was read: compact,
keys in the order they came, number tokens exactly as they were written. `raw` is what travels on, never the line, so
no other parser can find a second message in it or read it differently.

Numbers that binary floats or 64-bit integers would change are kept as `msgspec.Raw` tokens; everything else is plain
Python (`dict`, `list`, `str`, `int`, `float`, `bool`, `None`). `encode` writes either back as it came.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from sidecar.errors import InvalidMessage
from sidecar.mcp import outline
from sidecar.system.lines import ENDS_KEPT, TooLong
from sidecar.text import folded

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603

MAX_DEPTH: Final = 128
MAX_NUMBER_LENGTH: Final = 400
MAX_EXPONENT: Final = 400
DOUBLE_DIGITS: Final = 309
"""Digits of the greatest integers that a double holds."""
MAX_ID: Final = 2**53 - 1
MAX_ID_LENGTH: Final = 1_024
"""Characters of an id that is a text: ids are remembered."""
MAX_BATCH: Final = 1_000
"""Messages in one batch."""

MAX_VALUES: Final = 100_000
"""Values in one message: numbers, texts, lists, objects, at any depth. As many are read within some 50 ms."""

NUL: Final = rb"\u0000"
"""A NUL character as it stands in a canonical text."""

Id: TypeAlias = str | int

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Request(msgspec.Struct, frozen=True, gc=False):
    """A message with `method` and `id`. `params` is None when absent or null."""

    id: Id
    method: str
    params: dict[str, Any] | None
    raw: bytes


class Notification(msgspec.Struct, frozen=True, gc=False):
    """A message with `method` and no `id`."""

    method: str
    params: dict[str, Any] | None
    raw: bytes


class Response(msgspec.Struct, frozen=True, gc=False):
    """A message with `result` or `error` and no `method`. `id` is None in an error that names no request."""

    id: Id | None
    result: Any
    error: dict[str, Any] | None
    raw: bytes


Message: TypeAlias = Request | Notification | Response


class Batch(msgspec.Struct, frozen=True):
    """Several messages in one array (revision 2025-03-26), each read by itself or refused by itself."""

    elements: tuple[Message | InvalidMessage, ...]


def read(line: bytes) -> Message | Batch:
    """The one message in `line`, which is without its line end, or the batch of them.

    Raises `InvalidMessage`, with the id where it can be read beyond doubt.
    """
    value, raw = read_value(line)
    if type(value) is dict:
        return _message(value, raw)
    if type(value) is not list:
        raise InvalidMessage(INVALID_REQUEST, "a message must be a JSON object")
    if not 0 < len(value) <= MAX_BATCH:
        raise InvalidMessage(INVALID_REQUEST, f"a batch has between 1 and {MAX_BATCH} messages")
    return Batch(tuple(map(_element, value)))


def joined(messages: Sequence[bytes]) -> bytes:
    """The batch that some messages make."""
    return b"[%b]" % b",".join(messages)


def read_value(line: bytes) -> tuple[Any, bytes]:
    """The JSON value in `line` and its canonical bytes. Raises `InvalidMessage` as `read` does."""
    if len(line) > MAX_VALUES and _has_too_many_values(line):
        text = f"a message may have up to {MAX_VALUES} values"
        raise unreadable(INVALID_REQUEST, text, line[:ENDS_KEPT], line[-ENDS_KEPT:])
    try:
        value = _decode(line)
        # Encoding back to the very bytes proves: compact, no duplicate key, no odd escape, UTF-8, and every number
        # written as it would be written again. It does not prove the depth, nor that an integer is not too large.
        # No part of it may be a line by itself, to whoever cuts lines at more than LF.
        canonical = (
            _encode(value) == line
            and (len(line) < DOUBLE_DIGITS or not _has_long_digits(line))
            and (line.isascii() or not any(end in line for end in _LINE_ENDS))
        )
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError):
        canonical = False
    if not canonical:
        value, line = _exact(line)
    if _may_be_deep(line) and _depth(value) > MAX_DEPTH:
        raise _unread(f"nested deeper than {MAX_DEPTH} levels", line)
    if NUL in line and _has_nul_key(value):
        # To readers in C a key ends there, so this one is a second spelling of another.
        raise _unread("a key holds a NUL character", line)
    return value, line


def encode(value: Any) -> bytes:
    """JSON bytes of a value, compact; `msgspec.Raw` is written as it stands.

    What ends a line to some readers, though not to JSON's (U+0085, U+2028, U+2029), is written as an escape: Node's
    `readline` and Python's `splitlines` would find a message of its own in what is a part of a text to us.
    """
    data = _encode(value)
    if not data.isascii():
        for end, escaped in _LINE_ENDS.items():
            data = data.replace(end, escaped)
    return data


# Outside of texts JSON has only ASCII, and nothing of a longer character is mistaken for these in UTF-8.
_LINE_ENDS = {end.encode(): b"\\u%04x" % ord(end) for end in "\u0085\u2028\u2029"}


def error(id: Id | None, code: int, text: str, data: Any = None) -> bytes:  # noqa: A002 - the protocol's word
    """The bytes of an error response."""
    body: dict[str, Any] = {"code": code, "message": text}
    if data is not None:
        body["data"] = data
    return encode({"jsonrpc": "2.0", "id": id, "error": body})


def result(id: Id, value: Any) -> bytes:  # noqa: A002 - the protocol's word
    """The bytes of a result response."""
    return encode({"jsonrpc": "2.0", "id": id, "result": value})


def unreadable(code: int, text: str, head: bytes, tail: bytes) -> InvalidMessage:
    """The refusal of a message that cannot be read, with what its top level says of it.

    Of a long one only the beginning and the end may be there.
    """
    members = outline.members(head, tail)
    ids = [token for key, token in members if key == "id"]
    id_ = _id_in(ids[0]) if len(ids) == 1 else None
    return InvalidMessage(code, text, id_, is_answer=_is_answer({key for key, _ in members}))


def too_long(line: TooLong) -> InvalidMessage:
    """The refusal of a message that was longer than it may be."""
    return unreadable(INVALID_REQUEST, f"a message may have up to {line.limit} bytes", line.head, line.tail)


def _id_in(token: bytes) -> Id | None:
    try:
        value = _decode(token)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return value if _is_id(value) else None


def _is_answer(keys: Collection[str]) -> bool | None:
    """Whether a message with these members is an answer; None where they do not tell."""
    if "method" in keys:
        return False  # reference implementations look at it first
    if "result" in keys or "error" in keys:
        return True
    return False if "params" in keys else None


def _element(value: Any) -> Message | InvalidMessage:
    if type(value) is not dict:
        return InvalidMessage(INVALID_REQUEST, "a message must be a JSON object")
    try:
        return _message(value, encode(value))
    except InvalidMessage as problem:
        return problem


def _message(value: dict[str, Any], raw: bytes) -> Message:
    id_ = value.get("id")
    known_id = id_ if _is_id(id_) else None
    try:
        if not value.keys() <= _MEMBERS:
            _refuse_variants(value, known_id)
        if value.get("jsonrpc") != "2.0":
            raise InvalidMessage(INVALID_REQUEST, 'a message must say "jsonrpc": "2.0"', known_id)
        return (_call if "method" in value else _response)(value, raw, known_id)
    except InvalidMessage as problem:
        problem.is_answer = _is_answer(value.keys())
        raise


def _response(value: dict[str, Any], raw: bytes, known_id: Id | None) -> Response:
    has_result, has_error = "result" in value, "error" in value
    if has_result is has_error:
        raise InvalidMessage(INVALID_REQUEST, "a message needs a method, a result or an error", known_id)
    error = value.get("error")
    if has_error and type(error) is not dict:
        raise InvalidMessage(INVALID_REQUEST, "an error must be an object", known_id)
    if known_id is None and (has_result or value.get("id") is not None):
        raise InvalidMessage(INVALID_REQUEST, _BAD_ID)
    return Response(known_id, value.get("result"), error, raw)


def _call(value: dict[str, Any], raw: bytes, known_id: Id | None) -> Request | Notification:
    method, params = value["method"], value.get("params")
    if "result" in value or "error" in value:
        # Some servers run these as requests: reference implementations look at `method` first.
        raise InvalidMessage(INVALID_REQUEST, "a message cannot be a request and a response at once", known_id)
    if type(method) is not str:
        raise InvalidMessage(INVALID_REQUEST, "a method must be a text", known_id)
    if params is not None and type(params) is not dict:
        raise InvalidMessage(INVALID_PARAMS, "params must be an object", known_id)
    if "id" not in value:
        return Notification(method, params, raw)
    if known_id is None:
        raise InvalidMessage(INVALID_REQUEST, _BAD_ID)
    return Request(known_id, method, params, raw)


_MEMBERS = frozenset({"jsonrpc", "id", "method", "params", "result", "error"})
_MIN_ID: Final = -MAX_ID
_BAD_ID = f"an id must be a text of up to {MAX_ID_LENGTH} characters or an integer within ±(2^53-1)"


def _is_id(value: Any) -> bool:
    if type(value) is str:
        return len(value) <= MAX_ID_LENGTH
    return type(value) is int and _MIN_ID <= value <= MAX_ID


def _refuse_variants(value: dict[str, Any], known_id: Id | None) -> None:
    # Servers exist that match keys without regard to case (Go's encoding/json), so "Method" is a second "method".
    for key in value:
        if key not in _MEMBERS and folded(key) in _MEMBERS:
            raise InvalidMessage(INVALID_REQUEST, f"write the key {folded(key)!r} in lower case", known_id)


def _has_too_many_values(line: bytes) -> bool:
    """Told before it is read, by what stands before each value: a comma or an opening bracket outside of any text."""
    # One look at each byte: to count one mark after the other takes many times as long where they stand densely.
    if len(line.translate(None, _NO_MARKS)) < MAX_VALUES:
        return False
    # Some of them may stand in texts, which are cut out; a quotation mark that is escaped ends none.
    bare = line.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _NO_MARKS_OR_QUOTES)
    texts = len(bare.translate(None, _MARKS)) // 2
    # Each value is one text at the most, and so is its key.
    return texts > 2 * MAX_VALUES or sum(map(len, bare.split(b'"')[::2])) >= MAX_VALUES


_MARKS = b",[{"
_NO_MARKS = bytes(set(range(256)).difference(_MARKS))
_NO_MARKS_OR_QUOTES = bytes(set(_NO_MARKS).difference(b'"'))


def _has_long_digits(line: bytes) -> bool:
    """True when so many digits follow each other that no double may hold them: the exact reader tells."""
    # Such a run covers one of the bytes that stand one step apart, so only these and their surroundings are looked at.
    step = DOUBLE_DIGITS
    for at in range(step - 1, len(line), step):
        if line[at] in _DIGITS:
            before, after = line[max(0, at - step) : at], line[at : at + step]
            run = len(before) - len(before.rstrip(_DIGITS)) + len(after) - len(after.lstrip(_DIGITS))
            if run >= DOUBLE_DIGITS:
                return True
    return False


_DIGITS = b"0123456789"


class _NotStrict(ValueError):
    """Valid to some JSON parsers, not to all, or not in the same way."""


def _exact(line: bytes) -> tuple[Any, bytes]:
    try:
        value = _EXACT.decode(line.decode())
        return value, encode(value)
    except _NotStrict as problem:
        raise _unread(str(problem), line) from None
    except RecursionError:
        raise _unread(f"nested deeper than {MAX_DEPTH} levels", line) from None
    except UnicodeDecodeError:
        raise _unread("not UTF-8", line) from None
    except UnicodeEncodeError:
        raise _unread("a lone surrogate is no character", line) from None
    except json.JSONDecodeError:
        refusal = _unread("not JSON", line)
        # An id in it counts only where somebody would wait for this answer for ever.
        raise refusal if refusal.is_answer else InvalidMessage(PARSE_ERROR, "not JSON") from None


def _unread(text: str, line: bytes) -> InvalidMessage:
    return unreadable(PARSE_ERROR, text, line, line)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _NotStrict("a key stands twice in one object")
    return members


def _number(token: str) -> msgspec.Raw:
    if len(token) <= _SHORT and _SMALLEST < abs(float(token)) < _GREATEST:
        return msgspec.Raw(token.encode())  # as nearly all: within every bound, and there may be many
    exponent = token.lower().partition("e")[2]
    if len(token) > MAX_NUMBER_LENGTH or (exponent and abs(int(exponent)) > MAX_EXPONENT):
        raise _NotStrict(
            f"a number may have up to {MAX_NUMBER_LENGTH} characters and an exponent within ±{MAX_EXPONENT}"
        )
    if math.isinf(float(token)):
        # Servers read it as infinity, which is more than any limit and equal to what other numbers become.
        raise _NotStrict("a number may not be greater than every double")
    return msgspec.Raw(token.encode())


_SHORT, _SMALLEST, _GREATEST = 32, 1e-300, 1e300


def _integer(digits: str) -> int | msgspec.Raw:
    # Short ones are exact as they are; "-0" would lose its sign.
    return int(digits) if len(digits) <= 18 and digits != "-0" else _number(digits)


def _constant(name: str) -> Any:
    raise _NotStrict(f"{name} is not JSON")


_EXACT = json.JSONDecoder(
    object_pairs_hook=_members, parse_float=_number, parse_int=_integer, parse_constant=_constant, strict=True
)


def _may_be_deep(line: bytes) -> bool:
    """False when it has not brackets enough, told without counting all of them."""
    return len(line) > 2 * MAX_DEPTH and _brackets(line, b"[") + _brackets(line, b"{") > MAX_DEPTH


def _brackets(line: bytes, bracket: bytes) -> int:
    """How many there are, or one more than the depth that is allowed."""
    at = line.find(bracket)
    found = 0
    while at >= 0 and found <= MAX_DEPTH:
        found += 1
        at = line.find(bracket, at + 1)
    return found


def _depth(value: Any) -> int:
    """Levels of nesting, counted without recursion, and no further than one beyond `MAX_DEPTH`."""
    level, depth = ([value] if type(value) in _CONTAINERS else []), 0
    while level and depth <= MAX_DEPTH:
        depth += 1
        level = [
            item
            for parent in level
            for item in (parent.values() if type(parent) is dict else parent)
            if type(item) in _CONTAINERS
        ]
    return depth


def _has_nul_key(value: Any) -> bool:
    """Whether any key does; the value is no deeper than it may be."""
    if type(value) is dict:
        return any("\0" in key for key in value) or any(map(_has_nul_key, value.values()))
    return type(value) is list and any(map(_has_nul_key, value))


_CONTAINERS = frozenset({dict, list})
