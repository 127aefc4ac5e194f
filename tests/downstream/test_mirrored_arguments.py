"""What lists of tools say about headers: the newest list counts, a bounded number of tools, for as long as is said."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.downstream import mirrored_arguments
from sidecar.downstream.mirrored_arguments import Marked
from sidecar.mcp import jsonrpc
from sidecar.mcp.jsonrpc import Response


def listed(*tools: Any) -> Response:
    return jsonrpc.result(1, {"tools": list(tools), "nextCursor": "x"})


def tool(name: str, token: str | None = None) -> dict[str, Any]:
    part = {"type": "string"} | ({"x-mcp-header": token} if token else {})
    return {"name": name, "inputSchema": {"properties": {"r": part}}}


def test_the_newest_list_that_names_a_tool_counts() -> None:
    tools = Marked()
    assert tools.of("a") is None
    tools.learn(listed(tool("a", "One"), tool("b")))
    tools.learn(listed(tool("c")))
    assert (tools.of("a"), tools.of("b"), tools.of("c")) == ({("r",): "One"}, {}, {})
    tools.learn(listed(tool("a", "Two")))
    assert tools.of("a") == {("r",): "Two"}


@pytest.mark.parametrize("name", [None, 1, [], "", "A", "a "])
def test_only_the_very_name_is_a_tools(name: Any) -> None:
    tools = Marked()
    tools.learn(listed(tool("a", "One")))
    assert tools.of(name) is None


@pytest.mark.parametrize(
    "reply",
    [
        jsonrpc.result(1, []), jsonrpc.result(1, None),
        jsonrpc.error(1, 1, "no"), jsonrpc.result(1, {}), jsonrpc.result(1, {"tools": {}}),
        listed(None), listed([]), listed({"inputSchema": {}}), listed({"name": 1}), listed(tool("n" * 1001)),
    ],
)  # fmt: skip
def test_what_is_no_list_says_nothing(reply: Response) -> None:
    tools = Marked()
    tools.learn(listed(tool("a", "One")))
    tools.learn(reply)
    assert tools.of("a") == {("r",): "One"}
    assert tools.of("n" * 1001) is None


def test_one_bad_tool_does_not_hide_the_others() -> None:
    tools = Marked()
    tools.learn(listed({"name": None}, tool("a", "One")))
    assert tools.of("a") == {("r",): "One"}


def test_a_bounded_number_of_tools_is_remembered_the_newest_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirrored_arguments, "MAX_TOOLS", 3)
    tools = Marked()
    for name in "abcad":
        tools.learn(listed(tool(name)))
    assert [name for name in "abcd" if tools.of(name) is not None] == ["a", "c", "d"]


def test_a_list_counts_for_as_long_as_is_said() -> None:
    now = [0.0]
    tools = Marked(60, lambda: now[0])
    tools.learn(listed(tool("a")))
    now[0] = 60.0
    assert tools.of("a") == {}
    now[0] = 60.1
    assert tools.of("a") is None
