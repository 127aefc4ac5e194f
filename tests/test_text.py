"""Names and texts from outside: nothing in them fools a reader, and none is long."""

from __future__ import annotations

import pytest

from sidecar.text import SHOWN_LENGTH, is_plain, quoted, shown, shown_quoted, visible

HIDDEN = [
    pytest.param("\n", "\\n", id="line feed"),
    pytest.param("\x00", "\\u0000", id="NUL"),
    pytest.param("\x1b", "\\u001b", id="escape"),
    pytest.param("\x7f", "\\u007f", id="DEL"),
    pytest.param("\x85", "\\u0085", id="C1 control"),
    pytest.param("\xad", "\\u00ad", id="soft hyphen"),
    pytest.param("\u200b", "\\u200b", id="zero-width blank"),
    pytest.param("\u202e", "\\u202e", id="right-to-left override"),
    pytest.param("\u2066", "\\u2066", id="isolate"),
    pytest.param("\ufeff", "\\ufeff", id="BOM"),
    pytest.param("\u2028", "\\u2028", id="line separator"),
    pytest.param("\ue000", "\\ue000", id="private use"),
    pytest.param("\U000e0041", "\\udb40\\udc41", id="tag letter"),
    # No category of theirs says so, but nothing is to be seen of these (Default_Ignorable_Code_Point).
    pytest.param("\u034f", "\\u034f", id="grapheme joiner"),
    pytest.param("\u115f", "\\u115f", id="Hangul filler"),
    pytest.param("\u180b", "\\u180b", id="Mongolian variation selector"),
    pytest.param("\ufe0f", "\\ufe0f", id="variation selector"),
    pytest.param("\U000e0100", "\\udb40\\udd00", id="supplementary variation selector"),
]


@pytest.mark.parametrize(("char", "escape"), HIDDEN)
def test_a_character_that_cannot_be_seen_is_written_as_an_escape(char: str, escape: str) -> None:
    assert not is_plain(f"a{char}b")
    assert visible(f"a{char}b") == f"a{escape}b"
    assert shown(f"a{char}b") == f"a{escape}b"
    assert quoted(f"a{char}b") == f'"a{escape}b"'


@pytest.mark.parametrize("text", ["", "place_order", "a b", "naïve", "заказ", "注文", "🙂", 'say "no"', "back\\slash"])
def test_a_text_in_which_all_is_visible_stays_as_it_is(text: str) -> None:
    assert is_plain(text)
    assert visible(text) == text
    assert shown(text) == text


def test_quotes_and_backslashes_between_quotes_are_escaped() -> None:
    assert quoted('a"b\\c') == '"a\\"b\\\\c"'


def test_a_long_name_is_cut_and_says_so() -> None:
    assert shown("x" * SHOWN_LENGTH) == "x" * SHOWN_LENGTH
    assert shown("x" * (SHOWN_LENGTH + 1)) == "x" * SHOWN_LENGTH + "…"
    assert len(shown("\U000e0041" * 1_000_000)) <= 12 * SHOWN_LENGTH + 1


def test_a_name_in_quotes_is_escaped_once_and_cut_where_it_is_long() -> None:
    assert shown_quoted("look\u200b") == '"look\\u200b"'
    assert shown_quoted("a\tb") == '"a\\tb"'
    assert shown_quoted("x" * (SHOWN_LENGTH + 1)) == f'"{"x" * SHOWN_LENGTH}…"'
