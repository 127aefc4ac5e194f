"""JSON that every parser reads alike: bytes to values and back. No JSON-RPC, no MCP, no I/O.

What is read comes with its canonical bytes: compact, keys in the order they came, number tokens exactly as they were
written. Numbers that binary floats or 64-bit integers would change are kept as `msgspec.Raw` tokens; everything else is
plain Python (`dict`, `list`, `str`, `int`, `float`, `bool`, `None`). `encode` writes either back as it came.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, Final

import msgspec

MAX_DEPTH: Final = 128
MAX_NUMBER_LENGTH: Final = 400
MAX_EXPONENT: Final = 400
DOUBLE_DIGITS: Final = 309
"""Digits of the greatest integers that a double holds."""

MAX_VALUES: Final = 100_000
"""Values in one message: numbers, texts, lists, objects, at any depth. As many are read within some 50 ms."""

_PIECE: Final = 1 << 20
"""Bytes in which characters are replaced in one go."""

NUL: Final = rb"\u0000"
"""A NUL character as it stands in a canonical text."""

_encode = msgspec.json.Encoder().encode
# Its own reader of numbers takes some 15 µs for one with a great exponent (1e299), Python's less than 1: a message may
# have a hundred thousand, and nothing else runs before the last. What is beyond every double is infinite to Python,
# which is not written back as it came.
_decoder = msgspec.json.Decoder(float_hook=float)
_decode = _decoder.decode


class NotStrict(ValueError):
    """JSON that not every parser accepts, or that parsers read differently; or more than we read."""


class NotJson(NotStrict):
    """No parser reads it."""


class TooManyValues(NotStrict):
    """It has more than are read."""


def read_value(line: bytes, most: int = MAX_VALUES) -> tuple[Any, bytes]:
    """The JSON value in `line`, of up to `most` values, and its canonical bytes. Raises `NotStrict`."""
    if len(line) > most and _has_too_many_values(line, most):
        raise TooManyValues(f"a message may have up to {most} values")
    try:
        value = _decode(line)
        # Encoding the value back to the same bytes proves that they are canonical: compact, no duplicate key, no odd
        # escape, UTF-8, and every number as we would write it. It proves neither the depth nor that integers are small
        # enough. And no part may be a line by itself to a reader that splits lines at more than LF.
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
        raise NotStrict(_TOO_DEEP)
    # One byte is found in a quarter of the time that six take, and few messages have it.
    if b"\\" in line and NUL in line and _has_nul_key(value):
        # A reader in C ends the key there, so it may take it for another key.
        raise NotStrict("a key holds a NUL character")
    return value, line


def encode(value: Any) -> bytes:
    """JSON bytes of a value, compact; `msgspec.Raw` is written as it stands.

    U+0085, U+2028 and U+2029 are written as escapes. They end a line to some readers (Node's `readline`, Python's
    `splitlines`), which would find a message of its own in a part of a text.
    """
    data = _encode(value)
    if data.isascii():
        return data
    # In pieces, so that another thread has its turn between two of them.
    return _escaped(data) if len(data) <= _PIECE else b"".join(map(_escaped, _pieces(data)))


# Replacing bytes is safe: outside of texts JSON is ASCII, and UTF-8 has no character within another one.
_LINE_ENDS = {end.encode(): b"\\u%04x" % ord(end) for end in "\u0085\u2028\u2029"}


def _escaped(data: bytes) -> bytes:
    for end, escaped in _LINE_ENDS.items():
        data = data.replace(end, escaped)
    return data


def _pieces(data: bytes) -> Iterator[bytes]:
    """The bytes of a text in pieces, none of which begins within a character."""
    begin = 0
    while begin < len(data):
        end = begin + _PIECE
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end += 1
        yield data[begin:end]
        begin = end


def _has_too_many_values(line: bytes, most: int) -> bool:
    """Counted before the line is parsed: each value follows a comma or an opening bracket outside of texts."""
    # `translate` takes the same time for each byte; counting mark by mark takes many times as long if they are dense.
    if len(line.translate(None, _NO_MARKS)) < most:
        return False
    # Marks in texts do not count, so texts are cut out. An escaped quotation mark does not end a text.
    bare = line.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _NO_MARKS_OR_QUOTES)
    texts = len(bare.translate(None, _MARKS)) // 2
    # A value has at most two texts: itself, and its key.
    return texts > 2 * most or sum(map(len, bare.split(b'"')[::2])) >= most


_MARKS = b",[{"
_NO_MARKS = bytes(set(range(256)).difference(_MARKS))
_NO_MARKS_OR_QUOTES = bytes(set(_NO_MARKS).difference(b'"'))


def _has_long_digits(line: bytes) -> bool:
    """True if there is a run of digits so long that no double may hold it: then the exact reader decides."""
    # Any run of `step` digits contains a byte at a multiple of `step`: sample those bytes, measure the run around each.
    step = DOUBLE_DIGITS
    for at in range(step - 1, len(line), step):
        if line[at] in _DIGITS:
            before, after = line[max(0, at - step) : at], line[at : at + step]
            run = len(before) - len(before.rstrip(_DIGITS)) + len(after) - len(after.lstrip(_DIGITS))
            if run >= DOUBLE_DIGITS:
                return True
    return False


_DIGITS = b"0123456789"


def _exact(line: bytes) -> tuple[Any, bytes]:
    try:
        value = _EXACT.decode(line.decode())
        return value, encode(value)
    except RecursionError:
        raise NotStrict(_TOO_DEEP) from None
    except UnicodeDecodeError:
        raise NotStrict("not UTF-8") from None
    except UnicodeEncodeError:
        raise NotStrict("a lone surrogate is no character") from None
    except json.JSONDecodeError:
        raise NotJson("not JSON") from None


_TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise NotStrict("a key stands twice in one object")
    return members


def _number(token: str) -> msgspec.Raw:
    if len(token) <= _SHORT and _SMALLEST < abs(float(token)) < _GREATEST:
        return msgspec.Raw(token.encode())  # fast path: within every bound, as nearly all numbers are
    exponent = token.lower().partition("e")[2]
    if len(token) > MAX_NUMBER_LENGTH or (exponent and abs(int(exponent)) > MAX_EXPONENT):
        raise NotStrict(
            f"a number may have up to {MAX_NUMBER_LENGTH} characters and an exponent within ±{MAX_EXPONENT}"
        )
    if math.isinf(float(token)):
        # Servers read it as infinity, which exceeds every limit and equals every other such number.
        raise NotStrict("a number may not be greater than every double")
    return msgspec.Raw(token.encode())


_SHORT, _SMALLEST, _GREATEST = 32, 1e-300, 1e300


def _integer(digits: str) -> int | msgspec.Raw:
    # Short integers are exact; "-0" would lose its sign.
    return int(digits) if len(digits) <= 18 and digits != "-0" else _number(digits)


def _constant(name: str) -> Any:
    raise NotStrict(f"{name} is not JSON")


_EXACT = json.JSONDecoder(
    object_pairs_hook=_members, parse_float=_number, parse_int=_integer, parse_constant=_constant, strict=True
)


def _may_be_deep(line: bytes) -> bool:
    """False if there are too few brackets for that; counting stops early."""
    return len(line) > 2 * MAX_DEPTH and _brackets(line, b"[") + _brackets(line, b"{") > MAX_DEPTH


def _brackets(line: bytes, bracket: bytes) -> int:
    """The number of brackets, counted up to one more than the allowed depth."""
    at = line.find(bracket)
    found = 0
    while at >= 0 and found <= MAX_DEPTH:
        found += 1
        at = line.find(bracket, at + 1)
    return found


def _depth(value: Any) -> int:
    """Levels of nesting, counted without recursion and up to one more than `MAX_DEPTH`."""
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
    """True if any key has a NUL character; recursion is safe, since the depth is checked before."""
    if type(value) is dict:
        return any("\0" in key for key in value) or any(map(_has_nul_key, value.values()))
    return type(value) is list and any(map(_has_nul_key, value))


_CONTAINERS = frozenset({dict, list})
