"""Calls that a person has to agree to, at the gate: asked, approved, used once, and every way in which that fails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecar.approvals.document import digest_of
from sidecar.approvals.words import only_in
from sidecar.auth.caller import Caller
from sidecar.auth.principal import Principal
from sidecar.decision.decision import Approval, Decision, Granting
from sidecar.enforce.gate import Gate
from sidecar.enforce.trial import Trial
from sidecar.enforce.verdict import Forward, Hold, Reply, Verdict
from sidecar.errors import StoreUnavailable
from sidecar.events import ApprovalChanged, Decided, Event
from sidecar.ledger.approvals import MAX_BRIEF, MAX_PENDING_EACH, MAX_SHOWN, Answer, Record
from sidecar.ledger.sqlite import SqliteLedger
from sidecar.mcp.jsonrpc import Request, read
from sidecar.mcp.tool_call import Outcome, ToolCall, read_call
from tests.enforce.fakes import ALLOWED, ASKING, DENIED, KEY, LIMIT, FakeEngine
from tests.engine.asking import bundle_of, soon

ASKS = "tools: {t: {rules: [{name: ask, action: require_approval}]}}"
BUNDLE = bundle_of(ASKS)
HOLDS = bundle_of(f"approvals: {{hold: 60s}}\n{ASKS}")
RESULT = bundle_of(f"approvals: {{answer: result}}\n{ASKS}")


def under(decision: Decision, bundle: Any) -> Decision:
    return msgspec.structs.replace(decision, revision=bundle.revision, serial=bundle.serial)


def call(arguments: str = "{}", tool: str = "t", beside: str = "") -> ToolCall:
    line = (
        f'{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}{beside}}}}}'
    )
    message = read(line.encode())
    assert isinstance(message, Request)
    return read_call(message)


class World:
    """A gate between an engine that does as told and a real store, as two agents see it."""

    def __init__(self, folder: Path, bundle: Any = BUNDLE, decision: Decision = ASKING, **options: Any) -> None:
        self.now = 1_800_000_000.0
        self.ledger = SqliteLedger(folder / "counters.db", lambda: self.now)
        self.engine = FakeEngine(under(decision, bundle), bundle=bundle)
        self.events: list[Event] = []
        self.gate = Gate(
            server="stub", instance="i", decider=self.engine, ledger=self.ledger, emit=self.events.append, key=KEY,
            clock=lambda: self.now, **options,
        )  # fmt: skip
        self.caller = Caller("s1", "agent")

    def judge(self, one: ToolCall, caller: Caller | None = None, **options: Any) -> tuple[Trial, list[Verdict]]:
        verdicts: list[Verdict] = []
        return self.gate.judge(one, caller or self.caller, verdicts.append, **options), verdicts

    async def verdict(self, one: ToolCall | None = None, caller: Caller | None = None) -> Verdict:
        """The verdict on a call that does not wait in place."""
        _, verdicts = self.judge(one or call(), caller, may_hold=False)
        await soon(lambda: verdicts)
        return verdicts[-1]

    async def forward(self, one: ToolCall | None = None, caller: Caller | None = None) -> Forward:
        verdict = await self.verdict(one, caller)
        assert isinstance(verdict, Forward), verdict
        return verdict

    async def told(self, one: ToolCall | None = None, caller: Caller | None = None) -> dict[str, Any]:
        """The error that says that a person is asked."""
        verdict = await self.verdict(one, caller)
        assert isinstance(verdict, Reply), verdict
        answer: dict[str, Any] = json.loads(verdict.message.raw)["error"]
        assert answer["code"] == -32003
        return answer

    async def asked(self, one: ToolCall | None = None, caller: Caller | None = None) -> str:
        """The id of the approval that a call waits for."""
        told: str = (await self.told(one, caller))["data"]["approval_id"]
        return told

    async def refused(self, one: ToolCall | None = None, caller: Caller | None = None) -> tuple[str, str]:
        """The kind and the text of a refusal."""
        verdict = await self.verdict(one, caller)
        assert isinstance(verdict, Reply), verdict
        result = json.loads(verdict.message.raw)["result"]
        return result["_meta"]["intercept/decision"]["kind"], result["content"][0]["text"]

    async def approve(self, id_: str, verdict: Any = "approve", reason: str = "") -> Record:
        shown = digest_of((await self.ledger.approvals.find(id_)).asked)
        answer = Answer("alice", self.now, "cli", "here", verdict, reason, shown=shown)
        after, _ = await self.ledger.approvals.decide(id_, answer)
        return after

    async def settled(self, forward: Forward, outcome: Outcome) -> None:
        done = asyncio.Event()
        self.gate.settle(forward, outcome, done.set)
        await asyncio.wait_for(done.wait(), 5)

    async def state(self, id_: str) -> str:
        return (await self.ledger.approvals.find(id_)).state


def run(test: Callable[[World], Coroutine[Any, Any, None]], folder: Path, **options: Any) -> None:
    async def inside() -> None:
        world = World(folder, **options)
        await test(world)
        world.gate.end_holds()
        await world.gate.finish()
        await world.ledger.close()

    asyncio.run(inside())


def test_what_a_call_asks_for_is_made_of_what_was_read_and_its_bytes_are_not_read_again(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        read_once = call('{"a":1.50}', beside=',"task":{"ttl":1e0}')
        await world.approve(await world.asked(msgspec.structs.replace(read_once, raw=b"")))
        await world.forward(read_once)

    run(test, tmp_path)


def test_a_call_that_a_rule_asks_about_is_not_forwarded_and_its_agent_is_told_what_to_do(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        error = await world.told(call('{"a":1}'))
        assert error["message"].startswith("[INTERCEPT APPROVAL REQUIRED] Ask a person")
        data = error["data"]
        assert data["approval_id"] in error["message"]
        assert (data["rule"], data["kind"], data["timeout_seconds"]) == ("ask", "approval_required", 1800)
        assert data["expires_at"] == "2027-01-15T08:30:00.000Z"
        assert data["retry_after"] > 0
        assert "repeat this call with the very same arguments" in data["next"]
        (decided,) = [event for event in world.events if isinstance(event, Decided)]
        assert (decided.ruling.allowed, decided.approval) == (False, data["approval_id"])
        (changed,) = [event for event in world.events if isinstance(event, ApprovalChanged)]
        assert changed.record.state == "pending"

    run(test, tmp_path)


def test_an_agent_whose_approval_ends_with_its_session_is_told_so_and_so_is_who_answers(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        anybody, alice = Caller("s1"), Caller("s1", principal=Principal("alice"))
        for caller, is_over, only in ((anybody, True, "only in session s1"), (alice, False, "")):
            told = await world.told(call(), caller)
            assert ("only in this session" in told["message"]) == is_over
            record = await world.ledger.approvals.find(told["data"]["approval_id"])
            assert only_in(record.asked) == only

    run(test, tmp_path)


def test_the_agent_is_told_class_and_severity_of_the_tool(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        data = (await world.told())["data"]
        assert (data["class"], data["severity"]) == ("Financial", "critical")

    run(test, tmp_path, bundle=bundle_of(ASKS.replace("rules:", "class: Financial, rules:")))


def test_the_engines_word_counts_though_no_rule_of_the_policy_seems_to_ask(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        await world.approve(await world.asked())
        assert (await world.forward()).approval

    run(test, tmp_path, bundle=bundle_of("tools: {t: {rules: []}}"))


def test_the_call_that_was_approved_goes_through_once(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        id_ = await world.asked(call('{"a":1,"b":2}'))
        assert await world.asked(call('{"b":2,"a":1}')) == id_
        await world.approve(id_)
        forward = await world.forward(call('{"b":2,"a":1}'))
        assert forward.approval == id_
        assert await world.state(id_) == "in_use"
        await world.settled(forward, Outcome.SUCCEEDED)
        assert await world.state(id_) == "consumed"
        assert await world.asked(call('{"a":1,"b":2}')) != id_

    run(test, tmp_path)


@pytest.mark.parametrize(
    "other",
    [
        call('{"a":1.0}'),
        call('{"a":"1"}'),
        call('{"a":1,"b":null}'),
        call('{"a":1}', beside=',"_meta":{"x":1}'),
        call('{"a":1}', beside=',"task":{"ttl":1}'),
        call('{"a":1}', beside=',"inputResponses":{}'),
    ],
)
def test_anything_else_that_the_server_would_get_is_another_call(tmp_path: Path, other: ToolCall) -> None:
    async def test(world: World) -> None:
        id_ = await world.asked(call('{"a":1}'))
        await world.approve(id_)
        assert await world.asked(other) != id_
        assert (await world.forward(call('{"a":1}'))).approval == id_

    run(test, tmp_path)


@pytest.mark.parametrize(
    "same",
    [
        call('{"a":"é"}', beside=',"_meta":{"progressToken":7}'),
        call('{"a":"é"}', beside=',"_meta":{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}'),
        call('{"a":"\\u00e9"}'),
    ],
)
def test_what_is_of_one_request_alone_makes_no_other_call(tmp_path: Path, same: ToolCall) -> None:
    async def test(world: World) -> None:
        id_ = await world.asked(call('{"a":"é"}'))
        await world.approve(id_)
        assert (await world.forward(same)).approval == id_

    run(test, tmp_path)


def test_an_approval_belongs_to_who_asked(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        alice = Caller("s1", principal=Principal("alice", "https://issuer"))
        id_ = await world.asked(caller=alice)
        await world.approve(id_)
        for other in (
            Caller("s1"),
            Caller("s1", principal=Principal("alice")),
            Caller("s2", principal=Principal("bob")),
        ):
            assert await world.asked(caller=other) != id_
        again = Caller("s9", principal=Principal("alice", "https://issuer"))
        assert (await world.forward(caller=again)).approval == id_

    run(test, tmp_path)


def test_a_tool_that_became_another_since_is_asked_about_anew(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        assert world.gate.wants_definition("t")
        assert not world.gate.wants_definition("other")
        world.gate.saw("t", "one")
        id_ = await world.asked()
        await world.approve(id_)
        world.gate.saw("t", "two")
        assert await world.asked() != id_

    run(test, tmp_path)


def test_a_person_may_say_no_and_the_agent_hears_why(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        id_ = await world.asked()
        await world.approve(id_, "deny", "ask me \x1b[31mtomorrow")
        kind, text = await world.refused()
        assert kind == "approval_denied"
        assert text.startswith("[INTERCEPT POLICY DENIED] A person refused this call: ask me ")
        assert "\x1b" not in text
        assert "Do not repeat this call unchanged." in text

    run(test, tmp_path)


def test_a_copy_of_a_call_that_runs_waits_for_its_end(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        await world.approve(await world.asked())
        forward = await world.forward()
        kind, text = await world.refused()
        assert kind == "approval_in_use"
        running = f"The same call is running now, with approval {forward.approval}. This one was not forwarded."
        assert text.endswith(f"{running}\nTry again later.")
        await world.settled(forward, Outcome.ERROR)
        await world.asked()

    run(test, tmp_path)


def test_a_call_of_which_nobody_knows_whether_it_ran_is_refused_to_everybody(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        id_ = await world.asked(call('{"a":1}'))
        await world.approve(id_)
        await world.settled(await world.forward(call('{"a":1}')), Outcome.UNKNOWN)
        assert await world.state(id_) == "unknown"
        for caller in (world.caller, Caller("s2"), Caller("s3", principal=Principal("bob"))):
            kind, text = await world.refused(call('{"a":1.0}'), caller)
            assert kind == "outcome_unknown"
            assert id_ in text
        # Also where policy asks nobody about it.
        world.engine.decision = under(ALLOWED, BUNDLE)
        assert (await world.refused(call('{"a":1}'), Caller("s4")))[0] == "outcome_unknown"
        assert (await world.forward(call('{"a":2}'), Caller("s4"))).approval == ""
        await world.ledger.approvals.resolve(id_, Answer("alice", world.now, "cli", "here", "committed"))
        await world.forward(call('{"a":1}'), Caller("s4"))

    run(test, tmp_path)


def test_a_deny_that_came_meanwhile_wins(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        id_ = await world.asked()
        await world.approve(id_)
        world.engine.decision = under(DENIED, BUNDLE)
        assert (await world.refused())[0] == "rule"
        assert await world.state(id_) == "approved"

    run(test, tmp_path)


def test_a_limit_that_is_exhausted_leaves_the_approval_as_it_was(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        limited = msgspec.structs.replace(ASKING, reserve=(msgspec.structs.replace(LIMIT, amount=2),))
        world.engine.decision = under(limited, BUNDLE)
        first, second = await world.asked(call('{"a":1}')), await world.asked(call('{"a":2}'))
        await world.approve(first)
        await world.approve(second)
        await world.settled(await world.forward(call('{"a":1}')), Outcome.SUCCEEDED)
        assert (await world.refused(call('{"a":2}')))[0] == "rate_limit"
        assert await world.state(second) == "approved"

    run(test, tmp_path)


def test_a_call_that_was_given_up_before_it_left_used_nothing(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        limited = msgspec.structs.replace(ASKING, reserve=(msgspec.structs.replace(LIMIT, amount=3),))
        world.engine.decision = under(limited, BUNDLE)
        id_ = await world.asked()
        await world.approve(id_)
        given_up: list[Trial] = []

        def hear(event: Event) -> None:
            if isinstance(event, ApprovalChanged) and event.record.state == "in_use":
                given_up[0].drop()

        world.gate._emit = world.gate._commit.approving._emit = hear
        trial, verdicts = world.judge(call())
        given_up.append(trial)
        await soon(lambda: trial.dropped)
        await world.gate.finish()
        assert not verdicts
        assert await world.state(id_) == "approved"
        assert (await world.forward()).entries  # the limit holds one such call only

    run(test, tmp_path)


def test_in_monitor_mode_nobody_is_asked_and_the_call_is_forwarded(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        assert (await world.forward()).approval == ""
        assert await world.ledger.approvals.records() == []

    run(test, tmp_path, mode="monitor")


@pytest.mark.parametrize("fail_open", [False, True])
def test_without_the_store_nothing_is_approved_whatever_the_operator_chose(tmp_path: Path, fail_open: bool) -> None:
    async def test(world: World) -> None:
        def gone(*_: Any) -> Any:
            raise StoreUnavailable("the disk is gone")

        world.ledger.claim_at_once = gone  # type: ignore[method-assign,assignment]
        assert (await world.refused())[0] == "store_unavailable"

    run(test, tmp_path, fail_open=fail_open)


def test_a_runaway_agent_fills_its_own_queue_and_loses_nothing_that_stands(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        ids = [await world.asked(call(f'{{"a":{number}}}')) for number in range(MAX_PENDING_EACH)]
        kind, text = await world.refused(call('{"a":-1}'))
        assert kind == "approvals_full"
        assert "of this agent" in text
        await world.asked(call('{"a":-1}'), Caller("s2"))
        for id_ in ids:
            assert await world.state(id_) == "pending"

    run(test, tmp_path)


def test_a_call_that_nobody_could_look_through_is_refused(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        large = call(f'{{"a":"{"x" * MAX_SHOWN}"}}')
        kind, text = await world.refused(large)
        assert kind == "invalid_request"
        assert "more arguments than a person can be asked about" in text

    run(test, tmp_path)


def test_an_agent_that_never_sees_errors_is_told_by_a_result(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        verdict = await world.verdict()
        assert isinstance(verdict, Reply)
        result = json.loads(verdict.message.raw)["result"]
        assert result["isError"] is True
        assert result["content"][0]["text"].startswith("[INTERCEPT APPROVAL REQUIRED] Ask a person")
        assert result["_meta"]["intercept/decision"]["approval_id"].startswith("apr_")

    run(test, tmp_path, bundle=RESULT)


# Waiting in place.


def test_a_call_that_waits_in_place_goes_through_once_it_is_approved(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        _, verdicts = world.judge(call())
        await soon(lambda: verdicts)
        (hold,) = verdicts
        assert isinstance(hold, Hold)
        assert 0 < hold.seconds <= 60
        await world.approve(hold.approval)
        await soon(lambda: len(verdicts) > 1)
        assert isinstance(verdicts[1], Forward)
        assert verdicts[1].approval == hold.approval

    run(test, tmp_path, bundle=HOLDS)


def test_a_long_call_that_waits_in_place_is_not_read_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent may let a hundred calls of megabytes wait; the store is looked at on the event loop."""

    async def test(world: World) -> None:
        find, looks = world.ledger.approvals.find, []

        async def look(*names: Any, **options: Any) -> Record:
            record = await find(*names, **options)
            looks.append(len(record.asked.shown.arguments))
            return record

        monkeypatch.setattr(world.ledger.approvals, "find", look)
        _, verdicts = world.judge(call(json.dumps({"a": "x" * MAX_BRIEF})))
        await soon(lambda: len(looks) > 1)
        assert set(looks) == {0}
        assert isinstance(verdicts[0], Hold)
        await world.approve(verdicts[0].approval)
        await soon(lambda: len(verdicts) > 1)
        assert isinstance(verdicts[1], Forward)

    run(test, tmp_path, bundle=HOLDS)


