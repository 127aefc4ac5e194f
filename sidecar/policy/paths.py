"""Paths into documents: `args.orders[*].amount`, `args["a.b"].c`. How they are written, and what they say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import partial
from typing import Final, Literal, TypeAlias

from sidecar.text import folded

EACH: Final = None
"""The step `[*]`: into each element of a list."""
Step: TypeAlias = str | None
"""One step: the key of an object, or `EACH`."""
Path: TypeAlias = tuple[Step, ...]
"""The way into a document, without the document's name."""
Root: TypeAlias = Literal["args", "principal", "session", "workload"]
"""The name of a document, as the first word of a path gives it."""


class BadPath(ValueError):
    """A path that cannot be read; the text says what is wrong, and what to write instead."""


def read(text: str) -> Path:
    """The steps of what follows the document's name: `.orders[*].amount`, `["a.b"].c`. Raises `BadPath`."""
    steps: list[Step] = []
    at = 0
    while at < len(text):
        found = _STEP.match(text, at)
        if found is None:
            raise BadPath(_advice(text, at))
        steps.append(_step(found))
        at = found.end()
    return tuple(steps)


def shown(root: str, path: Path) -> str:
    """A path as people write it; `read` gives the same steps."""
    return root + "".join(map(_shown, path))


def overlap(one: Path, other: Path) -> bool:
    """True where one of two paths may lead to something that the other leads into, by any spelling of a key."""
    return all(
        ((first is EACH or second is EACH) and first is second)
        or (first is not EACH and second is not EACH and folded(first) == folded(second))
        for first, second in zip(one, other, strict=False)
    )


def in_order(found: Iterable[Path]) -> list[Path]:
    """Paths in an order that depends on nothing but them."""
    return sorted(found, key=partial(shown, ""))


_STEP: Final = re.compile(
    r"""(?P<each>\[\*\])
    | \[(?P<quoted>"(?:[^"\\]|\\.)*")\]
    | \.(?P<key>[^.\[\]]+)""",
    re.VERBOSE,
)
_PLAIN: Final = re.compile(r"""(?![0-9]+\Z|\$\Z|\*\Z)[^.\[\]"\s]+""")


def _step(found: re.Match[str]) -> Step:
    if found["each"]:
        return EACH
    if found["quoted"]:
        try:
            key = str(json.loads(found["quoted"]))
            key.encode()  # no call has a key with half a character
        except ValueError:
            raise BadPath(f"{found['quoted']} is no JSON text: escape what is special in it") from None
        return key
    key = found["key"]
    if key.isascii() and key.isdigit():
        raise BadPath(f'has a step of digits: write ["{key}"] for a key of that name, or [*] for each element')
    if key == "*":
        raise BadPath('has the step *: write [*] for each element of a list, or ["*"] for a key of that name')
    if key == "$":
        raise BadPath('has the step $, which means nothing here: write ["$"] for a key of that name')
    return key


def _advice(text: str, at: int) -> str:
    rest = text[at:]
    if index := re.match(r"\[([0-9]+)\]", rest):
        return (
            f'has the step {index[0]}: write [*] for each element of a list, or ["{index[1]}"] for a key of that name'
        )
    if rest[0] == "." and (rest == "." or rest[1] in ".["):
        return "has an empty step: write one name between two dots"
    if rest[0] in "[]":
        return 'has a bracket that is neither [*] nor ["a key"]: write a key with brackets as ["a[b]"]'
    return "has a name straight after a bracket: put a dot between them"


def _shown(step: Step) -> str:
    if step is None:
        return "[*]"
    return f".{step}" if _PLAIN.fullmatch(step) else f"[{json.dumps(step, ensure_ascii=False)}]"
