"""The part of a call's arguments that a policy reads. A decision depends on nothing else, and OPA gets nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sidecar.errors import InvalidMessage
from sidecar.mcp import strict_json
from sidecar.mcp.jsonrpc import INVALID_PARAMS
from sidecar.mcp.tool_call import ToolCall
from sidecar.text import folded, shown


class Projection:
    """The paths into the arguments that a policy reads, as a tree that is built once and applied to many calls."""

    __slots__ = ("_folded", "_has_twins", "_longest", "_read", "_steps")

    def __init__(self, paths: Iterable[tuple[str, ...]]) -> None:
        ways: dict[str, set[tuple[str, ...]]] = {}
        for first, *rest in paths:
            ways.setdefault(first, set()).add(tuple(rest))
        # For each step: what is read below it, and whether the value itself is read, as a whole.
        self._steps = tuple(
            (step, Projection(below) if (below := ways[step] - {()}) else None, () in ways[step])
            for step in sorted(ways)
        )
        self._read = frozenset(ways)
        self._folded = frozenset(map(folded, ways))
        self._longest = max(map(len, self._folded), default=0)
        self._has_twins = len(self._folded) < len(self._read)

    def of(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The values on the paths, in an order that is the same for every call.

        If a path leads into a value that is neither an object nor null, `[]` stands for that value: that one is there
        can matter, which one cannot. Raises ValueError for a key that differs only in case from one that is read here,
        unless that very spelling is read too: some servers match keys whatever their case.
        """
        kept: dict[str, Any] = {}
        there = 0
        for step, below, whole in self._steps:
            if step not in arguments:
                continue
            there += 1
            value = arguments[step]
            if below is not None and type(value) is dict:
                inner = below.of(value)
                kept[step] = value if whole else inner
            elif whole:
                kept[step] = value
            elif value is not None:
                kept[step] = []
        if there < len(arguments) or self._has_twins:
            self._refuse_look_alikes(arguments)
        return kept

    def _refuse_look_alikes(self, arguments: Mapping[str, Any]) -> None:
        seen: set[str] = set()
        for key in arguments:
            if len(key) > self._longest:
                continue  # no key gets shorter where nobody minds its case
            alike = folded(key)
            if alike not in self._folded:
                continue
            if key not in self._read or alike in seen:
                names = " or ".join(repr(shown(step)) for step in sorted(self._read) if folded(step) == alike)
                raise ValueError(f"the arguments have a key that differs only in case from {names}, which a rule reads")
            seen.add(alike)


def arguments_read(call: ToolCall, projection: Projection) -> dict[str, Any]:
    """The part of a call's arguments that is read.

    Raises `InvalidMessage` for look-alike keys (see `Projection.of`), and for a text with a NUL character, at which a
    server in C ends it.
    """
    try:
        kept = projection.of(call.arguments)
    except ValueError as problem:
        raise InvalidMessage(INVALID_PARAMS, str(problem), call.id) from None
    if strict_json.NUL in call.raw and _has_nul(kept):
        raise InvalidMessage(INVALID_PARAMS, "an argument that a rule reads holds a NUL character", call.id)
    return kept


def is_longer(value: Any, limit: int) -> bool:
    """True when a value certainly takes more bytes than `limit` as JSON, told without writing it down."""
    left, waiting = limit, [value]
    while waiting and left >= 0:
        one = waiting.pop()
        left -= 1
        if type(one) is str:
            left -= len(one)
        elif type(one) is dict:
            left -= sum(map(len, one))
            waiting += one.values()
        elif type(one) is list:
            waiting += one
    return left < 0


def _has_nul(value: Any) -> bool:
    if type(value) is str:
        return "\0" in value
    if type(value) is dict:
        return any(map(_has_nul, value.values()))  # no key has one: `strict_json` refuses that
    return type(value) is list and any(map(_has_nul, value))
