"""What a policy reads of the arguments: nothing else is asked about, and no key that a server could take for it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.decision.arguments import Projection, arguments_read
from sidecar.errors import InvalidMessage
from sidecar.mcp.tool_call import ToolCall
from tests.engine.asking import tool_call
from tests.support.fuzzing import examples

Path = tuple[str, ...]


def project(arguments: dict[str, Any], paths: list[Path]) -> dict[str, Any]:
    return Projection(paths).of(arguments)


@pytest.mark.parametrize(
    ("arguments", "paths", "kept"),
    [
        ({"a": 1, "b": 2}, [("a",)], {"a": 1}),
        ({"a": 1}, [], {}),
        ({"a": None}, [("a",)], {"a": None}),
        ({"b": 1}, [("a",)], {}),
        ({"a": {"b": 1, "c": 2}, "d": 3}, [("a", "b")], {"a": {"b": 1}}),
        ({"a": {"b": 1, "c": 2}}, [("a", "b"), ("a", "c")], {"a": {"b": 1, "c": 2}}),
        ({"a": {"b": {"c": [1, {"d": 2}]}}}, [("a", "b")], {"a": {"b": {"c": [1, {"d": 2}]}}}),
        ({"a": {"b": 1, "c": 2}}, [("a", "b"), ("a",)], {"a": {"b": 1, "c": 2}}),
        ({"a": {"c": 1}}, [("a", "b")], {"a": {}}),
        ({"a": None}, [("a", "b")], {}),
        ({"a": None}, [("a", "b"), ("a",)], {"a": None}),
        ({"": 1}, [("",)], {"": 1}),
    ],
)
def test_what_lies_on_the_paths_is_kept(arguments: dict[str, Any], paths: list[Path], kept: Any) -> None:
    assert project(arguments, paths) == kept


@pytest.mark.parametrize("value", [[{"b": 1}], "text", '{"b":1}', 0, False, 1.5, []])
def test_of_what_is_in_the_way_only_that_it_is_there_is_told(value: Any) -> None:
    assert project({"a": value}, [("a", "b")]) == {"a": []}
    assert project({"x": {"a": value}}, [("x", "a", "b", "c")]) == {"x": {"a": []}}
    assert project({"a": value}, [("a", "b"), ("a",)]) == {"a": value}


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({"amount": 1, "Amount": 2}, ("amount",)),
        ({"Amount": 1, "AMOUNT": 2}, ("amount",)),
        ({"order": {"Size": 1, "size": 2}}, ("order", "size")),
        ({"order": {"size": 1}, "Order": {"size": 2}}, ("order", "size")),
        ({"key": 1, "\u212aey": 2}, ("key",)),
    ],
)
def test_two_keys_that_differ_only_in_case_are_refused_where_a_rule_reads_one(
    arguments: dict[str, Any], path: Path
) -> None:
    with pytest.raises(ValueError, match="only in case"):
        project(arguments, [path])


@pytest.mark.parametrize(
    ("arguments", "paths"),
    [
        ({"Amount": 1}, [("amount",)]),
        ({"AMOUNT": None, "x": 1}, [("amount",), ("x",)]),
        ({"order": {"Size": 1}}, [("order", "size")]),
        ({"order": {"Size": 1}}, [("order",), ("order", "size")]),
        ({"Order": {"size": 1}}, [("order", "size")]),
        ({"Order": {"size": 1}}, [("order", "size"), ("x", "Order")]),
        ({"\u212aey": 1}, [("key",)]),
        ({"\u017fize": 1}, [("size",)]),
        ({"s\u0131ze": 1}, [("size",)]),
        ({"STRASSE": 1}, [("straße",)]),
        ({"_force": 1, "Force": 1}, [("force",)]),
    ],
)
def test_a_key_that_differs_only_in_case_from_one_that_a_rule_reads_is_refused_alone_too(
    arguments: dict[str, Any], paths: list[Path]
) -> None:
    with pytest.raises(ValueError, match="only in case"):
        project(arguments, paths)


def test_a_spelling_that_a_rule_reads_too_is_no_look_alike_but_both_at_once_are() -> None:
    paths = [("force",), ("Force", "now"), ("x", "force")]
    assert project({"Force": {"now": 1}}, paths) == {"Force": {"now": 1}}
    assert project({"force": 1}, paths) == {"force": 1}
    refused: list[dict[str, Any]] = [{"force": 1, "Force": {"now": 1}}, {"Force": {}, "force": None}, {"FORCE": 1}]
    for arguments in refused:
        with pytest.raises(ValueError, match="only in case from 'Force' or 'force', which"):
            project(arguments, paths)


def test_keys_that_differ_only_in_case_are_the_servers_matter_where_no_rule_reads_them() -> None:
    arguments = {"note": {"x": 1, "X": 2}, "b": 1, "B": 2, "amount": 1, "C": 1}
    assert project(arguments, [("amount",), ("note",)]) == {"amount": 1, "note": {"x": 1, "X": 2}}


def test_the_refusal_of_a_key_has_the_id_and_no_value() -> None:
    for arguments in ({"a": "v1", "A": "v2"}, {"A": "v1"}):
        with pytest.raises(InvalidMessage, match="differs only in case from 'a', which") as caught:
            arguments_read(ToolCall(1, "pay", arguments, False, b""), Projection([("a",)]))
        assert (caught.value.code, caught.value.id) == (-32602, 1)
        assert "v1" not in str(caught.value)
        assert "v2" not in str(caught.value)


def test_the_order_of_the_arguments_is_no_part_of_what_is_read() -> None:
    paths = [("b",), ("a", "d"), ("a", "c")]
    one, other = {"a": {"c": 1, "d": 2}, "b": 3}, {"b": 3, "a": {"d": 2, "c": 1}}
    assert str(project(one, paths)) == str(project(other, paths))


# Held against the paths one by one.

keys = st.sampled_from(["a", "A", "b", "\u017f", "s", "ss", "ß", "i", "\u0131"])
values: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([None, 0, "x", []]), lambda inner: st.dictionaries(keys, inner, max_size=3), max_leaves=8
)
ways = st.lists(st.lists(keys, min_size=1, max_size=3).map(tuple), max_size=4)


def at(arguments: Any, path: Path) -> Any:
    """What stands at a path; `...` where nothing does, `[]` where something is in the way."""
    for step in path:
        if type(arguments) is not dict:
            return ... if arguments is None else []
        if step not in arguments:
            return ...
        arguments = arguments[step]
    return arguments


def look_alike(arguments: dict[str, Any], paths: list[Path]) -> bool:
    """True when somewhere on a path a key stands beside or in place of a step that it differs from only in case."""
    for path in paths:
        for depth, step in enumerate(path):
            there = at(arguments, path[:depth])
            read = {other[depth] for other in paths if len(other) > depth and other[:depth] == path[:depth]}
            twins = (
                [key for key in there if key.upper().casefold() == step.upper().casefold()]
                if type(there) is dict
                else []
            )
            if len(twins) > 1 or set(twins) - read:
                return True
    return False


@pytest.mark.fuzz
@examples(300)
@given(st.dictionaries(keys, values, max_size=4), ways)
def test_what_is_read_is_what_stands_at_each_path_or_the_call_is_refused(
    arguments: dict[str, Any], paths: list[Path]
) -> None:
    try:
        kept = project(arguments, paths)
    except ValueError:
        assert look_alike(arguments, paths)
        return
    assert not look_alike(arguments, paths)
    for path in paths:
        assert at(kept, path) == at(arguments, path)


@pytest.mark.parametrize("value", ['"mallory\\u0000x"', '["a",{"b":"\\u0000"}]'])
def test_a_text_with_a_nul_character_is_refused_where_a_rule_reads_it(value: str) -> None:
    # To servers in C it ends there.
    call = tool_call("t", f'{{"to":{value},"note":"x\\u0000y"}}')
    with pytest.raises(InvalidMessage):
        arguments_read(call, Projection([("to",)]))
    assert arguments_read(call, Projection([("amount",)])) == {}
