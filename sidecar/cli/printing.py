"""What commands print: each line on one line, and nothing in it speaks to a terminal, whatever name it holds.

Names of files, folders and rules come from whoever made them: a line end in one would forge a line of a log in CI.
"""

from __future__ import annotations

import sys

from sidecar.text import visible


def say(*lines: str) -> None:
    """Print lines on standard output."""
    for line in lines:
        print(visible(line))


def say_text(text: str) -> None:
    """Print a text whose line ends are ours, as those of JSON with indents: a name in it has them as escapes."""
    say(*text.removesuffix("\n").split("\n"))


def complain(*lines: str) -> None:
    """Print lines on the error stream."""
    for line in lines:
        print(visible(line), file=sys.stderr)


def warn(text: str) -> None:
    """Print what is odd on the error stream; the command goes on."""
    complain(f"sidecar: warning: {text}")
