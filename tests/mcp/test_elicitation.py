"""Pages to open as messages: what is ours in a repeated call is taken out, whatever a client makes of it."""

from __future__ import annotations

import base64
import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import InvalidMessage
from sidecar.mcp import elicitation, jsonrpc
from sidecar.mcp.approval_binding import bound
from sidecar.mcp.jsonrpc import Request
from sidecar.mcp.strict_json import encode
from sidecar.mcp.tool_call import Prepared, read_call
from tests.mcp.calls import values
from tests.support.fuzzing import examples

URL: Final = "https://desk.example/approvals/apr_1"
OURS: Final = "intercept-approval."


def request(params: dict[str, Any], id_: Any = 7) -> Request:
    found = jsonrpc.read(encode({"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": params}))
    assert isinstance(found, Request)
    return found


def state_for(params: dict[str, Any]) -> str:
    """Our state in the answer to a call with these parameters."""
    reply = elicitation.input_required(read_call(request(params)), "apr_1", URL, "Ask")
    state = reply.result["requestState"]
    assert isinstance(state, str)
    return state


def test_a_result_that_asks_for_a_page_is_what_the_protocol_has_for_it() -> None:
    reply = elicitation.input_required(read_call(request({"name": "t"})), "apr_1", URL, "Ask")
    assert json.loads(reply.raw) == {
        "jsonrpc": "2.0",
        "id": 7,
        "result": {
            "resultType": "input_required",
            "inputRequests": {
                "intercept-approval": {
                    "method": "elicitation/create", "params": {"mode": "url", "url": URL, "message": "Ask"}
                }
            },
            "requestState": f"{OURS}apr_1.",
        },
    }  # fmt: skip


def test_a_repeated_call_has_its_own_id_and_keeps_what_was_worked_out_for_it() -> None:
    first = request({"name": "t", "arguments": {"a": 1}})
    again = request({"name": "t", "arguments": {"a": 1}, "requestState": f"{OURS}apr_1."}, id_=8)
    prepared = Prepared(**{key: getattr(again, key) for key in again.__struct_fields__}, arguments_hash="h")
    found = elicitation.resumed(prepared)
    assert (found.id, found.raw) == (8, first.raw.replace(b":7,", b":8,"))
    assert isinstance(found, Prepared)
    assert found.arguments_hash == "h"


@pytest.mark.parametrize(
    "kept",
    [
        "[]", "7", "null", '{"name":"u"}', '{"a":1}', '{"requestState":1,"requestState":2}', '{"inputResponses":NaN}',
        "{", '{"requestState":"intercept-approval.x."}',
    ],
)  # fmt: skip
def test_a_state_that_holds_anything_else_is_refused_with_the_id(kept: str) -> None:
    state = f"{OURS}apr_1.{base64.urlsafe_b64encode(kept.encode()).decode()}"
    with pytest.raises(InvalidMessage, match="repeat the call without it") as refused:
        elicitation.resumed(request({"name": "t", "requestState": state}))
    assert (refused.value.id, refused.value.code) == (7, -32602)


def test_what_was_kept_may_not_be_deeper_than_a_message_may_be() -> None:
    deep: Any = 1
    for _ in range(127):
        deep = [deep]
    state = f"{OURS}apr_1.{base64.urlsafe_b64encode(encode({'inputResponses': deep})).decode()}"
    with pytest.raises(InvalidMessage, match="nested deeper"):
        elicitation.resumed(request({"name": "t", "requestState": state}))


NAMES: Final = st.sampled_from(["name", "arguments", "_meta", "task", "x"])
ROUNDS: Final = st.fixed_dictionaries({}, optional={"inputResponses": values, "requestState": values})


@pytest.mark.fuzz
def test_what_a_call_was_bound_to_comes_back_whatever_the_client_adds_to_our_round() -> None:
    @examples(300)
    @given(st.dictionaries(NAMES, values, max_size=4), ROUNDS, values)
    def compare(others: dict[str, Any], own: dict[str, Any], answers: Any) -> None:
        params = {**others, "name": "t", "arguments": {}, **own}
        call = read_call(request(params))
        again = {**others, "name": "t", "arguments": {}, "requestState": state_for(params), "inputResponses": answers}
        found = elicitation.resumed(request(again))
        assert bound(found.params or {}) == bound(call.params)
        assert not elicitation.is_resumed(found)
        assert jsonrpc.read(found.raw) == Request(7, "tools/call", found.params, found.raw, found.members)

    compare()


@pytest.mark.fuzz
def test_no_state_that_a_client_makes_up_leaves_anything_of_ours() -> None:
    @examples(500)
    @given(
        st.text(max_size=20) | st.binary(max_size=30).map(lambda data: "." + base64.urlsafe_b64encode(data).decode())
    )
    def compare(text: str) -> None:
        try:
            found = elicitation.resumed(request({"name": "t", "requestState": OURS + text, "inputResponses": {"a": 1}}))
        except InvalidMessage:
            return
        assert b"intercept" not in found.raw
        assert not elicitation.is_resumed(found)

    compare()


@pytest.mark.parametrize(
    ("method", "params", "takes"),
    [
        ("initialize", {"capabilities": {"elicitation": {"url": {}}}}, True),
        ("initialize", {"capabilities": {"elicitation": {}}}, False), ("initialize", {"capabilities": []}, False),
        ("initialize", {}, False), ("tools/call", {"capabilities": {"elicitation": {"url": {}}}}, None),
        ("tools/call", {"_meta": {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {"url": {}}}}}, True),
        ("tools/call", {"_meta": {"io.modelcontextprotocol/clientCapabilities": None}}, False),
        ("tools/call", {"_meta": []}, None), ("tools/call", None, None),
    ],
)  # fmt: skip
def test_what_a_client_says_of_pages(method: str, params: Any, takes: bool | None) -> None:
    assert elicitation.takes_urls(jsonrpc.request(1, method, params)) is takes
