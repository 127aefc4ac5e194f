"""What a question says where hand-written Rego reads it, and which answers are used again."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any

import pytest

from sidecar.auth.caller import Caller
from sidecar.auth.principal import Principal
from sidecar.enforce.verdict import Reply
from sidecar.engine import custom_rego
from sidecar.errors import InvalidMessage
from sidecar.mcp import jsonrpc
from sidecar.mcp.protocol import ClientInfo
from sidecar.mcp.tool_call import read_call
from sidecar.policy.bundle import Bundle, build
from sidecar.policy.compile import compile_policy
from sidecar.policy.custom import CUSTOM
from sidecar.policy.merge import merge
from sidecar.policy.read import read
from tests.enforce.fakes import GateBetweenFakes, run
from tests.support import OPA

YAML = "tools: {t: {rules: [{conditions: [{path: args.a, op: exists, value: true}]}]}, free: {rules: []}}"
TIME = 1_796_025_600.9
TOLD = "2026-11-30T08:00:00Z"
ALL: dict[str, Any] = {"a": 1, "b": {"c": [2, {"d": 3}]}}
WORKLOAD = {"namespace": "agents"}
CALLER = Caller("s1", "agent", Principal("alice", "issuer", {"groups": ["ops"]}), ClientInfo("agent", "agent", "2.1"))
KNOWN = {
    "principal": {"subject": "alice", "issuer": "issuer", "claims": {"groups": ["ops"]}},
    "session": {"client": {"name": "agent", "version": "2.1"}}, "workload": WORKLOAD,
}  # fmt: skip


@cache
def bundle_reading(condition: str) -> Bundle:
    rule = f'violations contains {{"rule": "r", "reason": "no"}} if {{ {condition} }}'
    custom = custom_rego.check(OPA, {f"{CUSTOM}/own.rego": f"package intercept.custom\n\n{rule}\n"})
    file, problems = read(YAML, "policy.yaml")
    model, clashes = merge([file])
    assert not [*problems, *clashes]
    return build(compile_policy(model, custom), 1)


def questions(condition: str, *calls: str, tool: str = "t") -> list[tuple[dict[str, Any], bool]]:
    """What is asked about each call, beside what every question says, and whether the answer lasts."""

    async def test(world: GateBetweenFakes) -> None:
        world.caller = CALLER
        for arguments in calls:
            world.judge(tool, arguments)
            await asyncio.gather(*world.engine.tasks)
        found.extend(
            (
                {key: value for key, value in question.items() if key not in ("version", "method", "server", "tool")},
                lasts,
            )
            for question, _, lasts in world.engine.asked
        )

    found: list[tuple[dict[str, Any], bool]] = []
    run(test, {"bundle": bundle_reading(condition)}, workload=WORKLOAD, clock=lambda: TIME)
    return found


CALL = '{"a":1,"b":{"c":[2,{"d":3}]}}'


@pytest.mark.parametrize(("condition", "said", "lasts"), [
    ('input.tool == "x"', {"arguments": {"a": 1}}, True),
    ("input.arguments.b.c == 5", {"arguments": ALL}, True),
    ("input.arguments.b[_].d == 5", {"arguments": ALL}, True),
    ('"b" in input.keys', {"arguments": {"a": 1}, "keys": ["a", "b"]}, True),
    ('input.time > "2026"', {"arguments": {"a": 1}, "time": TOLD}, False),
    ("time.now_ns() > 5", {"arguments": {"a": 1}}, False),
    ('input.principal.subject == "x"', {"arguments": {"a": 1}, "principal": {"subject": "alice"}}, True),
    ("input.session", {"arguments": {"a": 1}, "session": KNOWN["session"]}, True),
    ("input.arguments[_] == 5", {"arguments": ALL, "keys": ["a", "b"], "time": TOLD} | KNOWN, False),
    ("walk(input, [_, 5])", {"arguments": ALL, "keys": ["a", "b"], "time": TOLD} | KNOWN, False),
])  # fmt: skip
def test_a_question_says_what_it_reads_and_an_answer_lasts_where_it_can(
    condition: str, said: dict[str, Any], lasts: bool
) -> None:
    assert questions(condition, CALL) == [(said, lasts)]


def test_it_reads_the_calls_of_every_tool() -> None:
    assert questions("input.arguments.b.c == 5", CALL, tool="free") == [({"arguments": {"b": ALL["b"]}}, True)]
    assert questions("input.arguments.b.c == 5", CALL, tool="other") == [({"arguments": {"b": ALL["b"]}}, True)]


@pytest.mark.parametrize(("condition", "arguments"), [
    ("input.arguments.b.c == 5", '{"b":{"c":1,"C":2}}'), ("input.arguments.b.c == 5", '{"B":{"c":1}}'),
    ("input.arguments[_] == 5", '{"a":1,"A":2}'), ("walk(input, [_, 5])", '{"A":1}'),
    ("input.arguments.b == 5", '{"b":"x\\u0000"}'), ("walk(input, [_, 5])", '{"z":["x\\u0000"]}'),
])  # fmt: skip
def test_a_call_that_a_server_could_read_differently_where_a_rule_reads_it_is_not_asked_about(
    condition: str, arguments: str
) -> None:
    async def test(world: GateBetweenFakes) -> None:
        with pytest.raises(InvalidMessage, match=r"differs only in case|NUL character"):
            world.judge("t", arguments)
        assert world.engine.asked == []

    run(test, {"bundle": bundle_reading(condition)})


def test_a_call_that_came_before_is_asked_about_anew_with_another_time() -> None:
    async def test(world: GateBetweenFakes) -> None:
        line = b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"t","arguments":{"a":1}}}'
        for number in range(4):
            found = world.gate.known.find(line % number)
            if found is None:
                request = jsonrpc.read(line % number)
                assert isinstance(request, jsonrpc.Request)
                call = read_call(request)
                world.gate.known.keep(request, call, None)
            else:
                call, _ = found
            world.gate.judge(call, world.caller, world.deliver)
            await asyncio.gather(*world.engine.tasks)
            now[0] += 1
        assert [question["time"] for question, _, _ in world.engine.asked] == [
            "2026-11-30T08:00:00Z", "2026-11-30T08:00:01Z", "2026-11-30T08:00:02Z", "2026-11-30T08:00:03Z",
        ]  # fmt: skip
        assert not any(lasts for _, _, lasts in world.engine.asked)

    now = [TIME]
    run(test, {"bundle": bundle_reading('input.time > "2026"')}, clock=lambda: now[0], remembered=True)


def test_all_that_a_call_says_can_be_too_much_for_a_question() -> None:
    async def test(world: GateBetweenFakes) -> None:
        verdict = await world.verdict("t", '{"a":1,"long":"%s"}' % ("x" * (2 << 20)))
        assert isinstance(verdict, Reply)
        assert world.engine.asked == []

    run(test, {"bundle": bundle_reading("walk(input, [_, 5])")})
