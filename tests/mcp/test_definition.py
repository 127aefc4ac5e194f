"""Digests of the definitions of tools: another one exactly where the definition is another."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.mcp import jsonrpc
from sidecar.mcp.definition import digests
from sidecar.mcp.jsonrpc import Response


def listed(tools: str) -> Response:
    reply = jsonrpc.read(b'{"jsonrpc":"2.0","id":1,"result":{"tools":%b}}' % tools.encode())
    assert isinstance(reply, Response)
    return reply


def digest(tool: str) -> str:
    return digests(listed(f"[{tool}]"), {"t"})["t"]


ONE = '{"name":"t","inputSchema":{"a":1,"b":[1,2]},"description":"x"}'


@pytest.mark.parametrize("same", ['{"description":"\\u0078","inputSchema":{"b":[1,2],"a":1},"name":"t"}'])
def test_the_order_of_keys_and_escapes_count_for_nothing(same: str) -> None:
    assert digest(same) == digest(ONE)
    assert len(digest(ONE)) == 64


@pytest.mark.parametrize(
    "other",
    [
        ONE.replace('"x"', '"y"'), ONE.replace("[1,2]", "[2,1]"), ONE.replace('"a":1', '"a":1.0'),
        ONE.replace('"a":1', '"A":1'), ONE[:-1] + ',"annotations":{}}', ONE[:-1] + ',"_meta":{"k":1}}',
        f"{ONE},{ONE}",
    ],
)  # fmt: skip
def test_anything_else_is_another_definition(other: str) -> None:
    assert digest(other) != digest(ONE)


@pytest.mark.parametrize("result", [{}, [], None, {"tools": {}}, {"tools": [1, {}, {"name": 1}, {"name": "u"}]}])
def test_what_holds_no_definition_of_the_tool_gives_none(result: Any) -> None:
    assert digests(jsonrpc.result(1, result), {"t"}) == {}
