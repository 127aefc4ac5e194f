"""Texts that a regular expression matches, and texts that it just does not: derived from its pattern.

The pattern is read by Python's reader of regular expressions, which knows most of what RE2 does. So a text may match
otherwise than meant; whether it does is asked from the engine. Of a pattern that Python does not read nothing is said.
"""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Final

MOST: Final = 200
"""Texts that are made from one pattern."""
_VARIED: Final = 16
"""Of these, texts that are varied."""
_MANY: Final = 12
"""Repetitions that are written out; what needs more is written with as many as it needs, up to `_LONG`."""
_LONG: Final = 2000
_OF_CLASSES: Final = {
    "CATEGORY_DIGIT": "7", "CATEGORY_NOT_DIGIT": "x", "CATEGORY_SPACE": " ", "CATEGORY_NOT_SPACE": "x",
    "CATEGORY_WORD": "w", "CATEGORY_NOT_WORD": "-",
}  # fmt: skip
_PLAIN: Final = "xX0- _./"


def texts(pattern: str) -> list[str]:
    """Texts about a pattern: some that it should match first, then some that lie beside. Empty if none can be made."""
    made = list(dict.fromkeys(itertools.islice(_made(pattern), MOST)))
    if not made:
        return []
    beside = [text for one in made[:_VARIED] for text in _beside(one)]
    excluded = [text for char in itertools.islice(_excluded(pattern), MOST) for text in (char, f"{made[0]}{char}")]
    return list(dict.fromkeys([*made[:_VARIED], "", "x", "X1 -", *excluded, *beside, *made[_VARIED:]]))


def _beside(text: str) -> Iterator[str]:
    yield f"{text}x"
    yield f"x{text}"
    if text:
        yield text[:-1]
        yield text[1:]
        yield text.swapcase()
        yield f"{text}\n"
        yield f"x\n{text}"
        yield f"{text}{text}"


def _made(pattern: str) -> Iterator[str]:
    tree = _parsed(pattern)
    if tree is not None:
        yield from _sequence(tree, 0)


def _parsed(pattern: str) -> list[Any] | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return list(re._parser.parse(_for_python(pattern)))  # type: ignore[attr-defined]  # typeshed leaves it out
    except (re.error, RecursionError, OverflowError, AttributeError):
        return None


def _excluded(pattern: str) -> Iterator[str]:
    """The characters that classes of a pattern name in order to leave them out."""
    left: list[Any] = list(_parsed(pattern) or ())
    while left:
        one = left.pop(0)
        if not isinstance(one, tuple | list | re._parser.SubPattern):  # type: ignore[attr-defined]
            continue
        items = list(one)
        match [str(part) for part in items[:1]]:
            case ["NOT_LITERAL"]:
                yield chr(items[1])
            case ["IN"] if str(items[1][0][0]) == "NEGATE":
                yield from itertools.chain.from_iterable(map(_edges, items[1][1:]))
            case _:
                left[:0] = items


def _for_python(pattern: str) -> str:
    """A pattern of RE2 as Python writes it, as far as that is only another spelling."""
    text = pattern.replace(r"\z", r"\Z").replace(r"\pL", "[a-z]").replace(r"\p{L}", "[a-z]")
    for name, members in _POSIX.items():
        text = text.replace(f"[:{name}:]", members)
    flags = re.match(r"\(\?([a-zA-Z]*)U?([a-zA-Z]*)\)", text)
    return text if flags is None else f"(?{flags[1]}{flags[2]}){text[flags.end() :]}"


_POSIX: Final = {
    "alpha": "A-Za-z", "digit": "0-9", "alnum": "A-Za-z0-9", "upper": "A-Z", "lower": "a-z", "space": r"\s",
    "word": r"\w", "punct": "!-/", "xdigit": "0-9a-f",
}  # fmt: skip


def _sequence(items: Sequence[Any], depth: int) -> Iterator[str]:
    """Texts of items one after the other: each alternative of each item once, the first of all others."""
    if depth > _MANY:
        return
    each = [list(itertools.islice(_item(item, depth), MOST)) for item in items]
    if not all(each):
        return
    yield "".join(found[0] for found in each)
    for at, found in enumerate(each):
        for other in found[1:]:
            yield "".join(other if place == at else first[0] for place, first in enumerate(each))
    yield "".join(found[-1] for found in each)


def _item(item: tuple[Any, Any], depth: int) -> Iterator[str]:
    op, value = item
    match str(op):
        case "LITERAL":
            yield chr(value)
        case "NOT_LITERAL":
            yield from (char for char in _PLAIN if ord(char) != value)
        case "ANY":
            yield from (*_PLAIN[:3], "\n")
        case "IN":
            yield from _members(value)
        case "BRANCH":
            for branch in value[1]:
                yield from _sequence(list(branch), depth + 1)
        case "SUBPATTERN":
            yield from _sequence(list(value[-1]), depth + 1)
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            least, most, inner = value
            yield from _repeated(least, most, inner, depth)
        case "AT":
            yield ""


def _repeated(least: int, most: Any, inner: Any, depth: int) -> Iterator[str]:
    if least > _LONG:
        return
    found = list(itertools.islice(_sequence(list(inner), depth + 1), MOST))
    if not found:
        if least == 0:
            yield ""
        return
    most = int(most)
    counts = dict.fromkeys((max(least, 1) if most else 0, least, least + 1, most))
    for count in counts:
        if least <= count <= min(most, _LONG):
            yield found[0] * count
    if least == 0:
        yield ""
    for other in found[1:]:
        yield other * max(least, 1)


def _members(items: Sequence[tuple[Any, Any]]) -> Iterator[str]:
    if items and str(items[0][0]) == "NEGATE":
        inside = set(itertools.chain.from_iterable(map(_range, items[1:])))
        yield from (char for char in _PLAIN if char not in inside)
        return
    yield from dict.fromkeys(itertools.chain.from_iterable(map(_edges, items)))


def _edges(item: tuple[Any, Any]) -> Iterator[str]:
    op, value = item
    match str(op):
        case "LITERAL":
            yield chr(value)
        case "RANGE":
            yield chr(value[0])
            yield chr(value[1])
        case "CATEGORY":
            yield _OF_CLASSES.get(str(value), "x")


def _range(item: tuple[Any, Any]) -> Iterator[str]:
    op, value = item
    if str(op) == "RANGE":
        yield from map(chr, range(value[0], min(value[1], value[0] + _LONG) + 1))
    elif str(op) == "CATEGORY":
        kind = {"CATEGORY_DIGIT": r"\d", "CATEGORY_SPACE": r"\s", "CATEGORY_WORD": r"\w"}.get(str(value))
        yield from (char for char in _PLAIN if kind is not None and re.match(kind, char))
    else:
        yield from _edges(item)
