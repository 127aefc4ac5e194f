"""What people may not see of arguments: the values at some paths are replaced before anything is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

from sidecar.policy import paths
from sidecar.policy.paths import EACH, Path
from sidecar.text import folded

MASK: Final = "[masked]"
"""What stands in the place of a value."""
Instead: TypeAlias = Callable[[Path, Any], Any]
"""Makes what stands in the place of a value, of the path at which the value was found."""


def masked(arguments: dict[str, Any], masks: Iterable[Path]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The arguments without the values at the paths `masks`, and those of the paths at which something stood.

    A path that leads into text, a number or a list where it needs an object hides that value as a whole: a server may
    read an object there. A key that differs from a step only in case is hidden too: a server may take it for that.
    """
    hidden: list[str] = []
    kept = arguments
    for path in masks:
        after, hides = _masked(kept, path, (), _mask)
        if hides:
            kept = after
            hidden.append(paths.shown("args", path))
    return kept, tuple(hidden)


def replaced(arguments: dict[str, Any], masks: Iterable[Path], instead: Instead) -> dict[str, Any]:
    """The arguments with something else in the place of each value that `masked` hides."""
    kept = arguments
    for path in masks:
        kept, _ = _masked(kept, path, (), instead)
    return kept


def _mask(_: Path, __: Any) -> str:
    return MASK


def _masked(value: Any, path: Path, way: Path, instead: Instead) -> tuple[Any, bool]:
    if not path:
        return instead(way, value), True
    step, rest = path[0], path[1:]
    if step is EACH and type(value) is list:
        parts = [_masked(one, rest, (*way, EACH), instead) for one in value]
        return [part for part, _ in parts], any(hides for _, hides in parts)
    if step is not EACH and type(value) is dict:
        alike = [key for key in value if folded(key) == folded(step)]
        under = [(key, *_masked(value[key], rest, (*way, key), instead)) for key in alike]
        hiding = {key: part for key, part, hides in under if hides}
        return ({**value, **hiding} if hiding else value), bool(hiding)
    return (value, False) if value is None else (instead(way, value), True)
