"""The part of a call's arguments that a policy reads. A decision depends on nothing else, and OPA gets nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from sidecar.errors import InvalidMessage
from sidecar.mcp import strict_json
from sidecar.mcp.jsonrpc import INVALID_PARAMS
from sidecar.mcp.tool_call import ToolCall
from sidecar.policy.paths import EACH, Path
from sidecar.text import folded, shown

HOLDS_NUL: Final = "an argument that a rule reads holds a NUL character"
IN_THE_WAY: Final = True
"""What stands for a value that a path cannot lead into: not null, no object and no list, so no step leads into it."""


class Projection:
    """The paths into a document that a policy reads, as a tree that is built once and applied to many documents.

    `names` are keys at its top that a rule names without reading what stands there. `guarded` where a key that differs
    only in case from one that is read is refused. `beside` are more paths, for which nothing is ever refused. `whole`
    where nobody can tell what else is read: then all of it is.
    """

    __slots__ = ("_folded", "_guarded", "_has_twins", "_longest", "_read", "_steps", "_whole")

    def __init__(
        self, paths: Iterable[Path], names: Iterable[str] = (), *, guarded: bool = True, beside: Iterable[Path] = (),
        whole: bool = False,
    ) -> None:  # fmt: skip
        self._whole = whole
        ways, others = _by_first_step(paths), _by_first_step(beside)
        places = {
            step: _Place(ways.get(step, set()), others.get(step, set()), guarded) for step in sorted({*ways, *others})
        }
        # None for a value that is read as it is; else what is read of an object, of a list, and whether as a whole too.
        self._steps = tuple(
            (step, (place.below, place.each, place.whole) if place.below or place.each else None)
            for step, place in places.items()
        )
        self._read = frozenset(ways).union(names)
        self._folded = frozenset(map(folded, self._read))
        self._longest = max(map(len, self._folded), default=0)
        known = self._read.union(others)
        self._has_twins = len(set(map(folded, known))) < len(known)
        self._guarded = guarded

    def of(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """The values on the paths, in an order that is the same for every document.

        If a path leads into a value that is neither null nor what its next step needs (an object, or a list for `[*]`),
        `IN_THE_WAY` stands for that value: that one is there can matter, which one cannot. Lists keep the number and
        the order of their elements. Raises ValueError for a key that differs only in case from one that is read here,
        unless that very spelling is read too: some servers match keys whatever their case.
        """
        kept: dict[str, Any] = {}
        there = 0
        for step, parts in self._steps:
            if step not in document:
                continue
            there += 1
            if parts is None:
                kept[step] = document[step]
                continue
            value = document[step]
            below, each, whole = parts
            if below is not None and type(value) is dict:
                inner = below.of(value)
                kept[step] = value if whole else inner
            elif each is not None and type(value) is list:
                items = each.of_all(value)
                kept[step] = value if whole else items
            elif whole:
                kept[step] = value
            elif value is not None:
                kept[step] = IN_THE_WAY
        if there < len(document) or self._has_twins:
            self._refuse_look_alikes(document)
        return dict(document) if self._whole else kept

    def _refuse_look_alikes(self, document: Mapping[str, Any]) -> None:
        if not self._guarded:
            return
        seen: set[str] = set()
        for key in document:
            if len(key) > self._longest:
                continue  # no key gets shorter where nobody minds its case
            alike = folded(key)
            if alike not in self._folded:
                continue
            if key not in self._read or alike in seen:
                names = " or ".join(repr(shown(step)) for step in sorted(self._read) if folded(step) == alike)
                raise ValueError(f"the arguments have a key that differs only in case from {names}, which a rule reads")
            seen.add(alike)


class _Place:
    """What is read of the values at one place: `whole` for the value itself, `below` of an object, `each` of a list.

    It is read by what lies behind the place on paths (`ways`), and on those beside them (`others`).
    """

    __slots__ = ("below", "each", "whole")

    def __init__(self, ways: set[Path], others: set[Path], guarded: bool) -> None:
        self.whole = () in ways or () in others
        of_objects, others_of_objects = _of_objects(ways), _of_objects(others)
        of_elements, others_of_elements = _of_elements(ways), _of_elements(others)
        self.below: Projection | None = None
        if of_objects or others_of_objects:
            self.below = Projection(of_objects, guarded=guarded, beside=others_of_objects)
        self.each: _Place | None = None
        if of_elements or others_of_elements:
            self.each = _Place(of_elements, others_of_elements, guarded)

    def of_all(self, elements: list[Any]) -> list[Any]:
        """The part that is read of each element of a list."""
        below = self.below
        if self.each is not None or self.whole:
            return elements if below is None and self.each is None else list(map(self._of, elements))
        assert below is not None  # something is read
        return [below.of(one) if type(one) is dict else None if one is None else IN_THE_WAY for one in elements]

    def _of(self, value: Any) -> Any:
        part: Any
        if self.below is not None and type(value) is dict:
            part = self.below.of(value)
        elif self.each is not None and type(value) is list:
            part = self.each.of_all(value)
        else:
            part = None if value is None else IN_THE_WAY
        return value if self.whole else part


def _by_first_step(paths: Iterable[Path]) -> dict[str, set[Path]]:
    """What comes behind each first step."""
    ways: dict[str, set[Path]] = {}
    for first, *rest in paths:
        if first is not EACH:  # an object is no list
            ways.setdefault(first, set()).add(tuple(rest))
    return ways


def _of_objects(ways: set[Path]) -> set[Path]:
    return {way for way in ways if way and way[0] is not EACH}


def _of_elements(ways: set[Path]) -> set[Path]:
    return {way[1:] for way in ways if way and way[0] is EACH}


def arguments_read(call: ToolCall, projection: Projection, no_nul: Projection | None = None) -> dict[str, Any]:
    """The part of a call's arguments that is read.

    Raises `InvalidMessage` for look-alike keys (see `Projection.of`), and for a text with a NUL character, at which a
    server in C ends it. If such a text may stand in a part of what is read, `no_nul` is the projection of the rest.
    """
    try:
        kept = projection.of(call.arguments)
    except ValueError as problem:
        raise InvalidMessage(INVALID_PARAMS, str(problem), call.id) from None
    if strict_json.NUL in call.raw and has_nul(kept if no_nul is None else no_nul.of(call.arguments)):
        raise InvalidMessage(INVALID_PARAMS, HOLDS_NUL, call.id)
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


def has_nul(value: Any) -> bool:
    """True where some text of a value holds a NUL character."""
    if type(value) is str:
        return "\0" in value
    if type(value) is dict:
        return any(map(has_nul, value.values()))  # no key has one: `strict_json` refuses that
    return type(value) is list and any(map(has_nul, value))
