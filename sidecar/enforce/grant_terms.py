"""Where a call stands by what a rule lets an approver agree to beyond it. Values in, texts out.

Equal means equal as in `eq`: a number or a boolean equals the text that is written the same way, lists and objects are
compared as JSON values. Such values have the same text here, and no others do, so whoever compares compares texts.
What nobody may see has a keyed hash as its text, and so has what is long: the texts are read with every call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from sidecar.decision.decision import Granting
from sidecar.enforce.masking import masked
from sidecar.ledger.approvals import GrantTerms
from sidecar.mcp import approval_binding
from sidecar.policy import paths
from sidecar.policy.paths import Path
from sidecar.text import shown

MASKED: Final = "masked"
"""The first word of what stands for a value that people may not see."""
MAX_FREE: Final = 200
"""Arguments that a standing approval leaves free and that are named one by one."""
MAX_SAME: Final = 1_000
"""Characters of a text that stands for a value; of a longer one its hash does."""
ANY_OTHER: Final = "any other argument"


def terms_of(
    granting: Granting, arguments: dict[str, Any], beside: bytes, masks: Sequence[Path], digest: Callable[[str], str]
) -> GrantTerms:  # fmt: skip
    """What the rule lets an approver agree to, and where this call stands.

    `beside` is all that the server gets beside the arguments, which a call like this one has, too. `digest` makes a
    keyed hash, for what lies at the paths `masks`. A number there cannot be compared, so no call is like it.
    """

    def same(path: tuple[str, ...]) -> str:
        text = same_text(arguments, path)
        if any(paths.overlap(path, mask) for mask in masks):
            return f"{MASKED} {digest(text)}"
        return text if len(text) <= MAX_SAME else f"long {digest(text)}"

    def most(path: tuple[str, ...]) -> str | None:
        return None if any(paths.overlap(path, mask) for mask in masks) else number_text(arguments, path)

    # What stands in the way of a path (see `same_text`) is held as well as what lies at it, or below.
    ways = (*granting.same, *granting.at_most)
    held = {*ways, *(path for way in ways if (path := _in_the_way(arguments, way)))}
    visible, _ = masked(arguments, masks)
    free = [
        shown(paths.shown("args", path))
        for path in _leaves(visible)
        if not any(path[:length] in held for length in range(1, len(path) + 1))
    ]
    named = free if len(free) <= MAX_FREE else [*free[:MAX_FREE], f"{len(free) - MAX_FREE} more"]
    return GrantTerms(
        granting.seconds, granting.calls,
        tuple((paths.shown("args", path), same(path)) for path in granting.same),
        tuple((paths.shown("args", path), most(path)) for path in granting.at_most),
        (*named, ANY_OTHER), digest(beside.decode()),
    )  # fmt: skip


_ABSENT: Final = object()


class _Inside(msgspec.Struct, frozen=True):
    """A value that a path cannot lead into, though some server may: it reads text that holds JSON."""

    value: Any


def _found(arguments: Any, path: tuple[str, ...]) -> Any:
    """What stands at a path: `_ABSENT` where it leads nowhere, `_Inside` where something stands in the way."""
    value = arguments
    for step in path:
        if value is None:
            return _ABSENT
        if type(value) is not dict:
            return _Inside(value)
        if step not in value:
            return _ABSENT
        value = value[step]
    return value


def _in_the_way(arguments: dict[str, Any], path: tuple[str, ...]) -> tuple[str, ...]:
    """The path to the value that a path cannot lead into; empty where nothing stands in the way."""
    ways = (path[:length] for length in range(1, len(path)))
    return next((way for way in ways if isinstance(_found(arguments, (*way, "")), _Inside)), ())


def same_text(arguments: dict[str, Any], path: tuple[str, ...]) -> str:
    """A text that is the same for values that are equal, as in `eq`, and for no others."""
    value = _found(arguments, path)
    if value is _ABSENT:
        return "absent"
    if value is None:
        return "null"
    if isinstance(value, _Inside):
        return f"inside {approval_binding.same_value(value.value).decode()}"
    if isinstance(value, dict | list):
        return f"json {approval_binding.same_value(value).decode()}"
    # A number or a boolean equals the text that is written the same way.
    return f"value {value if type(value) is str else approval_binding.same_value(value).decode()}"


def number_text(arguments: dict[str, Any], path: tuple[str, ...]) -> str | None:
    """A number as plain decimal text; None for anything else."""
    value = _found(arguments, path)
    if isinstance(value, bool | str | list | dict | _Inside) or value is None or value is _ABSENT:
        return None
    return approval_binding.same_value(value).decode()


def _leaves(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The paths to all that is no object, and to empty objects."""
    if type(value) is dict and value:
        return [leaf for key, part in value.items() for leaf in _leaves(part, (*path, key))]
    return [path] if path else []
