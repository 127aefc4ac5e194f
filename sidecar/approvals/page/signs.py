"""Text from outside as HTML: escaped, and every character that nobody would see, or that moves others, as a sign.

A sign is an element of its own, so that no text can look like one. A text with more of them than a browser can draw is
written as in JSON.
"""

from __future__ import annotations

import json
import unicodedata
from typing import Final

from markupsafe import Markup, escape

from sidecar.text import is_odd_blank, is_plain, visible

MOST: Final = 1_000
"""Signs in one text."""
PIECE: Final = 2_000
"""Characters of one piece of a long text."""

_BREAKS: Final = {"\n": "↵", "\r": "CR", "\t": "TAB"}
"""Characters that lay out a text: a sign tells that they are there, and they do their work."""


def marked(text: str) -> Markup:
    """A text as HTML."""
    hidden = _hidden(text)
    if _are_too_many(text, hidden):
        return _AS_JSON + escape(_as_json(text))
    return _with_signs(text, hidden)


def pieces(text: str) -> list[Markup]:
    """A long text as HTML in pieces, whole: a browser takes minutes to lay out a megabyte in one."""
    hidden = _hidden(text)
    if _are_too_many(text, hidden):
        return [_AS_JSON, *(escape(piece) for piece in _cut(_as_json(text)))]
    return [_with_signs(piece, hidden) for piece in _cut(text)]


def plain_pieces(text: str) -> list[Markup]:
    """A JSON text as HTML in pieces: hidden characters stand as JSON escapes, so it is still the same JSON."""
    return [escape(piece) for piece in _cut(_escaped(text))]


_AS_JSON: Final = Markup('<span class="sign">written as in JSON</span>')


def _hidden(text: str) -> set[str]:
    # By the characters that occur: a text of a megabyte has few.
    return {char for char in set(text) if not is_plain(char) or is_odd_blank(char)}


def _are_too_many(text: str, hidden: set[str]) -> bool:
    return bool(hidden) and sum(map(hidden.__contains__, text)) > MOST


def _as_json(text: str) -> str:
    return _escaped(json.dumps(text, ensure_ascii=False)[1:-1])


def _escaped(text: str) -> str:
    """A JSON text in which whatever is hidden, or only looks like a blank, stands as an escape."""
    blanks = {ord(char): f"\\u{ord(char):04x}" for char in set(text) if is_odd_blank(char)}
    return visible(text).translate(blanks)


def _cut(text: str) -> list[str]:
    return [text[at : at + PIECE] for at in range(0, len(text), PIECE)]


def _with_signs(text: str, hidden: set[str]) -> Markup:
    signs = {ord(char): _sign(char) for char in hidden}
    return Markup(str(escape(text)).translate(signs))  # noqa: S704 - escaped here


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
