"""Which arguments tools do not declare: said only where a definition says all, whatever a server wrote."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.mcp.declared import undeclared

WANTED = {"t": frozenset({"a", "b"})}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["t", "a", "b", "object"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "inputSchema", "properties", "allOf", "additionalProperties", "a", "b"]), inner,
            max_size=4,
        )
    ),
)  # fmt: skip


def tool(schema: Any) -> dict[str, Any]:
    return {"name": "t", "inputSchema": schema}


@pytest.mark.parametrize("more", [{}, {"additionalProperties": False}, {"type": "object", "required": ["a"]}])
def test_what_stands_in_no_property_is_not_declared(more: Any) -> None:
    assert undeclared([tool({"properties": {"a": {}}, **more})], WANTED) == {"t": {"b"}}
    assert undeclared([tool({"properties": {"a": {}, "b": {}, "c": {}}, **more})], WANTED) == {"t": frozenset()}


OTHERS: tuple[dict[str, Any], ...] = (
    {"additionalProperties": True}, {"additionalProperties": {}}, {"patternProperties": {}}, {"allOf": []},
    {"$ref": "#/x"}, {"oneOf": []}, {"if": {}},
)  # fmt: skip


@pytest.mark.parametrize(
    "schema",
    [
        None, {}, [], "x", True, {"properties": {}}, {"properties": None}, {"properties": ["a"]},
        *({"properties": {"a": {}}, **more} for more in OTHERS),
    ],
)  # fmt: skip
def test_a_definition_that_does_not_say_all_says_nothing(schema: Any) -> None:
    assert undeclared([tool(schema)], WANTED) == {"t": frozenset()}
    twice = [tool({"properties": {"z": {}}}), tool(schema), tool({"properties": {"z": {}}})]
    assert undeclared(twice, WANTED) == {"t": frozenset()}


def test_of_a_tool_that_stands_twice_both_definitions_count() -> None:
    assert undeclared([tool({"properties": {"a": {}}}), tool({"properties": {"c": {}}})], WANTED) == {"t": {"b"}}


def test_tools_of_which_nothing_is_wanted_are_left_out() -> None:
    assert undeclared([{"name": "u", "inputSchema": {"properties": {"z": {}}}}, {"name": ["t"]}, None], WANTED) == {}


@given(st.lists(JSON | st.builds(tool, JSON), max_size=4))
def test_whatever_a_server_writes_only_what_was_wanted_is_told(definitions: list[Any]) -> None:
    for name, arguments in undeclared(definitions, WANTED).items():
        assert arguments <= WANTED[name]
