"""Calls that wait for a person: what their client hears, what ends the wait, and what never reaches the server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from sidecar.enforce.verdict import Hold
from sidecar.mcp import elicitation
from sidecar.mcp.tool_call import Outcome, ToolCall
from sidecar.session import held_call
from sidecar.session.reading import LARGE
from tests.downstream.fakes import run, turns
from tests.session.fakes import ObservedSession, batch, encoded

PAGE: Final = "https://desk.example/approvals/apr_1"
HOLD: Final = Hold("apr_1", 45.0, "Ask the desk", "", elicits=False)
ELICITS: Final = Hold("apr_1", 45.0, "Ask the desk", PAGE, elicits=True)
URLS: Final[dict[str, Any]] = {"elicitation": {"form": {}, "url": {}}}
META: Final = "io.modelcontextprotocol/"


def hello(world: ObservedSession, capabilities: dict[str, Any], revision: str = "2025-11-25") -> None:
    """Open a session as a client that can do this."""
    world.ask(0, "initialize", protocolVersion=revision, capabilities=capabilities)
    world.answer(0, result={"protocolVersion": revision, "capabilities": {}})
    del world.client[:], world.server[:]


def stateless(world: ObservedSession, id_: int, capabilities: dict[str, Any], **params: Any) -> bytes:
    """A call of a client of the stateless revision."""
    meta = {f"{META}protocolVersion": "2026-07-28", f"{META}clientCapabilities": capabilities}
    return world.ask(id_, "tools/call", name="look", arguments={}, _meta=meta, **params)


def told(world: ObservedSession) -> list[Any]:
    return [json.loads(line) for line in world.client]


def in_loop(test: Callable[[ObservedSession], None]) -> None:
    """Run a test that waits for nothing, in an event loop."""

    async def inside() -> None:
        test(ObservedSession())

    run(inside())


def test_a_held_call_waits_here_until_its_verdict() -> None:
    def test(world: ObservedSession) -> None:
        line = world.call(1, "look")
        world.gate.hold(HOLD)
        assert (world.server, world.client, world.session.is_waiting) == ([], [], True)
        after = world.ask(2)
        world.gate.allow()
        assert world.server == [after, line]
        reply = world.answer(1)
        assert (world.client, world.gate.settled) == ([reply], [(1, Outcome.SUCCEEDED)])

    in_loop(test)


def test_a_held_call_that_is_refused_is_answered() -> None:
    def test(world: ObservedSession) -> None:
        world.call(1, "look")
        world.gate.hold(HOLD)
        world.gate.deny()
        assert (world.last_to_client["result"], world.server, world.session.is_waiting) == ("denied", [], False)

    in_loop(test)


ENDS: list[Callable[[ObservedSession], object]] = [
    lambda world: world.cancel(1),
    lambda world: world.cancel("1"),
    lambda world: world.session.left(1),
    lambda world: world.session.close(),
    lambda world: world.session.server_ended(),
]


@pytest.mark.parametrize("end", ENDS, ids=["cancel", "cancel of a twin", "left", "closed", "server ended"])
def test_whatever_ends_a_call_that_is_judged_ends_one_that_is_held(end: Callable[[ObservedSession], object]) -> None:
    async def inside() -> None:
        world = ObservedSession()
        world.ask(1, "tools/call", name="look", _meta={"progressToken": "t"})
        (trial,) = world.gate.trials
        world.gate.hold(HOLD)
        (pending,) = [one for _, one in world.session._requests.waiting()]
        end(world)
        assert (trial.dropped, world.server, world.session.is_waiting) == (True, [], False)
        timer = pending.trial._timer  # type: ignore[union-attr]
        assert timer.cancelled()

    run(inside())


def test_the_client_that_left_after_its_call_was_sent_on_ends_nothing() -> None:
    world = ObservedSession()
    world.call(1, "quick")
    world.session.left(1)
    assert world.answer(1) in world.client


def test_progress_grows_stays_below_the_servers_and_ends_with_the_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_call, "PROGRESS_SECONDS", 0.002)

    async def inside() -> None:
        world = ObservedSession()
        world.ask(1, "tools/call", name="look", _meta={"progressToken": "t"})
        world.gate.hold(HOLD)
        while len(world.client) < 4:
            await turns()
        (pending,) = [one for _, one in world.session._requests.waiting()]
        timer = pending.trial._timer  # type: ignore[union-attr]
        world.gate.allow()
        reports = told(world)
        assert {report["method"] for report in reports} == {"notifications/progress"}
        assert {report["params"]["progressToken"] for report in reports} == {"t"}
        assert {report["params"]["message"] for report in reports} == {"waiting for an approval: Ask the desk"}
        values = [report["params"]["progress"] for report in reports]
        assert values == sorted(set(values))
        assert -45.1 < values[0] < values[-1] < 0
        assert timer.cancelled()

    run(inside())


@pytest.mark.parametrize("token", [True, {"a": 1}, ["t"], 1.5, None])
def test_what_is_no_progress_token_gets_no_progress(token: Any) -> None:
    def test(world: ObservedSession) -> None:
        world.ask(1, "tools/call", name="look", _meta={"progressToken": token})
        world.gate.hold(HOLD)
        assert world.client == []

    in_loop(test)


# A page to open, by a request to the client.


@pytest.mark.parametrize("action", ["accept", "decline", "cancel"])
def test_the_client_is_asked_once_to_open_the_page_and_its_answer_is_ours(action: str) -> None:
    def test(world: ObservedSession) -> None:
        hello(world, URLS)
        line = world.call(1, "look")
        world.gate.hold(ELICITS)
        (request,) = told(world)
        assert request["method"] == "elicitation/create"
        assert request["params"] == {
            "mode": "url", "url": PAGE, "message": "Ask the desk", "elicitationId": request["params"]["elicitationId"]
        }  # fmt: skip
        world.session.from_client(encoded(id=request["id"], result={"action": action}))
        world.session.from_client(encoded(id=request["id"], result={"action": action}))
        assert (world.server, world.session.is_waiting) == ([], True)
        world.gate.allow()
        assert world.server == [line]
        complete = told(world)[1:]
        assert [message["method"] for message in complete] == ["notifications/elicitation/complete"]
        assert complete[0]["params"] == {"elicitationId": request["params"]["elicitationId"]}

    in_loop(test)


def test_a_page_that_is_not_needed_any_more_is_taken_back() -> None:
    def test(world: ObservedSession) -> None:
        hello(world, URLS)
        world.call(1, "look")
        world.gate.hold(ELICITS)
        world.cancel(1)
        request, cancelled, complete = told(world)
        assert (cancelled["method"], cancelled["params"]) == ("notifications/cancelled", {"requestId": request["id"]})
        assert complete["method"] == "notifications/elicitation/complete"
        world.session.from_client(encoded(id=request["id"], result={"action": "accept"}))
        assert (world.server, world.dropped) == ([], ["client"])

    in_loop(test)


def test_of_a_call_that_is_held_once_more_each_page_is_over_once() -> None:
    def test(world: ObservedSession) -> None:
        hello(world, URLS)
        world.call(1, "look")
        world.gate.hold(ELICITS)
        world.gate.hold(ELICITS)
        world.cancel(1)
        asked = [one["params"]["elicitationId"] for one in told(world) if one["method"] == "elicitation/create"]
        complete = [one for one in told(world) if one["method"] == "notifications/elicitation/complete"]
        assert len(asked) == 2
        assert [one["params"]["elicitationId"] for one in complete] == asked
        assert world.gate.trials[0].dropped

    in_loop(test)


def test_an_answer_that_cannot_be_read_is_no_answer_of_the_servers_either() -> None:
    def test(world: ObservedSession) -> None:
        hello(world, URLS)
        world.call(1, "look")
        world.gate.hold(ELICITS)
        (request,) = told(world)
        world.session.from_client(b'{"jsonrpc":"2.0","id":"%b","result":{"a":1,"a":2}}' % request["id"].encode())
        assert (world.server, len(world.client)) == ([], 1)

    in_loop(test)


@pytest.mark.parametrize(
    ("capabilities", "revision", "hold"),
    [
        (URLS, "2025-06-18", ELICITS), (URLS, "2025-03-26", ELICITS), (URLS, "2025-11-25", HOLD),
    ],
)  # fmt: skip
def test_nobody_else_is_asked(capabilities: dict[str, Any], revision: str, hold: Hold) -> None:
    def test(world: ObservedSession) -> None:
        hello(world, capabilities, revision)
        world.call(1, "look")
        world.gate.hold(hold)
        assert world.client == []

    in_loop(test)


# Who can be shown a page.


@pytest.mark.parametrize(
    ("capabilities", "elicits"),
    [
        (URLS, True), ({"elicitation": {"url": {}}}, True), ({"elicitation": {}}, False), ({}, False),
        ({"elicitation": {"form": {}}}, False), ({"elicitation": {"url": True}}, False),
        ({"elicitation": ["url"]}, False),
    ],
)  # fmt: skip
def test_the_gate_hears_whether_the_client_takes_pages(capabilities: dict[str, Any], elicits: bool) -> None:
    world = ObservedSession()
    hello(world, capabilities)
    world.call(1, "look")
    stateless(world, 2, capabilities)
    assert [trial.caller.elicits for trial in world.gate.trials] == [elicits, elicits]


def test_each_call_without_a_session_says_so_for_itself_also_when_it_came_before() -> None:
    world = ObservedSession()
    for id_ in range(1, 13, 2):
        stateless(world, id_, URLS)
        stateless(world, id_ + 1, {})
    assert [trial.caller.elicits for trial in world.gate.trials] == [True, False] * 6
    assert any("Cached" in type(trial.call).__name__ for trial in world.gate.trials)


# A page to open, by a result: what is ours in the repeated call.


def asks_for_input(world: ObservedSession) -> dict[str, Any]:
    """Answer the call that waits longest with a page to open; gives the result as the client has it."""
    trial = world.gate.trials.pop(0)
    return dict(json.loads(elicitation.input_required(trial.call, "apr_1", PAGE, "Ask").raw)["result"])


ANSWERS: Final = {"intercept-approval": {"action": "accept"}}


def test_a_repeated_call_is_judged_and_sent_as_it_was_first() -> None:
    world = ObservedSession()
    stateless(world, 1, URLS)
    first: ToolCall = world.gate.trials[0].call
    result = asks_for_input(world)
    stateless(world, 2, URLS, requestState=result["requestState"], inputResponses=ANSWERS)
    (again,) = world.gate.trials
    assert again.call.raw == first.raw.replace(b'"id":1', b'"id":2')
    assert not again.caller.elicits, "it would be asked for ever"
    world.gate.allow()
    assert world.server == [again.call.raw]
    stateless(world, 3, URLS)
    assert world.gate.trials[0].caller.elicits


@pytest.mark.parametrize(
    "own",
    [
        {"requestState": "of the server"},
        {"requestState": "s", "inputResponses": {"q": {"action": "accept", "content": {"n": 1}}}},
        {"inputResponses": {"intercept-approval": {"action": "accept"}}},
    ],
)
def test_what_the_server_asked_for_before_comes_back_to_it(own: dict[str, Any]) -> None:
    world = ObservedSession()
    stateless(world, 1, URLS, **own)
    first: ToolCall = world.gate.trials[0].call
    result = asks_for_input(world)
    assert result["inputRequests"].keys() == {"intercept-approval"}
    stateless(world, 2, URLS, requestState=result["requestState"], inputResponses=ANSWERS)
    again: ToolCall = world.gate.trials[0].call
    assert json.loads(again.raw)["params"] == json.loads(first.raw)["params"]


def test_a_state_of_the_servers_goes_on_as_it_is() -> None:
    world = ObservedSession()
    line = stateless(world, 1, URLS, requestState="theirs", inputResponses={"q": {"action": "accept"}})
    assert world.gate.trials[0].caller.elicits
    world.gate.allow()
    assert world.server == [line]


@pytest.mark.parametrize(
    "state", ["apr_2.", "apr_2.!!!", "apr_2.e30=x", "apr_2.W10=", "apr_2.eyJuYW1lIjoidSJ9", "apr_2.é"]
)
def test_a_made_up_state_gives_nothing(state: str) -> None:
    world = ObservedSession()
    stateless(world, 1, URLS)
    first: ToolCall = world.gate.trials.pop().call
    stateless(world, 2, URLS, requestState=f"intercept-approval.{state}", inputResponses=ANSWERS)
    if not world.gate.trials:
        assert world.last_to_client["error"]["code"] == -32602
    else:
        assert world.gate.trials[0].call.raw == first.raw.replace(b'"id":1', b'"id":2')
    assert world.server == []


def test_a_state_within_a_state_of_ours_is_refused() -> None:
    world = ObservedSession()
    inner = asked_with("intercept-approval.apr_9.")
    stateless(world, 1, URLS, requestState=inner)
    assert (world.last_to_client["error"]["code"], world.gate.trials) == (-32602, [])


def asked_with(state: str) -> str:
    """Our state for a call that came with this one."""
    world = ObservedSession()
    stateless(world, 1, URLS, requestState="x")
    call = world.gate.trials[0].call
    params = {**call.params, "requestState": state}
    reply = elicitation.input_required(ToolCall(1, "look", {}, True, call.raw, params), "apr_1", PAGE, "Ask")
    return str(reply.result["requestState"])


def test_a_call_in_a_batch_is_never_held() -> None:
    world = ObservedSession(revision="2025-03-26")
    calls = [
        encoded(id=id_, method="tools/call", params={"name": "look", "arguments": {}}) for id_ in (1, 2)
    ]  # fmt: skip
    world.session.from_client(batch(*calls))
    world.session.from_client(calls[0].replace(b":1,", b":3,"))
    assert [trial.may_hold for trial in world.gate.trials] == [False, False, True]


# What the server's list of tools says.


def listed(world: ObservedSession, id_: int, *tools: dict[str, Any]) -> None:
    world.ask(id_, "tools/list")
    world.answer(id_, result={"tools": list(tools)})
    world.gate.hide()


def test_the_gate_hears_of_the_definitions_that_it_wants() -> None:
    world = ObservedSession()
    world.gate.wanted = {"buy"}
    listed(world, 1, {"name": "buy", "description": "1", "inputSchema": {"a": 1, "b": 2}}, {"name": "look"})
    first = dict(world.gate.definitions)
    assert first.keys() == {"buy"}
    listed(world, 2, {"inputSchema": {"b": 2, "a": 1}, "description": "1", "name": "buy"})
    assert world.gate.definitions == first
    listed(world, 3, {"name": "buy", "description": "2", "inputSchema": {"a": 1, "b": 2}})
    assert world.gate.definitions != first


def test_the_definitions_in_a_large_list_are_known_before_the_client_sees_it() -> None:
    async def inside() -> None:
        world = ObservedSession()
        world.gate.wanted = {"buy"}
        world.ask(1, "tools/list")
        world.answer(1, result={"tools": [{"name": "buy", "description": "x" * LARGE}]})
        while not world.gate.lists:
            await turns()
        assert (list(world.gate.definitions), world.client, world.session.is_waiting) == (["buy"], [], True)
        world.gate.hide()
        await world.session.caught_up()
        assert len(world.client) == 1

    run(inside())