def test_a_call_that_waits_in_place_hears_a_no(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        _, verdicts = world.judge(call())
        await soon(lambda: verdicts)
        assert isinstance(verdicts[0], Hold)
        await world.approve(verdicts[0].approval, "deny")
        await soon(lambda: len(verdicts) > 1)
        assert isinstance(verdicts[1], Reply)
        assert b"approval_denied" in verdicts[1].message.raw

    run(test, tmp_path, bundle=HOLDS)


def test_who_waits_in_place_is_judged_by_the_policy_of_then(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        _, verdicts = world.judge(call())
        await soon(lambda: verdicts)
        assert isinstance(verdicts[0], Hold)
        world.engine.decision = under(DENIED, HOLDS)
        await world.approve(verdicts[0].approval)
        await soon(lambda: len(verdicts) > 1)
        assert isinstance(verdicts[1], Reply)
        assert b'"kind":"rule"' in verdicts[1].message.raw

    run(test, tmp_path, bundle=HOLDS)


def test_at_the_end_of_all_holds_each_agent_is_told_to_come_back(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        _, verdicts = world.judge(call())
        await soon(lambda: verdicts)
        world.gate.end_holds()
        await soon(lambda: len(verdicts) > 1)
        assert isinstance(verdicts[1], Reply)
        assert b"-32003" in verdicts[1].message.raw
        _, later = world.judge(call())
        await soon(lambda: later)
        assert isinstance(later[0], Reply)

    run(test, tmp_path, bundle=HOLDS)


def test_a_call_that_was_given_up_while_it_waited_is_never_forwarded(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        trial, verdicts = world.judge(call())
        await soon(lambda: verdicts)
        assert isinstance(verdicts[0], Hold)
        trial.drop()
        await world.approve(verdicts[0].approval)
        await soon(lambda: any(isinstance(event, Decided) for event in world.events))
        await world.gate.finish()
        assert len(verdicts) == 1
        assert await world.state(verdicts[0].approval) == "approved"

    run(test, tmp_path, bundle=HOLDS)


def test_what_an_agent_did_before_stands_beside_what_it_asks(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        world.engine.decision = under(ALLOWED, BUNDLE)
        await world.forward(call(tool="other"))
        world.engine.decision = under(ASKING, BUNDLE)
        record = await world.ledger.approvals.find(await world.asked())
        assert [(one.tool, one.kind) for one in record.asked.shown.recent] == [("other", "allow")]

    run(test, tmp_path)


def test_what_is_masked_is_nowhere_in_the_store_though_a_standing_approval_goes_by_it(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        await world.asked(call('{"pin":"71325","x":{"pin":{"71325":1}}}'))
        record = (await world.ledger.approvals.records())[0]
        assert record.asked.grant is not None

    granting = Granting(3600, 10, (("pin",),), (("pin",),))
    approval = Approval(1800, 600, 1, "c0ffee", granting)
    run(
        test, tmp_path, bundle=bundle_of(f"approvals: {{mask: [args.pin, args.x.pin]}}\n{ASKS}"),
        decision=msgspec.structs.replace(ASKING, approval=approval),
    )  # fmt: skip
    stored = b"".join(file.read_bytes() for file in tmp_path.glob("counters.db*"))
    assert b"[masked]" in stored
    assert b"71325" not in stored


def test_an_answer_of_the_engine_is_needed_each_time(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        await world.approve(await world.asked())
        world.engine.lose()
        assert (await world.refused())[0] == "engine_unavailable"

    run(test, tmp_path)
