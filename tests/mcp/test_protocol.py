"""The facts of the protocol: what a tool call is, which names are look-alikes, how a denial and an outcome look."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from sidecar.enforce import denial
from sidecar.errors import InvalidMessage
from sidecar.mcp import jsonrpc, protocol, tool_call, tool_list
from sidecar.mcp.jsonrpc import Notification, Request, Response
from sidecar.mcp.protocol import METHODS
from sidecar.mcp.tool_call import Outcome, ToolCall, read_call


def request(params: Any, method: str = "tools/call") -> Request:
    line = json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).encode()
    message = jsonrpc.read(line)
    assert isinstance(message, Request)
    return message


def response(**members: Any) -> Response:
    message = jsonrpc.read(json.dumps({"jsonrpc": "2.0", "id": 7} | members).encode())
    assert isinstance(message, Response)
    return message


# Methods.


@pytest.mark.parametrize("method", [*sorted(METHODS), "x", "tools/callback", "vendor/tools/call", "tools", "call", ""])
def test_a_method_that_is_known_or_like_no_known_one_passes(method: str) -> None:
    protocol.check_method(Request(7, method, None, b"", {}))
    protocol.check_method(Notification(method, None, b"", {}))


@pytest.mark.parametrize(
    "method",
    [
        "Tools/Call", "TOOLS/LIST", " tools/call", "tools/call ", "tools/ call", "tools/call\n", "tools/call\x00",
        "tools\u00a0/call", "tools/\u200bcall", "tools／call", "ｔools/call", "tools/ca\u2113l", "toolſ/call",
        "tools/call\u202e", "Notifications/Cancelled", "tools/list\ufeff", "logging/setlevel", "x\u200by",
        "tools/call\ufe0f", "tools\u034f/call", "/tools/call", "tools/call/", "tools//call", "//tools///call//",
        "tools\\call", "tools\\/call", "toolscall", "/ping", "ping/", "/Tools /Call/", "/notifications/cancelled",
        "resources//templates/list", "initialize/", "tools/./call", "tools/x/../call", "tools%2Fcall", "tools/call?x=1",
        "tools/call#a", "resources/read;v=1", "%2ftools%2fcall", "tools/call\u2028", "/ / tools/call",
        "x" * 257, "x/" + "\u0301\u0323" * 200_000,
    ],
)  # fmt: skip
def test_a_method_that_looks_like_a_known_one_is_refused(method: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        protocol.check_method(Request(7, method, None, b"", {}))
    assert (caught.value.code, caught.value.id) == (-32600, 7)
    with pytest.raises(InvalidMessage) as caught:
        protocol.check_method(Notification(method, None, b"", {}))
    assert (caught.value.code, caught.value.id) == (-32600, None)


# Tool calls.


def test_a_tool_call_is_its_name_its_arguments_and_the_bytes_to_send() -> None:
    message = request({"name": "look", "arguments": {"a": 1}, "_meta": {"progressToken": 1}, "future": [1]})
    assert read_call(message) == ToolCall(7, "look", {"a": 1}, False, message.raw, message.members["params"])


@pytest.mark.parametrize("params", [{"name": "look"}, {"name": "look", "arguments": None}])
def test_no_arguments_and_null_are_an_empty_object_and_sent_as_they_came(params: dict[str, Any]) -> None:
    call = read_call(request(params))
    assert call.arguments == {}
    assert json.loads(call.raw)["params"] == params


@pytest.mark.parametrize(
    "params",
    [
        None, {}, {"name": ""}, {"name": None}, {"name": 7}, {"name": ["look"]}, {"arguments": {}},
        {"name": "look", "arguments": []}, {"name": "look", "arguments": "{}"}, {"name": "look", "arguments": 1},
        {"name": "look", "arguments": 1.5}, {"name": "look", "arguments": False}, {"name": "look", "Name": "evil"},
        {"name": "look", "ARGUMENTS": {}}, {"name": "look", "argumentſ": {}}, {"name": "look", "tas\u212a": {}},
        {"name": "look", "_META": {}}, {"name": "look", "requeststate": ""}, {"name": "look", "inputresponses": {}},
    ],
)  # fmt: skip
def test_a_call_of_any_other_shape_is_refused_with_its_id(params: Any) -> None:
    with pytest.raises(InvalidMessage) as caught:
        read_call(request(params))
    assert (caught.value.code, caught.value.id) == (-32602, 7)


@pytest.mark.parametrize(
    ("version", "stateless"),
    [("2026-07-28", True), ("2027-01-01", True), ("2025-11-25", False), ("", False), (20260728, False), (None, False)],
)
def test_a_call_is_stateless_when_it_says_so_itself(version: Any, stateless: bool) -> None:
    meta = {"io.modelcontextprotocol/protocolVersion": version}
    assert read_call(request({"name": "look", "_meta": meta})).stateless is stateless


@pytest.mark.parametrize("tool", ["look", "place_order", "a.b-c/d", "a b", "naïve", "注文", "заказ", "x" * 500])
def test_a_tool_name_that_nobody_folds_is_not_odd(tool: str) -> None:
    assert not tool_call.is_odd_name(tool)


@pytest.mark.parametrize(
    "tool",
    [
        " look", "look ", "look\n", "lo\tok", "look\x00", "look\x7f", "look\x85", "\u00a0look", "look\u3000",
        "lo\u200bok", "lo\u00adok", "look\u202e", "\ufefflook", "look\u2028", "ｌook", "\ufb01nd", "x²", "e\u0301",
        "\u212aey", "\U000e006cook", "look\ufe0f", "lo\u034fok", "lo\u115fok", "look\U000e0100", "lo\u180bok", " ",
        "x" * 1025, "\u0301\u0323" * 200_000,
    ],
)  # fmt: skip
def test_a_tool_name_that_servers_may_fold_onto_another_is_odd(tool: str) -> None:
    assert tool_call.is_odd_name(tool)


# Answers.


@pytest.mark.parametrize("stateless", [True, False])
def test_a_denial_is_a_tool_result_that_a_model_can_read(stateless: bool) -> None:
    call = ToolCall("a", "look", {}, stateless, b"", {})
    expected: dict[str, Any] = {
        "content": [{"type": "text", "text": "[INTERCEPT POLICY DENIED] Ask a person"}],
        "isError": True,
        "_meta": {"intercept/decision": {"id": "d-1"}},
    }
    if stateless:
        expected["resultType"] = "complete"
    reply = json.loads(denial.denial(call, "Ask a person", {"id": "d-1"}).raw)
    assert reply == {"jsonrpc": "2.0", "id": "a", "result": expected}


NOTHING_RAN = (-32700, -32601, -32020, -32021, -32022)
MAY_HAVE_RUN: list[dict[str, Any]] = [
    *({"code": code, "message": "x"} for code in (-32000, -32600, -32602, -32603, -32019, -32023, -32042, 0, 32601)),
    *({"code": code, "message": "x"} for code in (-32601.0, "-32601", None, True, [-32601])),
    {},
]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (response(result={}), Outcome.SUCCEEDED),
        (response(result={"isError": False}), Outcome.SUCCEEDED),
        (response(result={"isError": "true"}), Outcome.SUCCEEDED),
        (response(result=[]), Outcome.SUCCEEDED),
        (response(result=None), Outcome.SUCCEEDED),
        (response(result={"resultType": "complete"}), Outcome.SUCCEEDED),
        (response(result={"isError": True}), Outcome.FAILED),
        (response(result={"resultType": "input_required"}), Outcome.NOT_RUN),
        *((response(error={"code": code, "message": "x"}), Outcome.NOT_RUN) for code in NOTHING_RAN),
        *((response(error=error), Outcome.ERROR) for error in MAY_HAVE_RUN),
    ],
)
def test_an_answer_says_how_the_call_ended(reply: Response, expected: Outcome) -> None:
    assert tool_call.outcome(reply) is expected


CLIENT = "io.modelcontextprotocol/clientInfo"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (request({"clientInfo": {"name": "claude", "version": "2"}}, "initialize"), ("claude", "claude", "2")),
        (request({"name": "look", "_meta": {CLIENT: {"name": "claude"}}}), ("claude", "claude", None)),
        (request({"clientInfo": {"name": "a\u202e"}}, "initialize"), ("a\\u202e", "a\u202e", None)),
        (request({"clientInfo": {"name": 7, "version": []}}, "initialize"), ("", True, True)),
        (request({"clientInfo": {"name": None}}, "initialize"), ("", None, None)),
        (request({"clientInfo": {"name": "claude"}}, "ping"), None),
        (request({"clientInfo": []}, "initialize"), None),
        (request({"_meta": []}), None),
        (request(None), None),
    ],
)
def test_a_client_is_what_it_says_of_itself_where_it_may_say_it(message: Request, said: Any) -> None:
    assert protocol.client_info(message) == (None if said is None else protocol.ClientInfo(*said))


def test_what_a_client_says_at_length_is_no_text_for_rules() -> None:
    longest = "x" * protocol.MAX_SAID
    for text, said in ((longest, longest), (longest + "x", True)):
        about = protocol.client_info(request({"clientInfo": {"name": text, "version": text}}, "initialize"))
        assert about is not None
        assert (about.name, about.version, len(about.shown) < 150) == (said, said, True)


def test_the_tools_of_a_list_are_those_that_have_a_name() -> None:
    tools = [{"name": "a"}, {"name": 7}, {}, None, {"name": "b"}]
    assert tool_list.listed_tools(response(result={"tools": tools})) == ["a", "b"]


@pytest.mark.parametrize("result", [None, [], {}, {"tools": None}, {"tools": {"name": "a"}}])
def test_an_answer_that_is_no_list_of_tools_names_none(result: Any) -> None:
    assert tool_list.listed_tools(response(result=result)) == []


# Filtered lists.


def tools(*names: str, **more: Any) -> dict[str, Any]:
    return {"tools": [{"name": name, "x": 1.5} for name in names], **more}


def test_a_filtered_list_keeps_everything_but_the_hidden_tools() -> None:
    reply = response(result=tools("a", "b", "c", "b", "a", nextCursor="n", _meta={"k": [1]}, future=True))
    assert json.loads(tool_list.filtered(reply, frozenset({"b"})).raw) == {
        "jsonrpc": "2.0", "id": 7, "result": tools("a", "c", "a", nextCursor="n", _meta={"k": [1]}, future=True)
    }  # fmt: skip


@pytest.mark.parametrize(("scope", "kept"), [("public", "private"), ("private", "private"), ("other", "other")])
def test_a_filtered_list_is_nobody_elses(scope: str, kept: str) -> None:
    reply = json.loads(tool_list.filtered(response(result=tools("a", cacheScope=scope)), frozenset()).raw)
    assert reply["result"]["cacheScope"] == kept


@pytest.mark.parametrize(
    "result",
    [None, [], {}, {"tools": None}, {"tools": {"a": {}}}, {"Tools": []}, tools("a", Tools=[]), tools("a", TOOLS=None)],
)
def test_what_is_no_list_cannot_be_filtered(result: Any) -> None:
    with pytest.raises(ValueError, match="list of tools"):
        tool_list.filtered(response(result=result), frozenset({"b"}))


@pytest.mark.parametrize("entry", [None, "b", ["b"], {"name": ["b"]}, {"name": {"b": 1}}, {"name": 7}, {}], ids=str)
def test_what_has_no_name_is_in_no_filtered_list(entry: Any) -> None:
    reply = response(result={"tools": [entry, {"name": "a"}]})
    assert json.loads(tool_list.filtered(reply, frozenset({"b"})).raw)["result"] == {"tools": [{"name": "a"}]}


def test_an_answer_that_asks_for_approval_is_an_error_with_the_facts() -> None:
    call = ToolCall("a", "look", {}, False, b"", {})
    assert json.loads(denial.approval_required(call, "Ask a person", {"id": "d-1"}, as_result=False).raw) == {
        "jsonrpc": "2.0", "id": "a",
        "error": {"code": -32003, "message": "[INTERCEPT APPROVAL REQUIRED] Ask a person", "data": {"id": "d-1"}},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("params", "id_"),
    [
        ({"requestId": 7}, 7), ({"requestId": "7"}, "7"), ({"requestId": True}, None), ({"requestId": None}, None),
        ({"requestId": [7]}, None), ({"requestId": msgspec.Raw(b"7.0")}, None), ({}, None), (None, None),
    ],
)  # fmt: skip
def test_a_cancel_names_a_text_or_an_integer(params: dict[str, Any] | None, id_: Any) -> None:
    named = protocol.cancelled_id(Notification("notifications/cancelled", params, b"", {}))
    assert (type(named), named) == (type(id_), id_)
