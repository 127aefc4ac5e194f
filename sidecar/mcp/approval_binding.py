"""What an approval of a call is bound to, as bytes: all that the server gets of it, and which calls do the same.

Two calls with the same bytes of `bound` are one call to every reader of JSON; what stands in no order there (keys of
objects) counts in no order. No hash, no key, no policy: whoever keeps these bytes keeps them hashed.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final, NewType

import msgspec

from sidecar.mcp.strict_json import encode

TRACE_CONTEXT: Final = frozenset({"traceparent", "tracestate", "baggage"})
"""Keys in `_meta` of the W3C's trace context: another one with each request."""

Plain = NewType("Plain", dict[str, Any])
"""Arguments in which each number is written as equal ones are, in plain decimal. What is in them is so, too."""

_sorted = msgspec.json.Encoder(order="sorted").encode


def bound(params: dict[str, Any]) -> bytes:
    """The parameters that the server gets, but for those that are another with each request: JSON with sorted keys.

    Numbers are the tokens that were written (1 is not 1.0). What is left out is in `_meta`: the progress token and the
    trace context, where they are of the type that the protocol gives them; then `_meta` too, if nothing is left of it.
    """
    return _sorted(_lasting(params))


def lasting_beside(params: dict[str, Any]) -> bytes:
    """The parameters of `bound` without name and arguments: JSON with sorted keys."""
    return _sorted({key: value for key, value in _lasting(params).items() if key not in ("name", "arguments")})


def beside(params: dict[str, Any]) -> bytes:
    """The parameters of `bound` without name and arguments, in the order they came: JSON to be shown."""
    return encode({key: value for key, value in _lasting(params).items() if key not in ("name", "arguments")})


def plain(arguments: dict[str, Any]) -> Plain:
    """The arguments as all that compares calls wants them; it takes longest of all that is made of a call."""
    return Plain(_with_plain_numbers(arguments))


def same_call(tool: str, arguments: Plain) -> bytes:
    """What a call does, whoever asks: the tool and its arguments as JSON values, equal numbers (1, 1.0, 1e0) alike."""
    return same_value([tool, arguments])


def same_value(value: Any) -> bytes:
    """A value of plain arguments as values that are equal are written: JSON with sorted keys."""
    return _sorted(value)


def _lasting(params: dict[str, Any]) -> dict[str, Any]:
    meta = params.get("_meta")
    if type(meta) is not dict:
        return params
    kept = {key: value for key, value in meta.items() if not _is_passing(key, value)}
    if kept:
        return {**params, "_meta": kept}
    return {key: value for key, value in params.items() if key != "_meta"}


def _is_passing(key: str, value: Any) -> bool:
    """True for what is of this request alone; an object under such a key could be anything, so it counts."""
    if key == "progressToken":
        return type(value) in (str, int)
    return key in TRACE_CONTEXT and type(value) is str


def _with_plain_numbers(value: Any) -> Any:
    """The value with each number written as equal numbers are; recursion is safe, since the depth was checked."""
    if type(value) is dict:
        return {key: item if type(item) in _KEPT else _with_plain_numbers(item) for key, item in value.items()}
    if type(value) is list:
        return [item if type(item) in _KEPT else _with_plain_numbers(item) for item in value]
    return msgspec.Raw(_plain((bytes(value) if type(value) is msgspec.Raw else encode(value)).decode()))


_KEPT: Final = frozenset({str, int, bool, type(None)})
"""What is written in one way only: an `int` stands in plain decimal as it is."""


def _plain(number: str) -> bytes:
    """A number in plain decimal: no exponent, no sign of zero, no trailing zeros."""
    if "e" in number or "E" in number:
        number = f"{Decimal(number):f}"
    if "." in number:
        number = number.rstrip("0").rstrip(".")
    return b"0" if number == "-0" else number.encode()
