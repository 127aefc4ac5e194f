"""What people may not see of arguments: the values at some paths are replaced before anything is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import dropwhile, takewhile
from typing import Any, Final, TypeAlias

from sidecar.policy import paths
from sidecar.policy.paths import EACH, Path
from sidecar.text import folded

MASK: Final = "[masked]"
"""What stands in the place of a value."""
Instead: TypeAlias = Callable[[Path, Any], Any]
"""Makes the text that stands in the place of a value, of the path at which the value was found."""


def masked(arguments: dict[str, Any], masks: Iterable[Path]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The arguments without the values at the paths `masks`, and those of the paths at which something stood.

    A path that leads into text, a number or a list where it needs an object hides that value as a whole: a server may
    read an object there. A key that differs from a step only in case is hidden too: a server may take it for that.
    """
    ways = tuple(masks)
    kept, hiding = _hidden(arguments, ways, lambda way, value: MASK)
    return kept, tuple(paths.shown("args", path) for number, path in enumerate(ways) if number in hiding)


def replaced(arguments: dict[str, Any], masks: Iterable[Path], instead: Instead) -> dict[str, Any]:
    """The arguments with something else in the place of each value that `masked` hides."""
    return _hidden(arguments, tuple(masks), instead)[0]


def _hidden(arguments: dict[str, Any], masks: Sequence[Path], instead: Instead) -> tuple[dict[str, Any], set[int]]:
    """The arguments with what stands instead of values, and the numbers of the masks that hide some."""
    hiding: set[int] = set()
    kept: dict[str, Any] = _Place(tuple(enumerate(masks)), instead, hiding).of(arguments, ())
    return kept, hiding


class _Place:
    """What masks hide of the values at one place: all of them are looked at in one go, as values may be large.

    Each mask is what is left of its path, with its number; the result is as if one came after the other. A mask that
    leads on hides what is below. One that ends here, or cannot lead into a value of this type, hides it as a whole. So
    do all that come after that one: they find what stands instead, which is text. Those that do are added to `hiding`.
    """

    __slots__ = ("_each", "_hiding", "_instead", "_keys", "_of_list", "_of_null", "_of_object", "_of_other")

    def __init__(self, masks: Sequence[tuple[int, Path]], instead: Instead, hiding: set[int]) -> None:
        into_object = tuple(takewhile(lambda mask: mask[1] and mask[1][0] is not EACH, masks))
        into_list = tuple(takewhile(lambda mask: mask[1] and mask[1][0] is EACH, masks))
        below: dict[str, list[tuple[int, Path]]] = {}
        for number, path in into_object:
            below.setdefault(folded(str(path[0])), []).append((number, path[1:]))
        self._keys = {key: _Place(some, instead, hiding) for key, some in below.items()}
        elements = [(number, path[1:]) for number, path in into_list]
        self._each = _Place(elements, instead, hiding) if elements else None
        # Those that hide a value as a whole, by its type.
        self._of_other = tuple(number for number, _ in masks)
        self._of_object, self._of_list = self._of_other[len(into_object) :], self._of_other[len(into_list) :]
        self._of_null = tuple(number for number, _ in dropwhile(lambda mask: mask[1], masks))
        self._instead = instead
        self._hiding = hiding

    def of(self, value: Any, way: Path) -> Any:
        """What is left of a value that stands at a path."""
        if type(value) is dict:
            value, whole = self._of_members(value, way), self._of_object
        elif type(value) is list:
            value, whole = self._of_elements(value, way), self._of_list
        else:
            whole = self._of_null if value is None else self._of_other
        for _ in whole:
            value = self._instead(way, value)
        self._hiding.update(whole)
        return value

    def _of_members(self, value: dict[str, Any], way: Path) -> dict[str, Any]:
        keys = self._keys
        if not keys:
            return value
        there = [(key, place) for key in value if (place := keys.get(folded(key))) is not None]
        return {**value, **{key: place.of(value[key], (*way, key)) for key, place in there}}

    def _of_elements(self, value: list[Any], way: Path) -> list[Any]:
        if self._each is None:
            return value
        inner = (*way, EACH)
        return [self._each.of(one, inner) for one in value]
