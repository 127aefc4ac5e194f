"""What a policy reads of the arguments: nothing else is asked about, and no key that a server could take for it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.decision.arguments import Projection, arguments_read
from sidecar.errors import InvalidMessage
from sidecar.mcp.tool_call import ToolCall
from sidecar.policy.paths import EACH, Path
from tests.engine.asking import tool_call
from tests.support.fuzzing import examples


def project(arguments: dict[str, Any], paths: Sequence[Path]) -> dict[str, Any]:
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
    assert project({"a": value}, [("a", "b")]) == {"a": True}
    assert project({"x": {"a": value}}, [("x", "a", "b", "c")]) == {"x": {"a": True}}
    assert project({"a": value}, [("a", "b"), ("a",)]) == {"a": value}


@pytest.mark.parametrize(
    ("arguments", "paths", "kept"),
    [
        ({"o": [{"a": 1, "b": 2}, {"b": 3}]}, [("o", EACH, "a")], {"o": [{"a": 1}, {}]}),
        ({"o": [{"a": 1, "b": 2, "c": 3}]}, [("o", EACH, "a"), ("o", EACH, "b")], {"o": [{"a": 1, "b": 2}]}),
        ({"o": [2, 1, 2, None]}, [("o", EACH)], {"o": [2, 1, 2, None]}),
        ({"o": []}, [("o", EACH, "a")], {"o": []}),
        ({"o": None}, [("o", EACH, "a")], {}),
        ({}, [("o", EACH, "a")], {}),
        ({"o": [{"a": 1, "b": 2}]}, [("o", EACH, "a"), ("o",)], {"o": [{"a": 1, "b": 2}]}),
        ({"o": [{"a": 1, "b": 2}]}, [("o", EACH, "a"), ("o", EACH)], {"o": [{"a": 1, "b": 2}]}),
        ({"o": [[{"a": 1, "b": 2}], []]}, [("o", EACH, EACH, "a")], {"o": [[{"a": 1}], []]}),
        ({"o": [{"p": [{"a": 1, "b": 2}], "q": 1}]}, [("o", EACH, "p", EACH, "a")], {"o": [{"p": [{"a": 1}]}]}),
        ({"o": {"p": [1, {"a": 1, "b": 2}]}}, [("o", "p", EACH, "a")], {"o": {"p": [True, {"a": 1}]}}),
    ],
)
def test_of_each_element_of_a_list_is_kept_what_lies_on_the_paths(
    arguments: dict[str, Any], paths: list[Path], kept: Any
) -> None:
    assert project(arguments, paths) == kept


@pytest.mark.parametrize("value", [{"a": 1}, {}, "text", '[{"a":1}]', 0, False, True])
def test_of_what_is_there_instead_of_a_list_only_that_it_is_there_is_told(value: Any) -> None:
    assert project({"o": value}, [("o", EACH, "a")]) == {"o": True}
    assert project({"o": [value]}, [("o", EACH, EACH)]) == {"o": [True]}
    assert project({"o": value}, [("o", EACH), ("o",)]) == {"o": value}


def test_elements_that_a_step_cannot_lead_into_stay_in_their_places() -> None:
    elements: list[Any] = [None, {"a": 1, "b": 2}, "{}", None, [], 5]
    assert project({"o": elements}, [("o", EACH, "a")]) == {"o": [None, {"a": 1}, True, None, True, True]}


def test_where_one_path_says_object_and_another_list_each_value_is_in_the_way_of_the_other() -> None:
    paths: list[Path] = [("o", EACH, "a"), ("o", "b")]
    assert project({"o": [{"a": 1, "b": 2}]}, paths) == {"o": [{"a": 1}]}
    assert project({"o": {"a": 1, "b": 2}}, paths) == {"o": {"b": 2}}
    assert project({"o": "text"}, paths) == {"o": True}


def test_the_arguments_themselves_are_no_list() -> None:
    assert project({"a": 1}, [(EACH, "a"), (EACH,)]) == {}


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({"amount": 1, "Amount": 2}, ("amount",)),
        ({"Amount": 1, "AMOUNT": 2}, ("amount",)),
        ({"order": {"Size": 1, "size": 2}}, ("order", "size")),
        ({"order": {"size": 1}, "Order": {"size": 2}}, ("order", "size")),
        ({"key": 1, "\u212aey": 2}, ("key",)),
        ({"o": [{"a": 1}, {"a": 1, "A": 2}]}, ("o", EACH, "a")),
        ({"o": [[], [{"x": {"a": 1, "A": 2}}]]}, ("o", EACH, EACH, "x", "a")),
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
        ({"o": [{"a": 1}, {"A": 1}]}, [("o", EACH, "a")]),
        ({"o": [{"A": 1}]}, [("o", EACH, "a"), ("o",)]),
        ({"o": [{"A": 1}]}, [("o", EACH, "a"), ("o", EACH)]),
        ({"O": [{"a": 1}]}, [("o", EACH, "a")]),
        ({"o": [[{"p": [{"A": 1}]}]]}, [("o", EACH, EACH, "p", EACH, "a")]),
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


def test_a_name_that_a_rule_permits_has_no_look_alike_though_nothing_is_read_there() -> None:
    projection = Projection([("a",)], ["a", "instId"])
    assert projection.of({"a": 1, "instId": "x", "other": 2}) == {"a": 1}
    refused: list[dict[str, Any]] = [{"InstId": "x"}, {"instId": "x", "INSTID": "y"}, {"A": 1}]
    for arguments in refused:
        with pytest.raises(ValueError, match="only in case from"):
            projection.of(arguments)
    assert Projection([], ["instId", "InstId"]).of({"InstId": "x"}) == {}


def test_where_nobody_else_chose_the_keys_each_is_another_one() -> None:
    projection = Projection([("claims", "groups"), ("claims", "x", EACH, "a")], guarded=False)
    claims = {"groups": 1, "Groups": 2, "x": [{"a": 1, "A": 2}], "X": 1}
    assert projection.of({"claims": claims, "Claims": 1}) == {"claims": {"groups": 1, "x": [{"a": 1}]}}


def test_the_refusal_of_a_key_has_the_id_and_no_value() -> None:
    for arguments in ({"a": "v1", "A": "v2"}, {"A": "v1"}):
        with pytest.raises(InvalidMessage, match="differs only in case from 'a', which") as caught:
            arguments_read(ToolCall(1, "pay", arguments, False, b"", {}), Projection([("a",)]))
        assert (caught.value.code, caught.value.id) == (-32602, 1)
        assert "v1" not in str(caught.value)
        assert "v2" not in str(caught.value)


def test_the_order_of_the_arguments_is_no_part_of_what_is_read() -> None:
    paths = [("b",), ("a", "d"), ("a", "c")]
    one, other = {"a": {"c": 1, "d": 2}, "b": 3}, {"b": 3, "a": {"d": 2, "c": 1}}
    assert str(project(one, paths)) == str(project(other, paths))


# Held against the whole arguments: what stands at a path, as rules find it, is the same in what is kept.

keys = st.sampled_from(["a", "A", "b", "\u017f", "s", "ss", "ß", "i", "\u0131"])
values: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([None, 0, "x", True, [], {}]),
    lambda inner: st.dictionaries(keys, inner, max_size=3) | st.lists(inner, max_size=3),
    max_leaves=10,
)
ways = st.lists(
    st.tuples(keys, st.lists(keys | st.just(EACH), max_size=4)).map(lambda way: (way[0], *way[1])), max_size=4
)
NOTHING, IN_THE_WAY = ("nothing",), ("in the way",)


def ends(value: Any, path: Path) -> list[Any]:
    """What rules find at a path, for each element that it leads to; which value is in the way they cannot tell."""
    if not path:
        return [value]
    step, rest = path[0], path[1:]
    if value is None:
        return [NOTHING]
    if step is EACH:
        return [end for element in value for end in ends(element, rest)] if type(value) is list else [IN_THE_WAY]
    if type(value) is not dict:
        return [IN_THE_WAY]
    return ends(value[step], rest) if step in value else [NOTHING]


def look_alike(value: Any, paths: list[Path]) -> bool:
    """True when somewhere on a path a key stands beside or in place of a step that it differs from only in case."""
    into: dict[Any, list[Path]] = {}
    for path in paths:
        if path:
            into.setdefault(path[0], []).append(path[1:])
    if type(value) is list:
        return any(look_alike(element, into.get(EACH, [])) for element in value)
    if type(value) is not dict:
        return False
    read = into.keys() - {EACH}
    for step in read:
        twins = [key for key in value if key.upper().casefold() == step.upper().casefold()]
        if len(twins) > 1 or set(twins) - read:
            return True
    return any(look_alike(value[step], into[step]) for step in read if step in value)


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
        assert repr(ends(kept, path)) == repr(ends(arguments, path))


def numbered(value: Any, numbers: Iterator[int]) -> Any:
    """The value with another number in the place of each number and text."""
    if type(value) is dict:
        return {key: numbered(inner, numbers) for key, inner in value.items()}
    if type(value) is list:
        return [numbered(inner, numbers) for inner in value]
    return value if value is None or value is True else next(numbers)


@pytest.mark.fuzz
@examples(100)
@given(st.dictionaries(keys, values, max_size=4), ways)
def test_no_value_is_read_that_stands_at_no_path(arguments: dict[str, Any], paths: list[Path]) -> None:
    arguments = numbered(arguments, count(100))
    try:
        kept = project(arguments, paths)
    except ValueError:
        return
    found = [ends(arguments, path) for path in paths]
    assert set(re.findall("[0-9]+", repr(kept))) <= set(re.findall("[0-9]+", repr(found)))


@pytest.mark.parametrize("value", ['"mallory\\u0000x"', '["a",{"b":"\\u0000"}]'])
def test_a_text_with_a_nul_character_is_refused_where_a_rule_reads_it(value: str) -> None:
    # To servers in C it ends there.
    call = tool_call("t", f'{{"to":{value},"note":"x\\u0000y"}}')
    with pytest.raises(InvalidMessage):
        arguments_read(call, Projection([("to",)]))
    assert arguments_read(call, Projection([("amount",)])) == {}


def test_a_text_with_a_nul_character_may_stand_where_what_reads_it_judges_that_itself() -> None:
    read, no_nul = Projection([("path",), ("o",), ("o", "path")]), Projection([("o",)])
    call = tool_call("t", '{"path":"/a\\u0000","o":{"path":"/a"}}')
    assert arguments_read(call, read, no_nul) == {"path": "/a\0", "o": {"path": "/a"}}
    with pytest.raises(InvalidMessage):
        arguments_read(tool_call("t", '{"path":"/a","o":{"path":"/a\\u0000"}}'), read, no_nul)


# Paths beside: read too, and nothing is refused for them.

BESIDE = st.lists(st.lists(st.sampled_from(["a", "A", "b", EACH]), min_size=1, max_size=3).map(tuple), max_size=4)
DOCUMENTS = st.recursive(
    st.sampled_from([None, 1, "x"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "A", "b", "B"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(BESIDE, BESIDE, st.sets(st.sampled_from(["a", "B"])), st.dictionaries(st.sampled_from("aAbB"), DOCUMENTS))
def test_what_stands_beside_refuses_nothing_and_hides_nothing(
    paths: list[Path], beside: list[Path], names: set[str], document: dict[str, Any]
) -> None:
    alone, both = Projection(paths, names), Projection(paths, names, beside=beside)
    try:
        kept = alone.of(document)
    except ValueError as problem:
        with pytest.raises(ValueError, match=re.escape(str(problem))):
            both.of(document)
        return
    every = Projection([*paths, *beside], guarded=False).of(document)
    assert both.of(document) == every
    assert alone.of(both.of(document)) == kept
