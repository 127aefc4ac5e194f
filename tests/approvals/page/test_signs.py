"""Texts from outside as HTML: nothing of them is an element, nothing hides, nothing is lost."""

from __future__ import annotations

import json
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from sidecar.approvals.page.signs import MOST, PIECE, marked, pieces, plain_pieces
from sidecar.text import is_odd_blank, is_plain

HIDDEN = "\u202e\u2066\u200b\u00ad\ufeff\u2028\x00\x1b\x7f\x85\ud800\u3164\U000e0041\ue000\u00a0\u3000\u2800"
TEXTS = st.text(st.characters() | st.sampled_from(HIDDEN + "\n\r\t<>&\"'"), max_size=60)


class Reader(HTMLParser):
    """What a browser makes of HTML: texts, and the texts of signs."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[tuple[bool, str]] = []
        self.tags: list[tuple[str, list[tuple[str, str | None]]]] = []
        self._in_sign = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, attrs))
        self._in_sign = True

    def handle_endtag(self, tag: str) -> None:
        self._in_sign = False

    def handle_data(self, data: str) -> None:
        self.parts.append((self._in_sign, data))


def read(html: str) -> str:
    """The text that was marked."""
    reader = Reader(html)
    assert all(tag == "span" and dict(attrs)["class"] == "sign" for tag, attrs in reader.tags)
    layout = {"↵": "", "TAB": "", "CR": "\r"}
    out = []
    for is_sign, part in reader.parts:
        if not is_sign:
            assert is_plain(part.replace("\n", "").replace("\t", "")), ascii(part)
            assert not any(map(is_odd_blank, part)), ascii(part)
            out.append(part)
        else:
            out.append(layout[part] if part in layout else chr(int(part.removeprefix("U+"), 16)))
    return "".join(out)


@given(TEXTS)
def test_a_text_is_shown_whole_and_nothing_of_it_hides(text: str) -> None:
    assert read(str(marked(text))) == text


@given(TEXTS, st.integers(1, 200))
def test_pieces_are_the_whole(text: str, times: int) -> None:
    long = (text + "x") * times
    if sum(not is_plain(char) or is_odd_blank(char) for char in long) <= MOST:
        assert "".join(read(str(piece)) for piece in pieces(long)) == long
    assert max(len(str(piece)) for piece in plain_pieces("x" * 5 * PIECE)) == PIECE


@given(TEXTS.filter(lambda text: not any("\ud800" <= char <= "\udfff" for char in text)))
def test_raw_json_stays_the_same_json(text: str) -> None:
    for as_ascii in (True, False):
        html = "".join(map(str, plain_pieces(json.dumps({"a": text}, ensure_ascii=as_ascii))))
        reader = Reader(html)
        shown = "".join(part for _, part in reader.parts)
        assert reader.tags == []
        assert is_plain(shown)
        assert not any(map(is_odd_blank, shown))
        assert json.loads(shown) == {"a": text}


def test_too_many_signs_are_written_as_json() -> None:
    text = '"\u202e<' * (MOST + 1)
    for html in (str(marked(text)), "".join(map(str, pieces(text)))):
        reader = Reader(html)
        assert reader.parts[0] == (True, "written as in JSON")
        assert len(reader.tags) == 1
        assert json.loads('"' + "".join(part for _, part in reader.parts[1:]) + '"') == text
        assert len(html) < 20 * len(text)


def test_a_sign_says_which_character_it_is() -> None:
    assert str(marked("a\u202eb")) == (
        'a<span class="sign" title="right-to-left override">U+202E</span>b'
    )  # fmt: skip
    assert str(marked("a\nb")) == 'a<span class="sign" title="line feed">↵</span>\nb'
