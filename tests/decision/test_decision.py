"""The question to the engine and its answer: only what the policy reads is asked, only the exact shape is an answer."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from sidecar.decision.arguments import Projection, arguments_read
from sidecar.decision.decision import Decision, Violation, read_answer, read_visible, safe_reason
from sidecar.decision.question import question, question_about_list
from sidecar.errors import EngineUnavailable
from sidecar.mcp import jsonrpc
from sidecar.mcp.tool_call import ToolCall, read_call

ALLOW: dict[str, Any] = {
    "version": 1, "action": "allow", "kind": "allow", "rule": "", "reason": "", "violations": [], "reserve": [],
    "approval": None, "revision": "abc", "serial": 3,
}  # fmt: skip
VIOLATION = {"rule": "r", "reason": "Ask a person", "kind": "rule", "monitor": False}
MONITORED = VIOLATION | {"monitor": True}
DENY = ALLOW | {"action": "deny", "kind": "rule", "rule": "r", "reason": "Ask a person", "violations": [VIOLATION]}
GRANT = {"for": 3600, "calls": 10, "same": [["id"]], "at_most": [["order", "size"]]}
OTHER_GRANTS: list[dict[str, Any]] = [
    {"same": []}, {"same": [[]]}, {"at_most": [[None]]}, {"for": 0}, {"calls": 0}, {"more": 1},
]  # fmt: skip
APPROVAL = {"timeout": 1800, "use_within": 600, "approvers": 1, "content": "c1 c2", "grant": None}
ASK = ALLOW | {"action": "require_approval", "kind": "rule", "rule": "r", "reason": "Ask", "approval": APPROVAL}
RESERVE = {
    "counter": "t._rate_day", "amount": 1, "limit": 5, "window": "day", "scope": "global", "rule": "r",
    "reason": "Enough", "kind": "rate_limit",
}  # fmt: skip


def pay(arguments: str) -> ToolCall:
    """A call of the tool `pay`, read as the sidecar reads it."""
    line = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay","arguments":%s}}'
    request = jsonrpc.read((line % arguments).encode())
    assert isinstance(request, jsonrpc.Request)
    return read_call(request)


def replied(result: Any, **more: Any) -> bytes:
    return json.dumps({"result": result, **more}).encode()


# The question.


def test_a_question_is_the_input_document_with_numbers_as_they_were_written() -> None:
    assert question("okx", "pay", {"amount": msgspec.Raw(b"1.10")}) == (
        b'{"input":{"version":1,"method":"tools/call","server":"okx","tool":"pay","arguments":{"amount":1.10}}}'
    )


def test_a_question_about_a_call_holds_only_what_the_rules_of_its_tool_read() -> None:
    call = pay('{"amount":1e5,"pin":"x"}')
    assert question("okx", "pay", arguments_read(call, Projection([("amount",)]))).endswith(
        b'"arguments":{"amount":1e5}}}'
    )
    assert question("okx", "pay", arguments_read(call, Projection([]))).endswith(b'"arguments":{}}}')


def test_a_question_holds_the_totals_of_the_counters_that_are_read_as_exact_numbers() -> None:
    counters: dict[str, int | Decimal] = {"state.pay.spent": Decimal("1.10"), "state._global.calls": 10**30}
    assert question("okx", "pay", {}, counters).endswith(
        b'"arguments":{},"counters":{"state.pay.spent":1.10,"state._global.calls":%d}}}' % 10**30
    )


def test_a_question_says_what_rules_read_of_the_caller_and_how_the_arguments_are_called() -> None:
    caller = {"principal": {"claims": {"level": msgspec.Raw(b"1.50")}}, "workload": {"pod": "p"}}
    asked = question("okx", "pay", {"a": 1}, {"state.pay.n": 1}, keys=["a", "b"], caller=caller)
    assert asked.endswith(
        b'"arguments":{"a":1},"keys":["a","b"],'
        b'"principal":{"claims":{"level":1.50}},"workload":{"pod":"p"},"counters":{"state.pay.n":1}}}'
    )
    assert question("okx", "pay", {}, keys=[]).endswith(b'"arguments":{},"keys":[]}}')


def test_a_question_is_the_same_as_ever_where_nothing_of_that_is_read() -> None:
    assert question("s", "t", {}, keys=None, caller={}) == question("s", "t", {})
    assert json.loads(question("s", "t", {})) == {
        "input": {"version": 1, "method": "tools/call", "server": "s", "tool": "t", "arguments": {}}
    }


def test_a_question_about_a_list_holds_every_name_in_order() -> None:
    assert question_about_list("okx", ["b", "a", "b"]) == (
        b'{"input":{"version":1,"method":"tools/list","server":"okx","tools":["b","a","b"]}}'
    )


# The answer.


@pytest.mark.parametrize(
    "result",
    [
        ALLOW, DENY, ASK, ALLOW | {"reserve": [RESERVE, RESERVE | {"window": 60, "amount": 1.5, "exclusive": True}]},
        ALLOW | {"reserve": [RESERVE | {"limit": None}]}, ALLOW | {"violations": [MONITORED]},
        DENY | {"violations": [MONITORED, VIOLATION]}, ASK | {"reserve": [RESERVE]},
    ],
    ids=["allow", "deny", "ask", "allow and count", "count only", "report", "deny and report", "ask and count"],
)  # fmt: skip
def test_an_answer_of_the_agreed_shape_is_a_decision(result: dict[str, Any]) -> None:
    answer = read_answer(replied(result, decision_id="d-1"))
    assert answer.decision == msgspec.convert(result, Decision)
    assert (answer.engine_id, answer.remembered) == ("d-1", False)


@pytest.mark.parametrize("key", sorted(ALLOW))
def test_an_answer_without_one_of_its_keys_is_no_decision(key: str) -> None:
    result = {name: value for name, value in ALLOW.items() if name != key}
    assert failure(replied(result)) == "shape"


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2}, {"version": True}, {"version": "1"}, {"action": "Allow"}, {"action": "require_approval"},
        {"action": True}, {"kind": None}, {"approval": {"timeout": 1}}, {"serial": "3"}, {"violations": None},
        {"reserve": [RESERVE | {"amount": -1}]}, {"reserve": [RESERVE | {"amount": -0.5}]},
        {"reserve": [RESERVE | {"exclusive": 1}]},
        {"reserve": [RESERVE | {"amount": "NaN"}]}, {"reserve": [RESERVE | {"amount": "Infinity"}]},
        {"reserve": [RESERVE | {"limit": "NaN"}]},
        {"reserve": [RESERVE | {"window": 0}]}, {"reserve": [RESERVE | {"window": -60}]},
        {"reserve": [RESERVE | {"window": "week"}]}, {"reserve": [RESERVE | {"scope": "everyone"}]},
        {"reserve": [RESERVE | {"more": 1}]}, {"violations": [VIOLATION]}, {"allow": True},
        DENY | {"reason": ""}, DENY | {"reserve": [RESERVE]}, DENY | {"violations": []},
        DENY | {"violations": [MONITORED]}, DENY | {"approval": APPROVAL}, {"approval": APPROVAL},
        ASK | {"reason": ""}, ASK | {"approval": None}, ASK | {"violations": [VIOLATION]},
        ASK | {"approval": {"timeout": 1800, "use_within": 600}}, ASK | {"approval": APPROVAL | {"more": 1}},
        ASK | {"approval": APPROVAL | {"content": ""}}, ASK | {"approval": APPROVAL | {"approvers": 0}},
        ASK | {"approval": APPROVAL | {"timeout": 0}}, ASK | {"approval": APPROVAL | {"use_within": -1}},
        *(
            ASK | {"approval": {key: value for key, value in APPROVAL.items() if key != left_out}}
            for left_out in ("timeout", "use_within", "approvers", "content")
        ),
        *(
            ASK | {"approval": APPROVAL | {"grant": GRANT | other}}
            for other in OTHER_GRANTS
        ),
        ASK | {"approval": APPROVAL | {"grant": {}}},
    ],
    ids=str,
)  # fmt: skip
def test_an_answer_of_any_other_shape_is_no_decision(change: dict[str, Any]) -> None:
    assert failure(replied(ALLOW | change)) == "shape"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"true",
        b'{"result":true}',
        b'{"result":{}}',
        b'{"result":null}',
        b'{"result":',
        b"\xff",
        b"[" * 5000,
    ],
)
def test_a_reply_without_the_document_is_no_decision(body: bytes) -> None:
    assert failure(body) == "shape"


def test_an_answer_that_decided_nothing_is_no_decision() -> None:
    undecided = DENY | {"kind": "undecided", "revision": "", "serial": 0}
    assert failure(replied(undecided)) == "undecided"


# Lists.


LIST: dict[str, Any] = {
    "version": 1, "visible": ["a", "b"], "hidden": {"c": "(hidden)"}, "revision": "abc", "serial": 3,
}  # fmt: skip


def test_an_answer_about_a_list_says_of_every_tool_whether_it_is_shown() -> None:
    visible = read_visible(replied(LIST), ["b", "a", "c", "a"])
    assert (visible.visible, visible.hidden) == (("a", "b"), {"c": "(hidden)"})


@pytest.mark.parametrize(
    "change",
    [
        {"visible": ["a"]}, {"visible": ["a", "b", "c"]}, {"visible": ["a", "b", "d"]}, {"hidden": {}},
        {"hidden": ["c"]}, {"hidden": {"c": None}}, {"hidden": {"c": "", "d": ""}}, {"version": 2}, {"more": 1},
        {"visible": None}, {"visible": [1, 2]}, {"serial": None},
    ],
    ids=str,
)  # fmt: skip
def test_an_answer_about_other_tools_or_of_another_shape_is_none(change: dict[str, Any]) -> None:
    with pytest.raises(EngineUnavailable) as caught:
        read_visible(replied(LIST | change), ["a", "b", "c"])
    assert caught.value.kind == "shape"


@pytest.mark.parametrize("body", [b"", b"{}", b'{"result":null}', b"\xff", replied(ALLOW)])
def test_a_reply_that_is_about_no_list_is_no_answer_about_one(body: bytes) -> None:
    with pytest.raises(EngineUnavailable):
        read_visible(body, [])


def failure(body: bytes) -> str:
    """Why a reply is no answer."""
    with pytest.raises(EngineUnavailable) as caught:
        read_answer(body)
    return caught.value.kind


@pytest.mark.parametrize("kind", ["rule", "rate_limit", "spend_limit", "invalid_amount", "custom", "monitored"])
def test_the_words_of_an_author_stand_as_they_are_written(kind: str) -> None:
    assert safe_reason(Violation("r", "First line.\nSecond line.", kind, monitor=False)) == "First line.\nSecond line."


@pytest.mark.parametrize("kind", ["default_deny", "hidden"])
def test_the_name_that_a_client_wrote_is_one_line(kind: str) -> None:
    assert safe_reason(Violation("", "Tool a\nb", kind, monitor=False)) == "Tool a\\nb"
