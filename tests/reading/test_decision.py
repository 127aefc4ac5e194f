"""The question to the engine and its answer: only what the policy reads is asked, only the exact shape is an answer."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from sidecar import jsonrpc, protocol
from sidecar.decision import Decision, project, question, question_about, read_answer
from sidecar.errors import EngineUnavailable, InvalidMessage
from sidecar.policy.bundle import Bundle, Terms

ALLOW: dict[str, Any] = {
    "version": 1, "action": "allow", "kind": "allow", "rule": "", "reason": "", "violations": [], "reserve": [],
    "approval": None, "revision": "abc", "serial": 3,
}  # fmt: skip
VIOLATION = {"rule": "r", "reason": "Ask a person", "kind": "rule", "monitor": False}
DENY = ALLOW | {"action": "deny", "kind": "rule", "rule": "r", "reason": "Ask a person", "violations": [VIOLATION]}
RESERVE = {
    "counter": "t._rate_day", "amount": 1, "limit": 5, "window": "day", "scope": "global", "rule": "r",
    "reason": "Enough", "kind": "rate_limit",
}  # fmt: skip


def bundle(*reads: tuple[str, ...]) -> Bundle:
    """A bundle whose rules for the tool `pay` read these paths."""
    return Bundle("abc", 3, {}, Terms(frozenset({"pay"}), {"pay": reads}, (), {}, ()))


def replied(result: Any, **more: Any) -> bytes:
    return json.dumps({"result": result, **more}).encode()


# The question.


def test_a_question_is_the_input_document_with_numbers_as_they_were_written() -> None:
    assert question("okx", "pay", {"amount": msgspec.Raw(b"1.10")}) == (
        b'{"input":{"version":1,"method":"tools/call","server":"okx","tool":"pay","arguments":{"amount":1.10}}}'
    )


def test_a_question_about_a_call_holds_only_what_the_rules_of_its_tool_read() -> None:
    line = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"%s","arguments":{"amount":1e5,"pin":"x"}}}'
    asked = {}
    for tool in ("pay", "look"):
        request = jsonrpc.read(line % tool.encode())
        assert isinstance(request, jsonrpc.Request)
        asked[tool] = question_about(protocol.tool_call(request), "okx", bundle(("amount",)))
    assert b'"arguments":{"amount":1e5}' in asked["pay"]
    assert b'"arguments":{}' in asked["look"]


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
        ({"a": {"c": 1}}, [("a", "b")], {"a": {}}),
        ({"a": [{"b": 1}]}, [("a", "b")], {}),
        ({"a": "text"}, [("a", "b")], {}),
        ({"": 1}, [("",)], {"": 1}),
    ],
)
def test_what_lies_on_the_paths_is_kept(arguments: dict[str, Any], paths: list[tuple[str, ...]], kept: Any) -> None:
    assert project(arguments, paths) == kept


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
    arguments: dict[str, Any], path: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError, match="only in case"):
        project(arguments, [path])


def test_keys_that_differ_only_in_case_are_the_servers_matter_where_no_rule_reads_them() -> None:
    arguments = {"note": {"x": 1, "X": 2}, "b": 1, "B": 2, "amount": 1}
    assert project(arguments, [("amount",), ("note",)]) == {"amount": 1, "note": {"x": 1, "X": 2}}


def test_the_refusal_of_two_keys_has_the_id_and_no_value() -> None:
    line = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay","arguments":{"a":"v1","A":"v2"}}}'
    request = jsonrpc.read(line)
    assert isinstance(request, jsonrpc.Request)
    with pytest.raises(InvalidMessage, match="differ") as caught:
        question_about(protocol.tool_call(request), "okx", bundle(("a",)))
    assert (caught.value.code, caught.value.id) == (-32602, 1)
    assert "v1" not in str(caught.value)
    assert "v2" not in str(caught.value)


# The answer.


@pytest.mark.parametrize(
    "result",
    [ALLOW, DENY, ALLOW | {"reserve": [RESERVE, RESERVE | {"window": 60}]}, DENY | {"violations": []}],
    ids=["allow", "deny", "allow and count", "deny without list"],
)
def test_an_answer_of_the_agreed_shape_is_a_decision(result: dict[str, Any]) -> None:
    answer = read_answer(replied(result, decision_id="d-1"), bundle())
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
        {"reserve": [RESERVE | {"amount": -1}]}, {"reserve": [RESERVE | {"amount": 1.5}]},
        {"reserve": [RESERVE | {"window": 0}]}, {"reserve": [RESERVE | {"window": -60}]},
        {"reserve": [RESERVE | {"window": "week"}]}, {"reserve": [RESERVE | {"scope": "everyone"}]},
        {"reserve": [RESERVE | {"more": 1}]}, {"violations": [VIOLATION]}, {"allow": True},
        {"action": "deny", "reason": ""}, {"action": "deny", "reason": "no", "reserve": [RESERVE]},
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


@pytest.mark.parametrize("change", [{"revision": "abd"}, {"revision": ""}, {"serial": 2}, {"serial": 4}])
def test_an_answer_by_another_policy_is_no_decision(change: dict[str, Any]) -> None:
    assert failure(replied(ALLOW | change)) == "revision"
    assert failure(replied(DENY | change)) == "revision"


def test_an_answer_that_decided_nothing_is_no_decision() -> None:
    undecided = DENY | {"kind": "undecided", "revision": "", "serial": 0}
    assert failure(replied(undecided)) == "undecided"


def failure(body: bytes) -> str:
    """Why a reply is no answer."""
    with pytest.raises(EngineUnavailable) as caught:
        read_answer(body, bundle())
    return caught.value.kind
