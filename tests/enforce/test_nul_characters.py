"""A NUL character in a text, at which a server in C ends it: refused before any rule, or judged by the rule itself."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from sidecar.policy.operators import OPERATORS
from sidecar.policy.terms import Reads
from tests.engine.asking import bundle_of
from tests.support.desk import desk

VALUES = {
    "values": "[/srv]", "number": "5", "boolean": "true", "folders": "/srv", "hosts": "[example.com]",
}  # fmt: skip
JUDGING = {"within", "host_in"}


def reads(*rules: str, others: str = "{}", tool: str = "t") -> Reads:
    """What is read of a call of a tool with these rules, where `others` are the rules of further entries."""
    entries = {"t": {"rules": list(rules)}, **json.loads(others)}
    tools = ", ".join(f'"{name}": {{rules: [{", ".join(entry["rules"])}]}}' for name, entry in entries.items())
    return bundle_of(f"tools: {{{tools}}}").terms.reads_of(tool)


def condition(op: str, path: str = "args.p") -> str:
    return f"{{path: '{path}', op: {op}, value: {VALUES.get(OPERATORS[op].operand, '/srv')}}}"


@pytest.mark.parametrize("op", OPERATORS)
def test_only_an_operator_that_no_nul_deceives_gets_one(op: str) -> None:
    expected = () if op in JUDGING else (("p",),)
    for rule in ("{conditions: [%s]}", "{action: deny, conditions: [%s]}", "{mode: monitor, conditions: [%s]}"):
        found = reads(rule % condition(op))
        assert found.paths == (("p",),)
        assert found.no_nul == expected


@pytest.mark.parametrize("rule", [
    f"{{conditions: [{condition('eq')}]}}",
    f"{{conditions: [{condition('host_in')}, {condition('regex')}]}}",
    f"{{action: deny, conditions: [{condition('exists')}]}}",
    "{spend_limit: {path: args.p, per_call: 5}}",
    "{spend_limit: {path: args.n, times: args.p, per_call: 5}}",
    "{action: allow, state: {counter: c, window: day, increment_from: args.p}}",
    "{conditions: [{path: args.n, times: args.p, op: lte, value: 5}]}",
    "{action: require_approval, grant: {for: 1h, calls: 2, same: [args.p]}}",
    "{action: require_approval, grant: {for: 1h, calls: 2, same: [args.n], at_most: [args.p]}}",
])  # fmt: skip
@pytest.mark.parametrize("entry", ["t", "t*", "*"])
def test_what_anything_else_reads_too_may_hold_none(rule: str, entry: str) -> None:
    inside = f"{{conditions: [{condition('within')}]}}"
    if entry == "t":
        assert ("p",) in reads(inside, rule).no_nul
    else:
        assert ("p",) in reads(inside, others=json.dumps({entry: {"rules": [rule]}})).no_nul
        assert ("p",) in reads(rule, others=json.dumps({entry: {"rules": [inside]}})).no_nul


def test_a_rule_in_shadow_neither_keeps_one_out_nor_lets_one_in() -> None:
    inside, equal = f"{{%sconditions: [{condition('within')}]}}", f"{{%sconditions: [{condition('eq')}]}}"
    assert reads(inside % "", equal % "mode: shadow, ").no_nul == ()
    assert reads(equal % "", inside % "mode: shadow, ").no_nul == (("p",),)


POLICY = """
tools:
  read: {rules: [{conditions: [{path: args.p, op: within, value: /srv}]}]}
  maybe: {rules: [{conditions: [{path: args.p, op: within, value: /srv, optional: true}]}]}
  each: {rules: [{conditions: [{path: 'args.p[*]', op: within, value: /srv}]}]}
  fetch: {rules: [{conditions: [{path: args.u, op: host_in, value: [example.com]}]}]}
  secret: {rules: [{action: deny, conditions: [{path: args.p, op: within, value: /etc}]}]}
  local: {rules: [{action: deny, conditions: [{path: args.u, op: host_in, value: [localhost]}]}]}
  ask: {rules: [{action: require_approval, conditions: [{path: args.p, op: within, value: /etc}]}]}
  both: {rules: [{conditions: [{path: args.p, op: within, value: /srv}, {path: args.p, op: neq, value: /srv/x}]}]}
  whole: {rules: [{conditions: [{path: args.o.p, op: within, value: /srv}, {path: args.o, op: neq, value: 1}]}]}
"""


CALLS: list[tuple[str, dict[str, Any], str]] = [
    ("read", {"p": "/srv/a"}, "passes"), ("read", {"p": "/srv/a\0"}, "refused"),
    ("read", {"p": "/srv/a\0/../../etc"}, "refused"), ("read", {"p": {"x": "/srv\0"}}, "refused"),
    ("maybe", {}, "passes"), ("maybe", {"p": "/srv/a\0"}, "refused"),
    ("each", {"p": ["/srv/a"]}, "passes"), ("each", {"p": ["/srv/a", "/srv/\0"]}, "refused"),
    ("fetch", {"u": "https://example.com/"}, "passes"), ("fetch", {"u": "https://example.com\0.evil.test/"}, "refused"),
    ("fetch", {"u": "https://example.com/\0"}, "refused"),
    ("secret", {"p": "/tmp/a"}, "passes"), ("secret", {"p": "/tmp/a\0"}, "refused"),
    ("local", {"u": "http://example.com/"}, "passes"), ("local", {"u": "http://example.com/\0"}, "refused"),
    ("ask", {"p": "/tmp/a"}, "passes"), ("ask", {"p": "/tmp/a\0"}, "asks"),
    ("both", {"p": "/srv/a"}, "passes"), ("both", {"p": "/srv/x\0"}, "bad"),
    ("whole", {"o": {"p": "/srv/a"}}, "passes"), ("whole", {"o": {"p": "/srv/a\0"}}, "bad"),
    ("read", {"p": "/srv/a", "note": "a\0"}, "passes"),
]  # fmt: skip


def test_a_text_with_a_nul_lies_in_no_folder_and_at_no_host(tmp_path: Path) -> None:
    async def test() -> None:
        async with desk(POLICY, tmp_path) as found:
            outcomes = await found.outcomes(f"{tool} {json.dumps(arguments)}" for tool, arguments, _ in CALLS)
            assert list(zip(CALLS, outcomes, strict=True)) == [(call, call[2]) for call in CALLS]

    asyncio.run(test())
