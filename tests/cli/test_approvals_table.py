"""What an agent wrote, on an approver's terminal: nothing is hidden, nothing is cut, nothing leaves its place."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.cli.approvals_table import MASKED, columns, cut, lines_of, rows_of, safe, table
from sidecar.enforce.masking import masked

HOSTILE = 'a\x1b[2J\x1b]0;title\x07\r\nordId  "1"\x9b31m\u202egpj\u200b\u2066x\ufeff\u00ad\x7f\u2028'
"""What clears a screen, names a window, begins a line, paints, turns text around, and what nobody sees."""

TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)
KEYS = TEXTS.map(lambda text: text.replace("\0", ""))  # no call has a key with a NUL
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def written(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def shown(value: Any, width: int | None = None, masks: tuple[str, ...] = ()) -> str:
    return "\n".join(lines_of(rows_of(written(value), masks), width))


# Arguments.


def test_arguments_are_a_table_of_paths_and_json() -> None:
    arguments = {
        "instId": "SOL-USDT", "sz": "5", "n": 5, "on": True, "px": None, "tags": [], "more": {},
        "orders": [{"sz": 1}, {"sz": 2.5}], "a.b": {"c d": "x"},
    }  # fmt: skip
    assert shown(arguments).splitlines() == [
        'instId          "SOL-USDT"',
        'sz              "5"',
        "n               5",
        "on              true",
        "px              null",
        "tags            []",
        "more            {}",
        "orders[0].sz    1",
        "orders[1].sz    2.5",
        '["a.b"]["c d"]  "x"',
    ]


def test_numbers_stand_as_they_were_written() -> None:
    text = '{"a":1.10,"b":100.00000000000000001,"c":123456789012345678901234567890,"d":1e3,"e":-0}'
    assert rows_of(text) == [
        ("a", "1.10"), ("b", "100.00000000000000001"), ("c", "123456789012345678901234567890"), ("d", "1e3"),
        ("e", "-0"),
    ]  # fmt: skip


def test_no_arguments_are_no_rows() -> None:
    assert rows_of("{}") == []
    assert rows_of("null") == [("", "null")]


def test_control_invisible_and_bidirectional_characters_are_written_out() -> None:
    out = shown({HOSTILE: HOSTILE})
    assert len(out.splitlines()) == 2
    assert all(char == "\n" or (char.isprintable() and unicodedata.category(char) != "Cf") for char in out)
    for escape in (
        r"\u001b[2J",
        r"\u0007",
        r"\r\n",
        r"\u009b31m",
        r"\u202e",
        r"\u200b",
        r"\ufeff",
        r"\u007f",
        r"\u2028",
    ):
        assert out.count(escape) == 2, escape


def test_a_blank_that_only_looks_like_one_is_written_out() -> None:
    assert shown({"to": "a\u00a0b\u3000c\u2800 d"}) == r'to  "a\u00a0b\u3000c\u2800 d"'


def test_a_pile_of_marks_does_not_cover_the_lines_around_it() -> None:
    assert safe("e\u0301") == "e\u0301"
    assert safe("e" + "\u0301" * 5) == "e\u0301\u0301" + r"\u0301" * 3


def test_text_that_looks_like_a_row_stays_in_its_column() -> None:
    """Blanks that reach the end of a line, and then what looks like another argument."""
    width = 40
    forged = "1" + " " * (width - 8) + "amount  0"
    lines = shown({"id": forged, "amount": 9000}, width).splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [lines[0], "amount  9000"]
    assert "".join(line[8:] for line in lines[:-1]) == f'"{forged}"'


@given(VALUES, st.integers(8, 100))
def test_whatever_the_arguments_are_no_line_is_wider_and_nothing_is_lost(value: Any, width: int) -> None:
    rows = rows_of(written({"value": value}))
    lines = lines_of(rows, width)
    assert max(map(columns, lines)) <= width
    assert all(map(str.isprintable, lines))
    leaves = [json.loads(text) for _, text in rows]
    assert leaves == list(_leaves(value))


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict) and value:
        return [leaf for inner in value.values() for leaf in _leaves(inner)]
    if isinstance(value, list) and value:
        return [leaf for inner in value for leaf in _leaves(inner)]
    return [value]


def test_a_long_value_is_folded_and_never_cut() -> None:
    value = "x" * 10_000
    lines = shown({"note": value, "n": 1}, 80).splitlines()
    assert "".join(line[6:] for line in lines[:-1]) == f'"{value}"'
    assert max(map(len, lines)) == 80


def test_a_long_path_has_a_line_of_its_own() -> None:
    key = "k" * 50
    assert shown({"a": 1, key: 2}, 80).splitlines() == ["a  1", key, "   2"]


def test_wide_letters_do_not_reach_beyond_the_edge() -> None:
    lines = shown({"to": "日本" * 40}, 40).splitlines()
    assert max(map(columns, lines)) <= 40
    assert "".join(line[4:] for line in lines) == '"' + "日本" * 40 + '"'


# Masked values.


@pytest.mark.parametrize(
    ("arguments", "mask", "rows"),
    [
        ({"key": "s3cret", "n": 1}, ("key",), [("key", MASKED), ("n", "1")]),
        ({"auth": {"key": "s3cret"}}, ("auth", "key"), [("auth.key", MASKED)]),
        ({"auth": "s3cret"}, ("auth", "key"), [("auth", MASKED)]),
        ({"KEY": "s3cret"}, ("key",), [("KEY", MASKED)]),
        ({"l": [{"k": "s3cret"}, {"k": "s3cret", "m": 2}]}, ("l", None, "k"),
         [("l[0].k", MASKED), ("l[1].k", MASKED), ("l[1].m", "2")]),
        ({"key": {"a": "s3cret"}}, ("key",), [("key", MASKED)]),
    ],
)  # fmt: skip
def test_masked_values_are_named_as_masked(arguments: Any, mask: Any, rows: Any) -> None:
    hidden, named = masked(arguments, [mask])
    assert rows_of(written(hidden), named) == rows
    assert "s3cret" not in shown(hidden, None, named)


def test_what_only_looks_masked_is_shown_as_the_text_that_it_is() -> None:
    hidden, named = masked({"key": "s3cret", "to": "[masked]"}, [("key",)])
    assert rows_of(written(hidden), named) == [("key", MASKED), ("to", '"[masked]"')]


# Tables.


def test_columns_are_as_wide_as_their_widest_text_and_lines_as_the_terminal() -> None:
    assert table([("A", "B"), ("long", "x" * 30)], None) == ["A     B", "long  " + "x" * 30]
    assert table([("A", "B"), ("long", "x" * 30)], 12) == ["A     B", "long  xxxx…"]


@given(TEXTS, st.integers(4, 20))
def test_a_cut_text_fits(text: str, width: int) -> None:
    assert columns(cut(safe(text), width)) <= width
