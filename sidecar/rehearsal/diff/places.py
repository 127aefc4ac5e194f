"""Calls put together: what stands at each place that rules read, in the arguments, about the caller, in counters."""

from __future__ import annotations

import copy
import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias

import msgspec

from sidecar.auth.caller import Caller
from sidecar.auth.principal import Principal
from sidecar.mcp.protocol import ClientInfo
from sidecar.policy.model import CallerPath, CounterName, Value
from sidecar.policy.paths import EACH, Path, Root, shown
from sidecar.policy.rego import plain_number

SOMEBODY: Final = "somebody"
"""The subject of a principal of whom nothing else matters."""


class Odd(enum.Enum):
    """What can stand at a place beside a value."""

    ABSENT = "nothing"
    BLOCKED = "a text where the path leads on"


Leaf: TypeAlias = "Value | Odd"


@dataclass(frozen=True, slots=True)
class Place:
    """One place: a path below a root, or a counter by its name."""

    root: Root | Literal["state"]
    path: Path

    def __str__(self) -> str:
        return str(self.path[0]) if self.root == "state" else shown(self.root, self.path)

    @property
    def in_list(self) -> bool:
        """True where the path leads into lists."""
        return EACH in self.path


@dataclass(frozen=True, slots=True)
class Choice:
    """What stands at one place. Where the path leads into a list, one leaf for each of its elements."""

    leaves: tuple[Leaf, ...] = field(compare=False)
    text: str

    @property
    def is_absent(self) -> bool:
        """True where nothing is put there."""
        return self.leaves == (Odd.ABSENT,)


def choice(*leaves: Leaf) -> Choice:
    """A choice; two with the same leaves, written alike, are one."""
    return Choice(leaves, repr(leaves))


ABSENT: Final = choice(Odd.ABSENT)

Put: TypeAlias = Mapping[Place, Choice]
"""What stands where; all else is absent."""


def place_of(subject: Path | CounterName | CallerPath) -> Place:
    """The place that a condition is about."""
    match subject:
        case CounterName():
            return Place("state", (str(subject),))
        case CallerPath(root, steps):
            return Place(root, steps)
        case _:
            return Place("args", subject)


def arguments(put: Put) -> dict[str, Any]:
    """The arguments of a call, its numbers as the tokens of exact decimals."""
    return _document(put, "args")


def totals(put: Put) -> dict[str, Decimal]:
    """Where counters stand, by their names in paths."""
    said = {str(place): chosen.leaves[0] for place, chosen in put.items() if place.root == "state"}
    return {name: leaf for name, leaf in said.items() if isinstance(leaf, Decimal)}


def workload(put: Put) -> dict[str, str]:
    """Where the sidecar runs."""
    return {key: value for key, value in _document(put, "workload").items() if isinstance(value, str)}


def caller(put: Put, session: str = "rehearsal") -> Caller:
    """Who calls: nobody is authenticated where nothing is said of a principal."""
    found = _document(put, "principal")
    principal = None
    if found:
        claims = found.get("claims")
        principal = Principal(
            _text(found.get("subject"), SOMEBODY), _text(found.get("issuer"), ""),
            claims if isinstance(claims, dict) else {},
        )  # fmt: skip
    client = _document(put, "session").get("client")
    if not isinstance(client, dict):
        return Caller(session, "", principal)
    name, version = client.get("name"), client.get("version")
    return Caller(session, "", principal, ClientInfo(_text(name, ""), name, version))


def _text(value: Any, otherwise: str) -> str:
    return value if isinstance(value, str) else otherwise


def _document(put: Put, root: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    chosen = [(place, found) for place, found in put.items() if place.root == root and not found.is_absent]
    # The shorter first: what stands deeper is put into it.
    for place, found in sorted(chosen, key=lambda item: len(item[0].path)):
        _plant(made, place.path, found.leaves)
    return made


def _plant(value: dict[str, Any], path: Path, leaves: tuple[Leaf, ...]) -> None:
    """Put leaves at a path below an object, as far as nothing else stands in the way."""
    step, *rest = path
    assert step is not EACH  # a document is an object
    if not rest:
        if leaves[0] is not Odd.ABSENT:
            value[step] = _json(leaves[0])
    elif leaves == (Odd.BLOCKED,):
        value.setdefault(step, "text")
    elif rest[0] is EACH:
        items = value.setdefault(step, [])
        if type(items) is list:
            _plant_each(items, tuple(rest[1:]), leaves)
    else:
        inner = value.setdefault(step, {})
        if type(inner) is dict:
            _plant(inner, tuple(rest), leaves)


def _plant_each(items: list[Any], path: Path, leaves: tuple[Leaf, ...]) -> None:
    """Put one leaf into each element; the last of the fewer stands for more of them."""
    if not leaves:
        return
    size = max(len(items), len(leaves))
    while len(items) < size:
        items.append(copy.deepcopy(items[-1]) if items and path else {})
    for at in range(size):
        leaf = leaves[min(at, len(leaves) - 1)]
        if not path:
            items[at] = _json(leaf)
        elif path[0] is EACH:
            items[at] = items[at] if type(items[at]) is list else []
            _plant_each(items[at], path[1:], (leaf,))
        elif type(items[at]) is dict:
            _plant(items[at], path, (leaf,))


def _json(leaf: Leaf) -> Any:
    match leaf:
        case Odd():
            return None
        case Decimal():
            return number(leaf)
        case tuple() | list():
            return [_json(item) for item in leaf]
        case Mapping():
            return {key: _json(item) for key, item in leaf.items()}
    return leaf


def number(of: Decimal) -> msgspec.Raw:
    """A number as a token of JSON: in plain digits as far as a message may have so many."""
    plain = plain_number(of)
    return msgspec.Raw((plain if len(plain) <= _LONGEST else str(of)).encode())


_LONGEST: Final = 300


def roots(places: Iterable[Place]) -> set[str]:
    """The documents that places are in."""
    return {place.root for place in places}
