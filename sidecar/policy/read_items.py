"""The items that every part of a policy file is made of, read from YAML nodes: texts, choices, counts, times, paths."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from collections.abc import Mapping as Table
from decimal import Decimal
from typing import Final, TypeGuard, TypeVar

from sidecar.policy import paths, suggest
from sidecar.policy.model import NAMED_WINDOWS, Value, Window
from sidecar.policy.nodes import Mapping, Node, Scalar, Sequence
from sidecar.policy.paths import BadPath, Path
from sidecar.policy.problem import Place, Problem

MAX_WINDOW: Final = 366 * 86400
"""The longest window or time-out, in seconds."""
AN_ARGUMENT: Final = "write args. and the name of an argument"

Choice = TypeVar("Choice", bound=str)
_NOTHING_TRIED: Final[Table[str, str]] = {}


class ItemReader:
    """One method for each kind of item. It notes its problems and returns what could be read."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems

    def problem(self, place: Place, where: str, text: str) -> None:
        self.problems.append(Problem(place, where, text))

    def number(self, node: Node | None, where: str) -> Decimal | None:
        """A number that is not negative."""
        if node is None:
            return None
        if isinstance(node, Scalar) and isinstance(node.value, Decimal) and node.value >= 0:
            return node.value
        self.problem(node.place, where, f"{where.rpartition('.')[2]} is a number that is not negative, without quotes")
        return None

    def count(self, node: Node | None, where: str) -> int | None:
        if node is None:
            return None
        if isinstance(node, Scalar) and isinstance(node.value, Decimal) and _COUNT.fullmatch(node.text):
            return int(node.text)
        self.problem(node.place, where, "a count is a whole number above 0, without quotes, sign or dot")
        return None

    def window(self, node: Node | None, where: str, sliding: Node | None = None) -> Window | None:
        slides = self.flag(sliding, f"{where.rpartition('.')[0]}.sliding")
        text = node.text if isinstance(node, Scalar) else ""
        if text in NAMED_WINDOWS:
            return Window(NAMED_WINDOWS[text], text, slides)
        meant = suggest.window(text) or ""
        known = meant in NAMED_WINDOWS or 0 < length(meant) <= MAX_WINDOW
        write = meant if known else "seconds, minute, hour, day, or as 90s, 15m, 12h"
        seconds = self.seconds(node, where, f"is no window: write {write}")
        return Window(seconds, str(seconds), slides) if seconds else None

    def seconds(
        self,
        node: Node | None,
        where: str,
        advice: str = "is no duration: write as 90s, 15m, 12h",
        *,
        zero: bool = False,
        most: str = "",
    ) -> int | None:
        """A time in whole seconds; None if there is nothing, or something else. `most` is the longest."""
        if node is None:
            return None
        text = node.text if isinstance(node, Scalar) else ""
        seconds = length(text)
        if not (0 < seconds <= MAX_WINDOW or (zero and seconds == 0)):
            shown = f'"{text}"' if text else "this"
            self.problem(node.place, where, f"{shown} {advice}")
            return None
        if most and seconds > length(most):
            self.problem(node.place, where, f'"{text}" is too long: write {most} at most')
            return None
        return seconds

    def mapping(self, node: Node | None, where: str, known: Collection[str] | None = None) -> Mapping:
        """The mapping at a node, or an empty one if there is none. `known` are the keys that it may have."""
        match node:
            case Mapping():
                for key in node.keys:
                    if known is not None and key not in known:
                        self.problem(node.keys[key], where, _unknown(key, known))
                return node
            case None | Scalar(value=None):
                pass
            case _:
                self.problem(node.place, where, "must be a mapping: write keys and values")
        return Mapping({}, {}, node.place if node else Place("", 0, 0))

    def members(
        self, node: Node, where: str, known: Collection[str], needed: Collection[str]
    ) -> dict[str, Node]:  # fmt: skip
        """The members of a block; the `needed` ones must be there."""
        members = self.mapping(node, where, known).members
        for key in needed:
            if key not in members or is_null(members[key]):
                self.problem(
                    node.place, where, f"a {where.rpartition('.')[2]} needs {' and '.join(needed)}: {key} is missing"
                )
        return members

    def sequence(self, node: Node | None, where: str) -> tuple[Node, ...]:
        match node:
            case Sequence():
                return node.items
            case None | Scalar(value=None):
                pass
            case _:
                self.problem(node.place, where, "must be a list: begin each item with a dash")
        return ()

    def text(self, node: Node | None, where: str) -> str | None:
        """The text at a node; None if there is nothing."""
        match node:
            case None | Scalar(value=None):
                return None
            case Scalar(value=str() as text):
                return text
            case Scalar():
                self.problem(node.place, where, f'must be a text: write "{node.text}" in quotes')
            case _:
                self.problem(node.place, where, "must be a text")
        return None

    def choice(
        self, node: Node | None, where: str, choices: tuple[Choice, ...], tried: Table[str, str] = _NOTHING_TRIED
    ) -> Choice | None:
        """One of `choices`; None if there is nothing, or something else. `tried` says what to write for other words."""
        if node is None:
            return None
        text = node.value if isinstance(node, Scalar) else None
        for choice in choices:
            if choice == text:
                return choice
        if isinstance(node, Scalar) and node.text in tried:
            self.problem(node.place, where, f'"{node.text}" is not known here: {tried[node.text]}')
            return None
        shown = f'"{node.text}" is none of them' if isinstance(node, Scalar) else "it is no text"
        meant = near(node.text, choices) if isinstance(node, Scalar) else ""
        self.problem(node.place, where, f"must be {listed(choices)}; {shown}{meant}")
        return None

    def value(self, node: Node | None) -> Value:
        match node:
            case Scalar():
                return node.value
            case Sequence():
                return tuple(self.value(item) for item in node.items)
            case Mapping():
                return {key: self.value(item) for key, item in node.members.items()}
            case None:
                return None

    def argument(self, node: Node | None, where: str, advice: str = AN_ARGUMENT) -> Path:
        """The steps of a path into the arguments, without `args`."""
        text = self.text(node, where)
        if node is None or text is None:
            if is_null(node):
                self.problem(node.place, where, f"a path is missing: {advice}")
            return ()
        if not re.match(r"args[.\[]", text) or text == "args.":
            meant = suggest.path(text)
            self.problem(node.place, where, f'"{text}" is no path: {f"write {meant}" if meant else advice}')
            return ()
        path = self.steps(text, "args", node, where)
        if path[:1] == (paths.EACH,):
            self.problem(node.place, where, f'"{text}" is no path: the arguments are no list; {advice}')
        return path

    def steps(self, text: str, root: str, node: Node, where: str) -> Path:
        """The steps of a path that begins with the name of a document."""
        try:
            return paths.read(text.removeprefix(root))
        except BadPath as problem:
            self.problem(node.place, where, f'"{text}" {problem}')
            return ()

    def flag(self, node: Node | None, where: str) -> bool:
        """True or false; false if there is nothing."""
        if node is None or is_null(node):
            return False
        if isinstance(node, Scalar) and isinstance(node.value, bool):
            return node.value
        self.problem(node.place, where, "must be true or false")
        return False


_COUNT = re.compile(r"[1-9][0-9]{0,17}")
_SECONDS = re.compile(r"(?P<count>0|[1-9][0-9]{0,9})(?P<unit>[smhd]?)")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def length(text: str) -> int:
    """The seconds of a duration as it is written; -1 for what is none."""
    found = _SECONDS.fullmatch(text)
    return int(found["count"]) * _UNITS[found["unit"]] if found else -1


def is_null(node: Node | None) -> TypeGuard[Scalar]:
    """True for a null value that is written out or left empty."""
    return isinstance(node, Scalar) and node.value is None


def _unknown(key: str, known: Collection[str]) -> str:
    if meant := suggest.key(key, known):
        return f'the key "{key}" is not known here: write {meant}'
    return f'the key "{key}" is not known here{near(key, known)}; known are {listed(known, "and")}'


def near(word: str, words: Collection[str]) -> str:
    found = difflib.get_close_matches(word, list(words), n=1)
    return f': did you mean "{found[0]}"?' if found else ""


def listed(words: Collection[str], last: str = "or") -> str:
    *head, tail = words
    return f"{', '.join(head)} {last} {tail}" if head else tail
