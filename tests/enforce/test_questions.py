"""What a question says of a call and of the caller: what the rules of its tool read, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.auth.caller import Caller
from sidecar.auth.principal import Principal
from sidecar.enforce.questions import MAX_QUESTION
from sidecar.mcp.protocol import ClientInfo
from tests.enforce.fakes import GateBetweenFakes, run
from tests.engine.asking import bundle_of

CLAIMS = {"groups": ["ops", "dev"], "desk": {"name": "fx", "floor": 3}, "secret": "s", "exp": 9}
CALLER = Caller("s1", "agent", Principal("alice", "issuer", CLAIMS), ClientInfo("agent", "agent", "2.1"))
WORKLOAD = {"namespace": "agents", "pod": "agent-0", "service_account": "agent"}


async def asked(world: GateBetweenFakes, tool: str, arguments: str = "{}", caller: Caller = CALLER) -> dict[str, Any]:
    """What is asked about a call, beside what every question says."""
    world.caller = caller
    await world.verdict(tool, arguments)
    ((question, _, _),) = world.engine.asked
    return {key: value for key, value in question.items() if key not in ("version", "method", "server", "tool")}


def policy(*rules: str) -> dict[str, Any]:
    """An engine with these rules for `t`, and others for other tools."""
    others = "{conditions: [{path: principal.issuer, op: eq, value: x}]}"
    text = "tools: {t: {rules: [%s]}, other: {rules: [{only: [a]}, %s]}}"
    return {"bundle": bundle_of(text % (", ".join(rules), others))}


def condition(path: str) -> str:
    return f"{{conditions: [{{path: '{path}', op: exists, value: true}}]}}"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("principal.subject", {"principal": {"subject": "alice"}}),
        ("principal.issuer", {"principal": {"issuer": "issuer"}}),
        ("principal.claims.groups", {"principal": {"claims": {"groups": ["ops", "dev"]}}}),
        ("principal.claims.groups[*]", {"principal": {"claims": {"groups": ["ops", "dev"]}}}),
        ("principal.claims.desk.name", {"principal": {"claims": {"desk": {"name": "fx"}}}}),
        ("principal.claims.secret.x", {"principal": {"claims": {"secret": True}}}),
        ("principal.claims.none", {"principal": {"claims": {}}}),
        ("principal.claims.exp", {"principal": {"claims": {"exp": 9}}}),
        ("session.client.name", {"session": {"client": {"name": "agent"}}}),
        ("session.client.version", {"session": {"client": {"version": "2.1"}}}),
        ("workload.pod", {"workload": {"pod": "agent-0"}}),
    ],
)
def test_of_the_caller_a_question_says_what_rules_read(path: str, said: dict[str, Any]) -> None:
    async def test(world: GateBetweenFakes) -> None:
        assert await asked(world, "t") == {"arguments": {}} | said

    run(test, policy(condition(path)), workload=WORKLOAD)


@pytest.mark.parametrize("path", ["principal.subject", "principal.claims.x", "session.client.name", "workload.pod"])
def test_what_is_not_known_of_a_caller_is_left_out(path: str) -> None:
    async def test(world: GateBetweenFakes) -> None:
        assert (await asked(world, "t", caller=Caller("s"))).get(path.partition(".")[0]) in (None, {})

    run(test, policy(condition(path)))


def test_a_question_with_totals_says_the_same_of_the_caller() -> None:
    rules = ["{state: {counter: n, window: day}}", condition("state.t.n"), condition("principal.claims.desk.floor")]

    async def test(world: GateBetweenFakes) -> None:
        said = await asked(world, "t", '{"a":1}')
        principal = {"claims": {"desk": {"floor": 3}}}
        assert said == {"arguments": {}, "principal": principal, "counters": {"state.t.n": 1}, "keys": ["a"]}

    run(test, policy(*rules, "{only: [a]}"))


def test_the_names_of_all_arguments_are_told_where_a_rule_permits_only_some() -> None:
    arguments = '{"b":{"c":1},"a":1,"unknown":{"a":2}}'

    async def named(world: GateBetweenFakes) -> None:
        assert await asked(world, "t", arguments) == {"arguments": {"a": 1}, "keys": ["a", "b", "unknown"]}

    async def unnamed(world: GateBetweenFakes) -> None:
        assert await asked(world, "t", arguments) == {"arguments": {"a": 1}}

    run(named, policy("{only: [a, b]}", condition("args.a")))
    run(named, policy("{only: []}", condition("args.a")))
    run(unnamed, policy(condition("args.a")))


def test_names_larger_than_a_question_may_be_are_refused_unasked() -> None:
    async def test(world: GateBetweenFakes) -> None:
        refusal = await world.refusal("t", f'{{"{"x" * MAX_QUESTION}":1}}')
        assert refusal["kind"] == "invalid_request"
        assert f"too large: more than {MAX_QUESTION >> 20} MiB. The call was not forwarded." in refusal["text"]
        assert world.engine.asked == []

    run(test, policy("{only: [a]}"))


def test_both_factors_of_a_product_are_read() -> None:
    rules = [
        "{spend_limit: {path: args.sz, times: args.px, per_call: 5}}",
        "{conditions: [{path: args.a, times: args.b, op: lte, value: 5}]}",
        "{state: {counter: n, window: day, increment_from: 'args.o[*].q', times: 'args.o[*].p'}}",
    ]

    async def test(world: GateBetweenFakes) -> None:
        arguments = '{"sz":1,"px":2,"a":3,"b":4,"c":5,"o":[{"q":6,"p":7,"r":8},{}]}'
        kept = {"a": 3, "b": 4, "o": [{"p": 7, "q": 6}, {}], "px": 2, "sz": 1}
        assert await asked(world, "t", arguments) == {"arguments": kept}

    run(test, policy(*rules))
