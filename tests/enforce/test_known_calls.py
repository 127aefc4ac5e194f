"""Calls that say the same share what was worked out about them: never more than their caller and policy allow."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sidecar.auth.caller import Caller
from sidecar.auth.principal import Principal
from sidecar.decision.decision import Violation
from sidecar.enforce.call_cache import CachedCall, Memo
from sidecar.enforce.verdict import Forward, Verdict
from sidecar.events import Decided, Ruling
from sidecar.mcp import jsonrpc
from sidecar.mcp.protocol import ClientInfo
from sidecar.mcp.tool_call import ToolCall, read_call
from tests.enforce.fakes import ALLOWED, LIMITED, GateBetweenFakes, reading, run
from tests.engine.asking import bundle_of, tool_call

REPORTING = bundle_of("tools: {t: {rules: [{name: per day, rate_limit: 3/day, mode: monitor}]}}")
READ = tool_call("t", '{"a":1,"b":2}')
FIRST = CachedCall(1, READ.tool, READ.arguments, READ.stateless, READ.raw, READ.params, memo=Memo())
AGAIN = CachedCall(2, READ.tool, READ.arguments, READ.stateless, b"", READ.params, memo=FIRST.memo)


@pytest.fixture(autouse=True)
def nothing_worked_out() -> None:
    memo = FIRST.memo
    memo.question = memo.ruling = memo.line = None


async def judged(world: GateBetweenFakes, call: ToolCall, caller: Caller) -> tuple[Verdict, Ruling]:
    """The verdict on a call, and what was decided."""
    world.verdicts.clear()
    world.events.clear()
    world.gate.judge(call, caller, world.deliver)
    await world.gate.finish()
    (verdict,) = world.verdicts
    (event,) = [event for event in world.events if isinstance(event, Decided)]
    assert (event.call, event.caller) == (call, caller)
    return verdict, event.ruling


CLERK, CHIEF, OTHER = (
    Principal(name, claims={"role": role}) for name, role in (("one", "clerk"), ("one", "chief"), ("other", "clerk"))
)
SAID, LATER, ANOTHER = (ClientInfo(name, name, version) for name, version in (("a", None), ("a", "2"), ("b", None)))
# Each differs from the one before in one thing only.
CALLERS = [
    Caller("s", principal=principal, said=said)
    for principal, said in [
        (CLERK, SAID), (OTHER, SAID), (CHIEF, SAID), (CHIEF, LATER), (CHIEF, ANOTHER), (CHIEF, None), (None, None)
    ]
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("principal.subject", [{"subject": name} for name in ("one", "other", *["one"] * 4)] + [None]),
        ("principal.claims.role", [{"claims": {"role": role}} for role in ("clerk", "clerk", *["chief"] * 4)] + [None]),
        ("session.client.name", [{"client": {"name": name}} for name in "aaaab"] + [None, None]),
        ("session.client.version", [{"client": said} for said in ({}, {}, {}, {"version": "2"}, {})] + [None, None]),
    ],
)
def test_where_rules_read_the_caller_the_engine_is_asked_about_each(path: str, known: list[Any]) -> None:
    async def test(world: GateBetweenFakes) -> None:
        for caller in (*CALLERS, *CALLERS):
            await judged(world, AGAIN, caller)
        assert [asked.get(path.partition(".")[0]) for asked, _, _ in world.engine.asked] == known * 2

    run(test, {"bundle": reading(path, 1)})


def test_where_rules_do_not_read_the_caller_the_question_is_the_same_for_all() -> None:
    async def test(world: GateBetweenFakes) -> None:
        for caller in CALLERS:
            await judged(world, AGAIN, caller)
        first, *others = [asked for asked, _, _ in world.engine.asked]
        assert first.keys() == {"version", "method", "server", "tool", "arguments"}
        assert others == [first] * 6

    run(test, {"bundle": reading("args.a", 1)}, workload={"pod": "p"})


def test_each_policy_is_asked_about_what_it_reads() -> None:
    async def test(world: GateBetweenFakes) -> None:
        for bundle in (reading("args.a", 1), reading("args.b", 2), reading("args.a", 3)):
            world.engine.bundle = bundle
            _, ruling = await judged(world, AGAIN, world.caller)
            assert (ruling.revision, ruling.serial) == (bundle.revision, bundle.serial)
        assert [asked["arguments"] for asked, _, _ in world.engine.asked] == [{"a": 1}, {"b": 2}, {"a": 1}]

    run(test)


@pytest.mark.parametrize("remembered", [False, True])
def test_a_call_that_was_allowed_is_refused_when_the_engine_says_so(remembered: bool) -> None:
    async def test(world: GateBetweenFakes) -> None:
        verdict, ruling = await judged(world, FIRST, world.caller)
        assert (type(verdict), ruling.allowed) == (Forward, True)
        world.engine.decision = denied
        verdict, ruling = await judged(world, AGAIN, world.caller)
        assert (type(verdict) is Forward, ruling.allowed, ruling.rule) == (False, False, "r")

    violations = (Violation("r", "No", "rule", monitor=False),)
    changes: dict[str, Any] = {"action": "deny", "kind": "rule", "rule": "r", "reason": "No", "violations": violations}
    denied = msgspec.structs.replace(ALLOWED, **changes)
    run(test, remembered=remembered)


def test_each_is_counted_and_what_its_count_exceeds_is_told_of_it_alone() -> None:
    async def test(world: GateBetweenFakes) -> None:
        seen = []
        for total, call in ((3, FIRST), (4, AGAIN), (2, FIRST)):
            world.ledger.total = total
            _, ruling = await judged(world, call, world.caller)
            seen.append([violation.rule for violation in ruling.violations])
        assert (seen, len(world.ledger.wanted)) == ([[], ["per day"], []], 3)

    run(test, {"bundle": REPORTING, "decision": LIMITED}, remembered=True)


def test_calls_that_are_known_do_not_outlive_the_policy() -> None:
    async def test(world: GateBetweenFakes) -> None:
        line = b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"t"}}'
        request = jsonrpc.read(line % 1)
        assert isinstance(request, jsonrpc.Request)
        for _ in range(2):
            world.gate.known.keep(request, read_call(request), None)
        assert world.gate.known.find(line % 2) is not None
        world.engine.bundle = reading("args.a", 2)
        await judged(world, FIRST, world.caller)
        assert world.gate.known.find(line % 2) is None

    run(test)
