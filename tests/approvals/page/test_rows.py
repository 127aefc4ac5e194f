"""A JSON document as rows: all of it, as it was written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.approvals.page.rows import MAX_PATHS, MAX_ROWS, WHOLE, Row, first_rows, row_at, rows_of
from sidecar.policy import paths

LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=20)
DOCUMENTS = st.dictionaries(
    st.text(max_size=8),
    st.recursive(
        LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_size=4,
)


def leaves(value: Any) -> list[Any]:
    """All that is no list and no object, and empty ones."""
    if isinstance(value, dict) and value:
        return [leaf for inner in value.values() for leaf in leaves(inner)]
    if isinstance(value, list) and value:
        return [leaf for inner in value for leaf in leaves(inner)]
    return [value]


@given(DOCUMENTS)
def test_every_value_has_a_row_of_its_own(document: dict[str, Any]) -> None:
    rows = rows_of(json.dumps(document))
    values = leaves(document) if document else []
    assert len(rows) == len(values)
    assert len({row.path for row in rows}) == len(rows)
    for row, value in zip(rows, values, strict=True):
        if isinstance(value, str):
            assert (row.kind, row.text) == ("text", value)
        else:
            assert (row.kind != "text", json.loads(row.text)) == (True, value)


@given(DOCUMENTS)
def test_a_path_of_a_policy_finds_what_stands_there(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    for key, value in document.items():
        found = row_at(text, paths.shown("args", (key,)))
        assert found is not None
        assert (found.text if found.kind == "text" else json.loads(found.text)) == value
    assert row_at(text, 'args["' + "no such key" * 3 + '"]') is None


def test_numbers_stay_as_they_were_written() -> None:
    assert rows_of('{"a":1.10,"b":[1e400,-0]}') == [
        Row("a", "number", "1.10"), Row("b[0]", "number", "1e400"), Row("b[1]", "number", "-0"),
    ]  # fmt: skip
    assert row_at('{"a":{"b":1.10}}', "args.a.b") == Row("args.a.b", "number", "1.10")
    assert row_at('{"a":{"b":1.10}}', "args.a") == Row("args.a", "object", '{"b":1.10}')
    assert row_at('{"a":[1]}', "args.a.b") is None
    assert row_at('{"a":[1]}', "args.a[*]") is None


def test_keys_that_could_be_taken_for_paths_stand_in_quotes() -> None:
    assert [row.path for row in rows_of('{"a.b":1,"a":{"b":1},"c[0]":1,"":1,"d":{"":1}}')] == [
        '["a.b"]', "a.b", '["c[0]"]', '[""]', 'd[""]',
    ]  # fmt: skip


def test_only_what_the_policy_hides_is_called_hidden() -> None:
    text = '{"key":"[masked]","Key":"[masked]","other":"[masked]","list":[{"k":"[masked]"}],"text":"[masked]"}'
    rows = rows_of(text, ("args.key", "args.list[*].k", "args.text.inside"))
    assert {row.path: row.masked for row in rows} == {
        "key": True, "Key": True, "other": False, "list[0].k": True, "text": True,
    }  # fmt: skip
    # A value that is there is no mask, whatever the policy says of its place.
    assert [row.masked for row in rows_of('{"key":"plain"}', ("args.key",))] == [False]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"k" * 20_000: [1] * 4_000}),
        json.dumps({"k" * (MAX_PATHS + 1): 1}),
        '{"' + '":{"'.join(["k" * 10_000] * 100) + '":1' + "}" * 100,
        json.dumps({"a": [1] * (MAX_ROWS + 1)}),
    ],
)
def test_a_document_never_makes_a_table_far_greater_than_itself(text: str) -> None:
    assert rows_of(text) == [Row(WHOLE, "object", text)]
    assert len(first_rows(text, (), 6)[0]) <= 6


def test_as_many_rows_as_there_may_be_are_rows() -> None:
    rows = rows_of(json.dumps({"a": [1] * MAX_ROWS}))
    assert (len(rows), rows[-1]) == (MAX_ROWS, Row(f"a[{MAX_ROWS - 1}]", "number", "1"))
    assert first_rows(json.dumps({"a": [1] * MAX_ROWS}), (), 6) == (rows[:6], MAX_ROWS - 6)


def test_no_key_looks_like_a_whole_document() -> None:
    assert [row.path for row in rows_of(json.dumps({WHOLE: 1}))] == [f'["{WHOLE}"]']
