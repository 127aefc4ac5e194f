"""Where a call stands by what a rule lets an approver agree to beyond it. Values in, texts out.

Equal means equal as in `eq`: a number or a boolean equals the text that is written the same way, lists and objects are
compared as JSON values. Such values have the same text here, and no others do, so whoever compares compares texts.
What nobody may see has a keyed hash as its text, and so has what is long: the texts are read with every call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from sidecar.decision.decision import Granting
from sidecar.ledger.approvals import GrantTerms
from sidecar.mcp.approval_binding import Plain, same_value
from sidecar.policy import paths
from sidecar.policy.paths import Path
from sidecar.text import SHOWN_LENGTH, shown

MASKED: Final = "masked"
"""The first word of what stands for a value that people may not see."""
MAX_FREE: Final = 200
"""Arguments that a standing approval leaves free and that are named one by one."""
MAX_SAME: Final = 1_000
"""Characters of a text that stands for a value; of a longer one its hash does."""
ANY_OTHER: Final = "any other argument"

Way: TypeAlias = tuple[str, ...]
"""A path without `[*]`: it leads to one value at most."""


def terms_of(
    granting: Granting, arguments: Plain, visible: dict[str, Any], beside: bytes, masks: Sequence[Path],
    digest: Callable[[str], str],
) -> GrantTerms:  # fmt: skip
    """What the rule lets an approver agree to, and where this call stands.

    `visible` are the arguments without the values at the paths `masks`. `digest` makes a keyed hash, for what lies
    there. A number there cannot be compared, so no call is like it. `beside` is all that the server gets beside the
    arguments, which a call like this one has, too.
    """
    # Many paths may end at one large value, which is in the way of all of them: what is made of it is made once.
    text_at = cache(lambda end: same_text(arguments, end))
    digest_at = cache(lambda end: digest(text_at(end)))

    def is_masked(path: Way) -> bool:
        return any(paths.overlap(path, mask) for mask in masks)

    def same(path: Way) -> str:
        end = end_of(arguments, path)
        if is_masked(path):
            return f"{MASKED} {digest_at(end)}"
        return text_at(end) if len(text_at(end)) <= MAX_SAME else f"long {digest_at(end)}"

    def most(path: Way) -> str | None:
        return None if is_masked(path) else number_text(arguments, path)

    # What stands in the way of a path is held as well as what lies at it, or below.
    ways = (*granting.same, *granting.at_most)
    held = {*ways, *(end_of(arguments, way).way for way in ways)}
    return GrantTerms(
        granting.seconds, granting.calls,
        tuple((paths.shown("args", path), same(path)) for path in granting.same),
        tuple((paths.shown("args", path), most(path)) for path in granting.at_most),
        (*_free(visible, held), ANY_OTHER), digest(beside.decode()),
    )  # fmt: skip


class End(NamedTuple):
    """Where a path ends: at a value, nowhere, or inside of a value that it cannot lead into.

    Some server may read there all the same: in text that holds JSON. `way` leads to that value; else it is the path.
    """

    way: Way
    kind: Literal["value", "absent", "inside"]


def end_of(arguments: Plain, path: Way) -> End:
    """Where a path ends in the arguments."""
    value: Any = arguments
    for length, step in enumerate(path):
        if type(value) is not dict and value is not None:
            return End(path[:length], "inside")
        if value is None or step not in value:
            return End(path, "absent")
        value = value[step]
    return End(path, "value")


def same_text(arguments: Plain, end: End) -> str:
    """A text that is the same for values that are equal, as in `eq`, and for no others."""
    if end.kind == "absent":
        return "absent"
    value = _at(arguments, end.way)
    if end.kind == "inside":
        return f"inside {same_value(value).decode()}"
    if value is None:
        return "null"
    if isinstance(value, dict | list):
        return f"json {same_value(value).decode()}"
    # A number or a boolean equals the text that is written the same way.
    return f"value {value if type(value) is str else same_value(value).decode()}"


def number_text(arguments: Plain, path: Way) -> str | None:
    """A number as plain decimal text; None for anything else."""
    end = end_of(arguments, path)
    value = _at(arguments, end.way) if end.kind == "value" else None
    return None if value is None or isinstance(value, bool | str | list | dict) else same_value(value).decode()


def _at(arguments: Plain, way: Way) -> Any:
    value: Any = arguments
    for step in way:
        value = value[step]
    return value


_Held: TypeAlias = dict[str, "_Held | None"]
"""What is held below a place, by the next step: None for all of it."""
_NOTHING: Final[Mapping[str, _Held | None]] = MappingProxyType({})


def _tree(ways: Iterable[Way]) -> _Held:
    top: _Held = {}
    # The longest first: what is held as a whole comes in the place of its parts.
    for way in sorted(filter(None, ways), key=len, reverse=True):
        place = top
        for step in way[:-1]:
            below = place.setdefault(step, {})
            assert below is not None  # no shorter way was there yet
            place = below
        place[way[-1]] = None
    return top


def _free(arguments: dict[str, Any], held: Iterable[Way]) -> list[str]:
    """The names of all that is no object, and of empty objects, but for what lies at a held path or below.

    Those from `MAX_FREE` on are only counted. An agent may send a hundred thousand, below a hundred objects: nothing
    is made for each step that leads to each of them.
    """
    names: list[str] = []
    more = 0

    def walk(value: dict[str, Any], name: str, held: Mapping[str, _Held | None]) -> None:
        nonlocal more
        for key, part in value.items():
            below = held.get(key, _NOTHING)
            if below is None:
                continue
            is_named = len(names) < MAX_FREE
            inner = _longer(name, key) if is_named else ""
            if type(part) is dict and part:
                walk(part, inner, below)  # recursion is safe, since the depth was checked
            elif is_named:
                names.append(shown(inner))
            else:
                more += 1

    walk(arguments, "args", _tree(held))
    return [*names, f"{more} more"] if more else names


def _longer(name: str, key: str) -> str:
    """A name with one more step, cut where `shown` shows no more of it: keys may be long, and stand in many names."""
    return name if len(name) > SHOWN_LENGTH else paths.shown(name, (key,))[: SHOWN_LENGTH + 1]
