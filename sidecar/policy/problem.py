"""One thing that is wrong with a policy file, and where."""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.text import visible


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A position in a policy file; `line` and `column` count from 1."""

    file: str
    line: int
    column: int


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """What is wrong at a place. `where` is the item (`tools.t.rules[1].value`), `text` says what to write instead.

    A warning is shown and does not make the policy wrong.
    """

    place: Place
    where: str
    text: str
    warning: bool = False

    def __str__(self) -> str:
        level = "warning: " if self.warning else ""
        # Names in a file may come from a stranger's change to it, and must not fool who reads what is wrong with it.
        return visible(f"{self.place.file}:{self.place.line}:{self.place.column}: {level}{self.where}: {self.text}")
