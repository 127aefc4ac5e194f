"""Where a call stands by what a rule lets an approver agree to beyond it. Values in, texts out.

Equal means equal as in `eq`: a number or a boolean equals the text that is written the same way, lists and objects are
compared as JSON values. Such values have the same text here, and no others do, so whoever compares compares texts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from sidecar.decision.decision import Granting
from sidecar.ledger.approvals import GrantTerms
from sidecar.mcp import approval_binding
from sidecar.policy import paths

MAX_FREE: Final = 200
"""Arguments that a standing approval leaves free and that are named one by one."""
ANY_OTHER: Final = "any other argument"


def terms_of(
    granting: Granting, arguments: dict[str, Any], visible: dict[str, Any], conceal: Callable[[str], str]
) -> GrantTerms:
    """What the rule lets an approver agree to, and where this call stands.

    `visible` are the arguments as people see them. What they do not see is compared as `conceal` makes it of its text,
    and no number of it is told, so no standing approval fits where that would have to be compared.
    """

    def same_of(path: tuple[str, ...]) -> str:
        text = same_text(arguments, path)
        return text if text == same_text(visible, path) else f"concealed {conceal(text)}"

    def number_of(path: tuple[str, ...]) -> str | None:
        number = number_text(arguments, path)
        return number if number == number_text(visible, path) else None

    same = tuple((paths.shown("args", path), same_of(path)) for path in granting.same)
    at_most = tuple((paths.shown("args", path), number_of(path)) for path in granting.at_most)
    fixed = {*granting.same, *granting.at_most}
    free = [paths.shown("args", path) for path in _leaves(arguments) if path not in fixed]
    named = free if len(free) <= MAX_FREE else [*free[:MAX_FREE], f"{len(free) - MAX_FREE} more"]
    return GrantTerms(granting.seconds, granting.calls, same, at_most, (*named, ANY_OTHER))


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
