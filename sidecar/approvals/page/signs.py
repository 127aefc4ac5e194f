"""Text from outside as HTML: escaped, and every character that nobody would see, or that moves others, as a sign.

A sign is an element of its own, so that no text can look like one. A text with more of them than a browser can draw is
written as in JSON.
"""

from __future__ import annotations

import json
import unicodedata
from typing import Final

from markupsafe import Markup, escape

from sidecar.text import is_plain, visible

MOST: Final = 1_000
"""Signs in one text."""

_BREAKS: Final = {"\n": "↵", "\r": "CR", "\t": "TAB"}
"""Characters that lay out a text: a sign tells that they are there, and they do their work."""


def marked(text: str) -> Markup:
    """A text as HTML."""
    escaped = escape(text)
    # By the characters that occur: a text of a megabyte has few.
    hidden = {char for char in set(text) if not is_plain(char)}
    if not hidden:
        return escaped
    if sum(map(hidden.__contains__, text)) > MOST:
        written = visible(json.dumps(text, ensure_ascii=False)[1:-1])
        return Markup('<span class="sign">written as in JSON</span>') + escape(written)
    return Markup(str(escaped).translate({ord(char): _sign(char) for char in hidden}))  # noqa: S704 - escaped above


def _sign(char: str) -> str:
    if char in _BREAKS:
        works = "" if char == "\r" else char
        return f'<span class="sign" title="{_name(char)}">{_BREAKS[char]}</span>{works}'
    return f'<span class="sign" title="{_name(char)}">U+{ord(char):04X}</span>'


def _name(char: str) -> str:
    return _CONTROLS.get(char) or unicodedata.name(char, "a character without a name").lower()


_CONTROLS: Final = {
    "\n": "line feed", "\r": "carriage return", "\t": "tab", "\x1b": "escape", "\0": "null", "\x7f": "delete",
    "\b": "backspace", "\a": "bell",
}  # fmt: skip
