"""What happens to each message between one client and one server, with a gate that decides when the test says so."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from sidecar.auth.caller import Caller
from sidecar.enforce.gate import Gate
from sidecar.events import Decided, Event, Listed, Passed, Refused
from sidecar.mcp.tool_call import MAX_TOOL_NAME, Outcome
from sidecar.system.lines import TooLong
from sidecar.upstream.failure import Failure
from tests.enforce.fakes import FakeEngine, FakeLedger
from tests.mcp.calls import CLIENT
from tests.session.fakes import MARKER, ObservedSession, encoded

# From the client to the server.


def test_what_is_no_tool_call_is_sent_on_at_once_in_canonical_form() -> None:
    world = ObservedSession()
    world.session.from_client(b' {"jsonrpc" : "2.0", "id": 1,\r"method":"vendor/x", "params": {"a": 1.10}} ')
    world.session.from_client(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')
    assert world.server == [
        b'{"jsonrpc":"2.0","id":1,"method":"vendor/x","params":{"a":1.10}}',
        b'{"jsonrpc":"2.0","method":"notifications/initialized"}',
    ]
    assert world.events == [Passed("stub", "vendor/x"), Passed("stub", "notifications/initialized")]


def test_a_call_is_sent_on_when_it_is_allowed_and_not_before() -> None:
    world = ObservedSession()
    line = world.call(1, "look")
    assert world.server == []
    world.gate.allow()
    assert world.server == [line]


def test_a_call_that_is_judged_holds_up_no_other_message() -> None:
    world = ObservedSession()
    world.call(1, "look")
    after = [world.ask(2), world.call(3, "quick"), encoded(method="notifications/progress")]
    world.session.from_client(after[2])
    assert world.server == after
    reply = world.answer(2)
    assert world.client == [reply]


def test_a_method_that_policy_denies_is_answered_and_never_sent_and_its_id_is_free() -> None:
    world = ObservedSession()
    world.ask(1, "denied/method")
    world.session.from_client(encoded(method="denied/method"))
    assert world.server == []
    (told,) = map(json.loads, world.client)
    assert (told["id"], told["error"]["code"]) == (1, -32601)
    assert world.server == [world.ask(1)]


def test_a_denied_call_is_answered_and_never_sent() -> None:
    world = ObservedSession()
    world.call(1, "look")
    world.gate.deny()
    assert world.server == []
    assert world.last_to_client == {"jsonrpc": "2.0", "id": 1, "result": "denied"}


def test_a_call_that_cannot_be_judged_is_refused() -> None:
    world = ObservedSession()
    world.call(1, "odd")
    assert world.server == []
    assert world.last_to_client["error"]["code"] == -32602
    assert world.events == [Refused("d-1", "stub", Caller("s"), -32602, "odd")]


@pytest.mark.parametrize(("first", "second"), [(7, 7), (7, "7"), ("7", 7)])
@pytest.mark.parametrize("state", ["judged", "forwarded", "cancelled", "no call"])
def test_an_id_that_waits_for_an_answer_cannot_be_used_again(first: int | str, second: int | str, state: str) -> None:
    world = ObservedSession()
    world.ask(first) if state == "no call" else world.call(first, "look" if state == "judged" else "quick")
    if state == "cancelled":
        world.cancel(first)
    sent = list(world.server)
    world.call(second, "quick")
    assert world.server == sent
    assert (world.last_to_client["id"], world.last_to_client["error"]["code"]) == (second, -32600)


def test_an_id_may_be_used_again_once_it_was_answered_or_denied() -> None:
    world = ObservedSession()
    world.call(1, "quick")
    world.answer(1)
    world.call(1, "look")
    world.gate.deny()
    again = world.call(1, "quick")
    assert world.server[-1] == again


def test_requests_beyond_the_bound_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.session.outstanding.MAX_OUTSTANDING", 2)
    world = ObservedSession()
    world.ask(1)
    world.call(2, "look")
    world.call(3, "quick")
    assert len(world.server) == 1
    assert world.last_to_client["error"]["code"] == -32600
    world.answer(1)
    assert world.call(3, "quick") in world.server


def test_what_the_client_calls_itself_is_told_to_the_gate_fit_to_show_and_capped() -> None:
    world = ObservedSession()
    world.ask(1, "initialize", clientInfo={"name": "agent\n" + "x" * 1000})
    world.call(2, "look")
    (trial,) = world.gate.trials
    assert trial.caller.client.startswith("agent\\nxxx")
    assert len(trial.caller.client) < 150


def test_what_the_client_says_of_itself_is_told_to_the_gate_in_its_own_words_and_the_last_word_counts() -> None:
    world = ObservedSession()
    metas: list[dict[str, Any]] = [
        {},
        {"_meta": {CLIENT: {"name": "agent\n", "version": "1"}}},
        {"_meta": {}},
        {"_meta": {CLIENT: {"name": "x" * 2000}}},
        {"_meta": {CLIENT: {"version": 7}}},
    ]
    said = []
    for id_, params in enumerate(metas):
        world.ask(id_, "tools/call", name="look", arguments={}, **params)
        said.append(world.gate.trials[-1].caller.document)
    assert said == [
        {},
        {"session": {"client": {"name": "agent\n", "version": "1"}}},
        {"session": {"client": {"name": "agent\n", "version": "1"}}},
        {"session": {"client": {"name": True}}},
        {"session": {"client": {"version": True}}},
    ]


# Cancel.


@pytest.mark.parametrize("named", [1, "1"], ids=["its id", "the text of its id"])
def test_a_cancel_ends_a_call_that_is_judged_and_the_server_hears_nothing(named: int | str) -> None:
    # Servers take "1" for 1 and ignore a cancel that comes before its call: passed on, it would not stop the call.
    world = ObservedSession()
    world.call(1, "look")
    world.cancel(named)
    assert world.gate.trials[0].dropped
    assert (world.server, world.client) == ([], [])
    again = world.call(1, "quick")
    assert world.server == [again]


def test_a_cancel_of_a_forwarded_call_is_passed_on_and_its_answer_may_still_come() -> None:
    world = ObservedSession()
    line = world.call(1, "quick")
    cancel = world.cancel(1)
    assert world.server == [line, cancel]
    assert (world.gate.doubted, world.gate.settled) == ([1], [])
    reply = world.answer(1)
    assert world.client == [reply]
    assert world.gate.settled == [(1, Outcome.SUCCEEDED)]


def test_a_cancel_of_nothing_is_passed_on() -> None:
    world = ObservedSession()
    assert [world.cancel(1)] == world.server


async def _cancel_while_the_engine_thinks() -> ObservedSession:
    engine, events = FakeEngine(), list[Event]()
    engine.go.clear()
    gate = Gate(server="stub", instance="i", decider=engine, ledger=FakeLedger(), emit=events.append, key=b"k")
    world = ObservedSession(gate)
    world.call(1, "look")
    world.cancel(1)
    assert len(engine.asked) == 1
    engine.go.set()
    await gate.finish()
    world.events += events
    return world


def test_a_call_that_was_cancelled_is_not_sent_when_the_engine_allows_it_later() -> None:
    world = asyncio.run(_cancel_while_the_engine_thinks())
    assert (world.server, world.client) == ([], [])
    assert [(event.ruling.allowed, event.ruling.kind) for event in world.events if isinstance(event, Decided)] == [
        (False, "cancelled")
    ]


# From the server to the client.


def test_an_answer_reaches_the_client_once_and_settles_its_call() -> None:
    world = ObservedSession()
    world.call(1, "quick")
    reply = world.answer(1, result={"isError": True})
    world.answer(1)
    assert world.client == [reply]
    assert world.gate.settled == [(1, Outcome.FAILED)]
    assert world.dropped == ["server"]


@pytest.mark.parametrize("id_", ["2", " 2 ", "+2", "٢", 2.0, 3, True])
def test_an_answer_with_a_foreign_id_is_dropped(id_: Any) -> None:
    world = ObservedSession()
    world.call(2, "quick")
    world.answer(id_)
    assert world.client == []
    assert world.dropped == ["server"]
    reply = world.answer(2)
    assert world.client == [reply]


def test_an_answer_to_a_call_that_is_judged_is_dropped_and_the_judgement_goes_on() -> None:
    world = ObservedSession()
    line = world.call(1, "look")
    world.answer(1, result={})
    world.answer(1, error={"code": 1, "message": ""})
    world.answer(1, result=float("nan"))
    assert world.client == []
    assert world.dropped == ["server"] * 3
    world.gate.allow()
    reply = world.answer(1)
    assert (world.server, world.client) == ([line], [reply])


def test_an_answer_to_a_denied_call_is_dropped() -> None:
    world = ObservedSession()
    world.call(1, "look")
    world.gate.deny()
    world.answer(1)
    assert [json.loads(line) for line in world.client] == [{"jsonrpc": "2.0", "id": 1, "result": "denied"}]
    assert world.dropped == ["server"]


def test_notifications_and_errors_that_name_no_request_pass() -> None:
    world = ObservedSession()
    lines = [
        encoded(method="notifications/message", params={"data": 1}),
        encoded(id=None, error={"code": -32700, "message": ""}),
    ]
    for line in lines:
        world.session.from_server(line)
    assert world.client == lines


# Lists of tools.


def listed(*names: str, **more: Any) -> dict[str, Any]:
    return {"tools": [{"name": name} for name in names], **more}


@pytest.mark.parametrize(
    ("params", "result", "whole"),
    [
        ({}, listed("a"), True), ({"cursor": ""}, listed("a"), True), ({"cursor": "2"}, listed("a"), False),
        ({}, listed("a", nextCursor="2"), False),
    ],
)  # fmt: skip
def test_the_tools_that_the_server_lists_are_noted(params: dict[str, Any], result: Any, whole: bool) -> None:
    world = ObservedSession()
    world.ask(1, "tools/list", **params)
    world.answer(1, result=result)
    noted = world.events[-1]
    assert isinstance(noted, Listed)
    assert (noted.server, noted.tools, noted.whole) == ("stub", ["a"], whole)


def test_a_tool_whose_name_is_too_long_for_a_call_is_not_noted_and_listed_all_the_same() -> None:
    world = ObservedSession()
    world.ask(1, "tools/list")
    world.answer(1, result=listed("a", "b" * (MAX_TOOL_NAME + 1)))
    noted = world.events[-1]
    assert isinstance(noted, Listed)
    assert (noted.tools, noted.whole) == (["a"], True)
    world.gate.hide()
    assert len(world.last_to_client["result"]["tools"]) == 2


def test_a_list_reaches_the_client_filtered_and_not_before_the_gate_said_how() -> None:
    world = ObservedSession()
    world.ask(1, "tools/list")
    world.answer(1, result=listed("a", "b", "a", "c", nextCursor="n", more=1))
    assert (world.client, world.gate.lists[0][0]) == ([], ["a", "b", "a", "c"])
    world.gate.hide("b")
    assert world.last_to_client == {
        "jsonrpc": "2.0", "id": 1, "result": listed("a", "a", "c", nextCursor="n", more=1)
    }  # fmt: skip


def test_a_list_that_nobody_can_filter_is_an_error() -> None:
    world = ObservedSession()
    world.ask(1, "tools/list")
    world.answer(1, result=listed("a"))
    world.gate.lists[0][1](None)
    assert (world.last_to_client["id"], world.last_to_client["error"]["code"]) == (1, -32603)
    assert len(world.client) == 1


def test_an_error_instead_of_a_list_passes() -> None:
    world = ObservedSession()
    world.ask(1, "tools/list")
    assert [world.answer(1, error={"code": 1, "message": ""})] == world.client
    assert world.gate.lists == []


@pytest.mark.parametrize("cancelled", [False, True])
def test_an_answer_to_a_list_is_filtered_also_after_the_list_was_cancelled(cancelled: bool) -> None:
    world = ObservedSession()
    world.ask(1, "tools/list")
    if cancelled:
        world.cancel(1)
    world.answer(1, result=listed("a", "b"))
    world.gate.hide("b")
    assert [tool["name"] for tool in world.last_to_client["result"]["tools"]] == ["a"]


@pytest.mark.parametrize("id_", ["1", 1.0, 2, None, "one"])
def test_a_list_under_a_foreign_id_never_passes(id_: Any) -> None:
    world = ObservedSession()
    world.ask(1, "tools/list")
    world.answer(id_, result=listed("secret"))
    assert (world.client, world.gate.lists) == ([], [])
    assert world.dropped == ["server"]


def test_a_second_answer_to_one_list_never_passes() -> None:
    world = ObservedSession()
    world.ask(1, "tools/list")
    world.answer(1, result=listed("a", "b"))
    world.answer(1, result=listed("a", "b"))
    world.gate.hide("b")
    assert (len(world.client), world.dropped, world.gate.lists) == (1, ["server"], [])


CAN = {"capabilities": {"tools": {"listChanged": True}}}


@pytest.mark.parametrize(
    ("method", "result", "told"),
    [
        ("initialize", CAN, True), ("initialize", {"capabilities": {"tools": {}}}, False), ("ping", CAN, False),
        ("initialize", {"capabilities": {"tools": {"listChanged": "true"}}}, False), ("initialize", {}, False),
        ("initialize", [], False),
    ],
)  # fmt: skip
def test_the_client_hears_of_changed_tools_only_if_the_server_announced_that_it_may(
    method: str, result: Any, told: bool
) -> None:
    world = ObservedSession()
    world.ask(1, method)
    world.answer(1, result=result)
    del world.client[:]
    world.session.tools_changed()
    assert [json.loads(line) for line in world.client] == (
        [{"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}] if told else []
    )


# Answers that cannot be passed on.


BAD_ANSWERS = [
    pytest.param(b'{"jsonrpc":"2.0","id":1,"result":NaN}', id="NaN"),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"result":{"a":1,"a":2}}', id="key twice"),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"result":"\xff"}', id="not UTF-8"),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"result":"\\ud800"}', id="lone surrogate"),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"result":' + b"[" * 200 + b"]" * 200 + b"}", id="200 levels"),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"result":{},"error":{}}', id="result and error"),
    pytest.param(b'{"id":1,"result":{}}', id="no version"),
    pytest.param(TooLong(b'{"jsonrpc":"2.0","id":1,"result":"s3cret', b'"}', 10), id="too long, id at the head"),
    pytest.param(TooLong(b'{"jsonrpc":"2.0","result":"s3cret', b'","id":1}', 10), id="too long, id at the tail"),
    # A member of the answer that is called like one of a request, anywhere but at the top.
    pytest.param(b'{"jsonrpc":"2.0","id":1,"result":{"method":"x","a":"\xff"}}', id="not UTF-8, a method inside"),
    pytest.param(
        b'{"jsonrpc":"2.0","id":1,"result":{"method":' + b"[" * 200 + b"]" * 200 + b"}}",
        id="200 levels, a method inside",
    ),
    pytest.param(
        b'{"jsonrpc":"2.0","result":{"method":' + b"[" * 9000 + b"]" * 9000 + b'},"id":1}', id="9,000 levels, id last"
    ),
    pytest.param(TooLong(b'{"jsonrpc":"2.0","id":1,"result":{"method":"x', b'"}}', 10), id="too long, a method inside"),
    pytest.param(
        TooLong(b'{"result":{"a":"', b'","method":"x"},"id":1,"jsonrpc":"2.0"}', 10), id="too long, a method at its end"
    ),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"result":{"text":"\x01"}}', id="a control character, so no JSON"),
    # What it was stands where nobody sees it; its id waits.
    pytest.param(TooLong(b'{"x":"', b'","id":1,"jsonrpc":"2.0"}', 10), id="too long, only the id is seen"),
]


@pytest.mark.parametrize("answer", BAD_ANSWERS)
def test_an_answer_that_cannot_be_passed_on_becomes_an_error_with_its_id(answer: bytes | TooLong) -> None:
    world = ObservedSession()
    world.call(1, "quick")
    world.session.from_server(answer)
    assert (world.last_to_client["id"], world.last_to_client["error"]["code"]) == (1, -32603)
    assert MARKER not in str(world.client)
    assert world.gate.settled == [(1, Outcome.UNKNOWN)]
    world.answer(1)
    assert len(world.client) == 1


@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{"a":NaN}}',
        TooLong(b'{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{"a":"', b'"}}', 10),
        TooLong(b'{"params":{"result":1,"a":"', b'"},"id":1,"jsonrpc":"2.0"}', 10),
        b'{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{"result":1,"a":"\xff"}}',
        TooLong(b'{"x":"', b'","id":1,"method":"sampling/createMessage"}', 10),
    ],
    ids=["NaN", "too long", "too long, a result inside", "not UTF-8, a result inside", "too long, method at the tail"],
)
def test_a_request_of_the_server_that_cannot_be_read_ends_no_call_of_the_client(line: bytes | TooLong) -> None:
    # The two sides number their requests independently, and both begin at 1.
    world = ObservedSession()
    world.call(1, "quick")
    world.session.from_server(line)
    assert world.client == []
    assert (json.loads(world.server[-1])["id"], "error" in json.loads(world.server[-1])) == (1, True)
    reply = world.answer(1)
    assert world.client == [reply]


@pytest.mark.parametrize("answered", [False, True])
def test_what_the_server_sends_under_an_id_of_its_own_that_waits_ends_no_request_of_its_own(answered: bool) -> None:
    world = ObservedSession()
    world.session.from_server(SAMPLING)
    if answered:
        world.session.from_client(encoded(id=1, result={}))
    before = list(world.server)
    world.session.from_server(TooLong(b'{"x":"', b'","id":1,"jsonrpc":"2.0"}', 10))
    assert (len(world.server) > len(before)) is answered


def test_an_answer_to_a_cancelled_request_that_cannot_be_passed_on_gives_its_id_back() -> None:
    world = ObservedSession()
    world.ask(1)
    world.cancel(1)
    world.session.from_server(b'{"jsonrpc":"2.0","id":1,"result":NaN}')
    world.client.clear()
    again = world.ask(1)
    assert (world.client, world.server[-1]) == ([], again)


# Requests of the server.


SAMPLING = encoded(id=1, method="sampling/createMessage", params={})


def test_a_request_of_the_server_passes_and_so_does_one_answer() -> None:
    world = ObservedSession()
    world.session.from_server(SAMPLING)
    assert world.client == [SAMPLING]
    answer = encoded(id=1, result={"role": "user"})
    for line in (encoded(id="1", result={}), encoded(id=2, result={}), answer, answer):
        world.session.from_client(line)
    assert world.server == [answer]
    assert world.dropped == ["client"] * 3


def test_the_two_sides_number_their_requests_independently() -> None:
    world = ObservedSession()
    call = world.call(1, "quick")
    world.session.from_server(SAMPLING)
    answer = encoded(id=1, result={"role": "user"})
    world.session.from_client(answer)
    reply = world.answer(1)
    assert (world.server, world.client) == ([call, answer], [SAMPLING, reply])


def test_a_request_of_the_server_with_an_id_that_waits_already_is_dropped() -> None:
    world = ObservedSession()
    world.session.from_server(SAMPLING)
    world.session.from_server(SAMPLING.replace(b'"id":1', b'"id":"1"'))
    assert world.client == [SAMPLING]
    assert world.dropped == ["server"]


@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc":"2.0","id":1,"result":{"a":NaN}}',
        TooLong(b'{"jsonrpc":"2.0","id":1,"result":{"a":"', b'"}}', 10),
        TooLong(b'{"jsonrpc":"2.0","id":1,"result":{"method":"', b'"}}', 10),
        b'{"jsonrpc":"2.0","id":1,"result":{"method":"x","a":"\xff"}}',
        b'{"jsonrpc":"2.0","id":1,"result":{"method":' + b"[" * 9000 + b"]" * 9000 + b"}}",
        TooLong(b'{"x":"', b'","id":1,"jsonrpc":"2.0"}', 10),
    ],
    ids=[
        "NaN",
        "too long",
        "too long, a method inside",
        "not UTF-8, a method inside",
        "too deep",
        "only the id is seen",
    ],
)
def test_an_answer_of_the_client_that_cannot_be_read_answers_no_call_of_its_own(line: bytes | TooLong) -> None:
    # An error with this id would end the client's call 1, during which the server asked.
    world = ObservedSession()
    call = world.call(1, "quick")
    world.session.from_server(SAMPLING)
    world.session.from_client(line)
    assert 1 not in [json.loads(message)["id"] for message in world.client[1:]]
    assert world.server[0] == call
    (error,) = map(json.loads, world.server[1:])
    assert (error["id"], error["error"]["code"]) == (1, -32603)


def test_what_a_client_sends_under_the_id_of_a_call_that_runs_is_refused_under_none_where_it_does_not_show_itself() -> (
    None
):
    world = ObservedSession()
    world.call(1, "quick")
    world.session.from_client(TooLong(b'{"x":"', b'","id":1,"jsonrpc":"2.0"}', 10))
    assert world.last_to_client["id"] is None
    world.session.from_client(TooLong(b'{"x":"', b'","id":2,"jsonrpc":"2.0"}', 10))
    assert world.last_to_client["id"] == 2


# The end.


def test_when_the_server_ends_everything_that_waits_is_answered() -> None:
    world = ObservedSession()
    world.ask(1)
    world.call("2", "quick")
    world.call(3, "look")
    world.call(4, "quick")
    world.cancel(4)
    world.session.server_ended()
    answers = {(reply["id"], reply["error"]["code"]) for reply in map(json.loads, world.client)}
    assert answers == {(1, -32000), ("2", -32000), (3, -32000)}
    assert sorted(world.gate.settled, key=str) == [("2", Outcome.UNKNOWN), (4, Outcome.UNKNOWN)]
    assert world.gate.trials[0].dropped


def test_a_cancelled_call_that_was_not_sent_after_all_gives_back_and_leaves_its_id_free() -> None:
    world = ObservedSession()
    world.call(1, "quick")
    world.cancel(1)
    world.session.no_answer(1, Failure("it was cancelled first", Outcome.NOT_RUN, "unsent"))
    assert world.gate.settled == [(1, Outcome.NOT_RUN)]
    assert world.client == []
    world.call(1, "quick")
    assert len(world.server) == 3
