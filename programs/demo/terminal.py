"""Writing for a person: colours where they are seen, a line that counts up in place, and readers who leave early."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TextIO

_COLOURS: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


@dataclass(frozen=True, slots=True)
class Paint:
    """Colours, or none."""

    on: bool

    @classmethod
    def for_stream(cls, stream: TextIO, env: Mapping[str, str]) -> Paint:
        """Colours for a terminal, unless NO_COLOR (https://no-color.org) is set and not empty."""
        return cls(stream.isatty() and not env.get("NO_COLOR"))

    def __call__(self, colour: str, text: str) -> str:
        """The text in a colour; each of its lines for itself, so that a line can be shown alone."""
        if not self.on:
            return text
        return "\n".join(f"\x1b[{_COLOURS[colour]}m{line}\x1b[0m" if line else "" for line in text.split("\n"))


class Screen:
    """A stream that a person reads. Where it is no terminal, a line that is updated is written once, in the end."""

    def __init__(self, stream: TextIO, paint: Paint) -> None:
        self.paint = paint
        self._stream = stream
        self._updated: str | None = None

    @classmethod
    def standard(cls) -> Screen:
        """Standard output, with colours as it and the environment want them."""
        return cls(sys.stdout, Paint.for_stream(sys.stdout, os.environ))

    def say(self, text: str = "") -> None:
        """Write a text and end the line."""
        self.settle()
        self._write(f"{text}\n")

    def heading(self, text: str) -> None:
        """The words before a part."""
        self.say("\n" + self.paint("bold", text))

    def update(self, text: str) -> None:
        """Write a line in place of the one that was last updated, if nothing was said since."""
        self._updated = text
        if self._stream.isatty():
            self._write(f"\r\x1b[K{text}")

    def settle(self) -> None:
        """End the line that was updated, if there is one: it stays."""
        if self._updated is not None:
            self._write("\n" if self._stream.isatty() else f"{self._updated}\n")
            self._updated = None

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except BrokenPipeError:
            # Whoever reads has seen enough (`| head`). The rest is played unseen, so that all that was started ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
