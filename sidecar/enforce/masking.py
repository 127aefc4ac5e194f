"""What people may not see of arguments: the values at some paths are replaced before anything is stored."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sidecar.policy import paths
from sidecar.policy.paths import EACH, Path
from sidecar.text import folded

MASK: Final = "[masked]"
"""What stands in the place of a value."""


def masked(arguments: dict[str, Any], masks: Iterable[Path]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The arguments without the values at the paths `masks`, and those of the paths at which something stood.

    A path that leads into text, a number or a list where it needs an object hides that value as a whole: a server may
    read an object there. A key that differs from a step only in case is hidden too: a server may take it for that.
    """
    hidden: list[str] = []
    kept: Any = arguments
    for path in masks:
        after, hides = _masked(kept, path)
        if hides:
            kept = after
            hidden.append(paths.shown("args", path))
    return kept, tuple(hidden)


def _masked(value: Any, path: Path) -> tuple[Any, bool]:
    if not path:
        return MASK, True
    step, rest = path[0], path[1:]
    if step is EACH and type(value) is list:
        parts = [_masked(one, rest) for one in value]
        return [part for part, _ in parts], any(hides for _, hides in parts)
    if step is not EACH and type(value) is dict:
        alike = [key for key in value if folded(key) == folded(step)]
        under = [(key, *_masked(value[key], rest)) for key in alike]
        hiding = {key: part for key, part, hides in under if hides}
        return ({**value, **hiding} if hiding else value), bool(hiding)
    return (value, False) if value is None else (MASK, True)
