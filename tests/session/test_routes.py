"""Sessions whose messages each have a way of their own, as over HTTP: one word on each, batches, replays, the end."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.mcp.jsonrpc import Id, Outgoing
from sidecar.mcp.tool_call import Outcome
from sidecar.session.route import Route
from sidecar.upstream.failure import Failure
from tests.session.fakes import Came, ObservedSession, encoded


class Way:
    """A route that notes what is called."""

    def __init__(self, world: ObservedSession, *, hears: bool = True) -> None:
        self.words: list[str] = []
        self.answers: list[Any] = []
        self.given_up: list[Id] = []
        self._world = world
        self.route = Route(
            self._answer, self._send, lambda: self.words.append("nothing"), self._refuse,
            self.given_up.append if hears else None,
        )  # fmt: skip

    def _answer(self, message: Outgoing) -> None:
        self.words.append("to_client")
        self.answers.append(json.loads(message.raw))

    def _refuse(self, message: Outgoing) -> None:
        self.words.append("refuse")
        self.answers.append(json.loads(message.raw))

    def _send(self, message: Outgoing) -> None:
        self.words.append("to_server")
        self._world.server.append(message.raw)


def posted(world: ObservedSession, *messages: dict[str, Any], hears: bool = True) -> Way:
    """One message, or a batch of several, on a way of its own."""
    way = Way(world, hears=hears)
    lines = [encoded(**message) for message in messages]
    world.session.from_client(lines[0] if len(lines) == 1 else b"[%b]" % b",".join(lines), way.route)
    return way


def call(id_: Id, tool: str = "look") -> dict[str, Any]:
    return {"id": id_, "method": "tools/call", "params": {"name": tool}}


def cancel(id_: Id) -> dict[str, Any]:
    return {"method": "notifications/cancelled", "params": {"requestId": id_}}


PING = {"id": 50, "method": "ping"}
NOTE = {"method": "notifications/initialized"}


@pytest.mark.parametrize(
    ("message", "word"),
    [
        (PING, "to_server"), (NOTE, "to_server"), (call(1, "quick"), "to_server"), (call(1, "odd"), "refuse"),
        ({"id": 1, "method": "Tools/call"}, "refuse"), ({"id": 9, "result": {}}, "nothing"),
        ({"id": None, "result": {}}, "nothing"), (cancel(3), "to_server"),
    ],
)  # fmt: skip
def test_there_is_one_word_on_each_message(message: dict[str, Any], word: str) -> None:
    assert posted(ObservedSession(), message).words == [word]


def test_a_call_that_is_given_up_while_it_is_judged_gets_its_word_and_so_does_the_cancel() -> None:
    world = ObservedSession()
    way = posted(world, call(1))
    assert posted(world, cancel(1)).words == way.words == ["nothing"]
    assert (world.server, way.given_up) == ([], [])


def test_whoever_hears_that_a_request_is_given_up_gets_no_late_answer_and_the_call_is_settled_by_it() -> None:
    world = ObservedSession()
    way = posted(world, call(1, "quick"))
    posted(world, cancel(1))
    assert way.given_up == [1]
    world.answer(1)
    assert way.answers == []
    assert world.gate.settled == [(1, Outcome.SUCCEEDED)]


def test_a_cancel_by_a_twin_of_the_id_is_passed_on_and_the_answer_still_comes() -> None:
    world = ObservedSession()
    way = posted(world, call(1, "quick"))
    assert posted(world, cancel("1")).words == ["to_server"]
    world.answer(1)
    assert (way.given_up, [answer["id"] for answer in way.answers]) == ([], [1])


# Random exchanges.


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["look", "quick", "ping", "note", "cancel", "allow", "deny", "answer", "answer twice", "reply"]
        ),
        st.integers(1, 4),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, end=st.sampled_from(["ended", "closed"]))
def test_whatever_happens_each_message_has_one_word_each_call_one_verdict_and_one_settlement(
    steps: list[tuple[str, int]], end: str
) -> None:
    world, ways, allowed = ObservedSession(), list[Way](), Counter[int]()
    for step, id_ in steps:
        match step:
            case "look" | "quick":
                ways.append(posted(world, call(id_, step), hears=False))
                allowed[id_] += ways[-1].words == ["to_server"]
            case "ping":
                ways.append(posted(world, PING | {"id": id_}, hears=False))
            case "note":
                ways.append(posted(world, NOTE))
            case "cancel":
                ways.append(posted(world, cancel(id_)))
            case "reply":
                ways.append(posted(world, {"id": id_, "result": {}}))
            case "allow" | "deny":
                world.gate.trials = [trial for trial in world.gate.trials if not trial.dropped]
                if world.gate.trials and step == "allow":
                    allowed[int(world.gate.trials[0].call.id)] += 1
                    world.gate.allow()
                elif world.gate.trials:
                    world.gate.deny()
            case _:
                world.answer(id_)
                if step == "answer twice":
                    world.answer(id_)
    (world.session.server_ended if end == "ended" else world.session.close)()
    sent = Counter(one["id"] for one in map(json.loads, world.server) if one["method"] == "tools/call")
    settled = Counter(id_ for id_, _ in world.gate.settled)
    assert +sent == +allowed == +settled
    assert sum(sent.values()) == sum(settled.values())
    for way in ways:
        first = way.words[:1]
        assert first in (["to_server"], ["to_client"], ["refuse"], ["nothing"])
        assert way.words[1:] in ([], ["to_client"] if first == ["to_server"] else [])


# Batches of the client.


def batching() -> ObservedSession:
    return ObservedSession(revision="2025-03-26")


@pytest.mark.parametrize("revision", ["", "2024-11-05", "2025-06-18", "2025-11-25", "2026-07-28"])
def test_a_revision_without_batches_has_none_in_either_direction(revision: str) -> None:
    world = ObservedSession(revision=revision)
    way = posted(world, PING, call(1, "quick"))
    assert (way.words, way.answers[0]["error"]["code"], world.server) == (["refuse"], -32600, [])
    world.session.from_server(b"[%b]" % encoded(**NOTE))
    assert (world.client, world.dropped) == ([], ["server"])


def test_what_passes_of_a_batch_travels_as_one_when_all_is_judged_and_refusals_go_back_as_one() -> None:
    world = batching()
    way = posted(world, PING, call(1), call(2), NOTE, call(3, "odd"))
    assert way.words == []
    world.gate.allow()
    world.gate.deny()
    assert way.words == ["to_client", "to_server"]
    assert [message.get("id") for message in json.loads(world.server[0])] == [50, 1, None]
    assert [answer["id"] for answer in way.answers[0]] == [2, 3]


def test_answers_to_a_batch_come_one_by_one_and_settle_their_calls() -> None:
    world = batching()
    way = posted(world, PING, call(1, "quick"))
    world.session.from_server(b"[%b,%b]" % (encoded(id=1, result={}), encoded(id=50, result={})))
    assert [answer["id"] for answer in way.answers] == [1, 50]
    assert world.gate.settled == [(1, Outcome.SUCCEEDED)]


def test_initialize_stands_in_no_batch_and_no_id_twice() -> None:
    world = batching()
    way = posted(world, {"id": 1, "method": "initialize"}, call(2, "quick"), call("2", "quick"))
    assert [answer["id"] for answer in way.answers[0]] == [1, "2"]
    assert [message["id"] for message in json.loads(world.server[0])] == [2]


def test_a_call_without_an_id_in_a_batch_is_refused_and_its_fellows_pass() -> None:
    world = batching()
    posted(world, {"method": "tools/call", "params": {"name": "quick"}}, PING)
    assert [message["method"] for message in json.loads(world.server[0])] == ["ping"]


def test_a_cancel_holds_back_a_call_that_was_allowed_and_waits_for_its_batch() -> None:
    # Passed on, it would come before its call, and the server would run that.
    world = batching()
    way = posted(world, call(1, "quick"), call(2))
    assert posted(world, cancel(1)).words == ["nothing"]
    assert world.gate.settled == [(1, Outcome.NOT_RUN)]
    world.gate.allow()
    assert way.words == ["to_server"]
    assert [message["id"] for message in json.loads(world.server[0])] == [2]


def test_an_answer_to_a_call_that_waits_for_its_batch_is_dropped() -> None:
    world = batching()
    way = posted(world, call(1, "quick"), call(2))
    world.answer(1)
    assert (way.words, world.dropped, world.gate.settled) == ([], ["server"], [])


def test_a_batch_that_was_not_sent_when_the_server_ended_is_answered_and_never_sent() -> None:
    world = batching()
    way = posted(world, call(1, "quick"), call(2), PING)
    world.session.server_ended()
    assert way.words == ["to_client"]
    assert {answer["id"] for answer in way.answers[0]} == {1, 2, 50}
    assert world.gate.settled == [(1, Outcome.NOT_RUN)]
    assert world.server == []


def test_a_call_of_a_batch_that_was_sent_and_is_given_up_is_told() -> None:
    world = batching()
    way = posted(world, call(1, "quick"), call(2, "quick"))
    posted(world, cancel(1))
    world.answer(1)
    world.answer(2)
    assert (way.given_up, [answer["id"] for answer in way.answers]) == ([1], [2])


def test_a_batch_of_the_server_reaches_the_stream_that_it_came_on_as_one() -> None:
    world, came = batching(), Came()
    world.ask(50)
    lines = [encoded(id=50, result={}), encoded(id=51, result={}), encoded(**NOTE)]
    world.session.from_server(b"[%b,%b,%b]" % tuple(lines), came.deliver)
    assert came == [b"[%b,%b]" % (lines[0], lines[2])]
    assert world.dropped == ["server"]


# Streams that are replayed.


def test_an_answer_that_is_replayed_is_shown_again_and_settles_nothing() -> None:
    world, came = ObservedSession(resumable=True), Came()
    world.call(1, "quick")
    reply = world.answer(1)
    world.session.from_server(reply, came.deliver, replayed=True)
    world.session.from_server(reply, came.deliver)
    assert came == [reply, None]
    assert len(world.gate.settled) == 1


def test_a_list_that_is_replayed_is_filtered_again() -> None:
    world, came = ObservedSession(resumable=True), Came()
    world.ask(1, "tools/list")
    reply = world.answer(1, result={"tools": [{"name": "a"}, {"name": "b"}]})
    world.gate.hide("b")
    world.session.from_server(reply, came.deliver, replayed=True)
    assert came == []
    world.gate.hide("a")
    assert [json.loads(one or b"")["result"]["tools"] for one in came] == [[{"name": "b"}]]


HIDDEN_LISTS = [
    {"Tools": [{"name": "b"}]}, {"tools": [{"Name": "b"}]}, {"tools": [{"name": "a", "Name": "b"}]},
    {"tools": [], "TOOLS": [{"name": "b"}]}, {"tool\u017f": [{"name": "b"}]}, {"x": 1, "tools": [{"name": "b"}]},
]  # fmt: skip


@pytest.mark.parametrize("result", HIDDEN_LISTS)
@pytest.mark.parametrize("later", [None, "ping"])
def test_what_was_a_list_is_filtered_whenever_it_comes_again_whatever_its_id_was_used_for(
    later: str | None, result: dict[str, Any]
) -> None:
    world, came = ObservedSession(resumable=True), Came()
    world.ask(1, "tools/list")
    reply = world.answer(1, result=result)
    world.gate.hide("b")
    if later is not None:
        world.ask(1, later)
        world.answer(1)
    world.session.from_server(reply, came.deliver, replayed=True)
    assert came == []
    world.gate.hide("b")
    assert b'"b"' not in (came[0] or b"")


def test_an_empty_result_under_an_id_that_was_a_list_once_is_no_list_to_show() -> None:
    world, came = ObservedSession(resumable=True), Came()
    for method in ("tools/list", "ping"):
        world.ask(1, method)
        reply = world.answer(1)
    world.gate.hide()
    world.session.from_server(reply, came.deliver, replayed=True)
    world.gate.hide()
    assert "error" in json.loads(came[0] or b"")


@pytest.mark.parametrize("result", HIDDEN_LISTS)
@pytest.mark.parametrize("method", ["tasks/result", "initialize", "vendor/x", "tools/call"])
def test_a_result_that_looks_like_a_list_of_tools_is_shown_as_one_whatever_was_asked(
    method: str, result: dict[str, Any]
) -> None:
    world = ObservedSession()
    world.ask(1, method, name="quick")
    world.answer(1, result=result)
    assert world.client == []
    world.gate.hide("b")
    assert b'"b"' not in world.client[0]


@pytest.mark.parametrize(
    "result",
    [
        {"content": [], "structuredContent": {"tools": [{"name": "b"}]}}, {"tools": "b"}, {"tools": ["b"]},
        {"capabilities": {"tools": {"listChanged": True}}}, {"Tooling": [{"name": "b"}]},
    ],
)  # fmt: skip
def test_what_nobody_takes_for_a_list_passes_as_it_is(result: dict[str, Any]) -> None:
    world = ObservedSession()
    world.call(1, "quick")
    reply = world.answer(1, result=result)
    assert world.client == [reply]


# Streams that answer some requests and no others.


def test_an_answer_to_another_request_than_the_stream_is_for_goes_nowhere_and_settles_nothing() -> None:
    world, came = ObservedSession(), Came()
    world.call(1, "quick")
    world.ask(2, "tools/list")
    for line in (encoded(id=1, result={}), b'{"jsonrpc":"2.0","id":1,"result":NaN}', encoded(id="2", result={})):
        world.session.from_server(line, came.deliver, among=[2])
    assert (came, world.gate.settled, world.dropped) == ([None] * 3, [], ["server"] * 3)
    reply = encoded(id=1, result={})
    world.session.from_server(reply, came.deliver, among=[1])
    assert came[-1] == reply


@pytest.mark.parametrize("resumable", [False, True])
def test_a_replayed_answer_that_nobody_waited_for_goes_nowhere(resumable: bool) -> None:
    world, came = ObservedSession(resumable=resumable), Came()
    world.session.from_server(encoded(id=1, result={"tools": []}), came.deliver, replayed=True)
    assert (came, world.dropped) == ([None], ["server"])


def test_a_request_of_the_server_that_is_replayed_is_shown_again_and_answered_once() -> None:
    world, came = ObservedSession(resumable=True), Came()
    line = encoded(id=1, method="roots/list")
    for replayed in (False, True, False):
        world.session.from_server(line, came.deliver, replayed=replayed)
    assert came == [line, line, None]
    words = [posted(world, {"id": 1, "result": {}}).words for _ in range(2)]
    assert words == [["to_server"], ["nothing"]]


# No answer, and the end.


@pytest.mark.parametrize("outcome", [Outcome.NOT_RUN, Outcome.UNKNOWN])
def test_a_request_without_an_answer_is_settled_and_answered_once(outcome: Outcome) -> None:
    world = ObservedSession()
    way = posted(world, call(1, "quick"))
    for _ in range(2):
        world.session.no_answer(1, Failure("gone", outcome, "dns"))
    error = {"code": -32000, "message": "gone", "data": {"upstream": "dns"}}
    assert [(answer["id"], answer["error"]) for answer in way.answers] == [(1, error)]
    assert world.gate.settled == [(1, outcome)]
    assert world.session.unanswered(1, Failure("gone", Outcome.UNKNOWN, "lost")) is None


def test_a_call_that_is_judged_cannot_be_left_without_an_answer() -> None:
    world = ObservedSession()
    way = posted(world, call(1))
    world.session.no_answer(1, Failure("gone", Outcome.NOT_RUN, "unsent"))
    world.gate.allow()
    assert way.words == ["to_server"]


def test_a_session_that_is_closed_settles_everything_and_has_a_word_for_whoever_waits_for_one() -> None:
    world = batching()
    judged, sent, batch = (
        posted(world, call(1)),
        posted(world, call(2, "quick")),
        posted(world, call(3, "quick"), call(4)),
    )
    world.session.close()
    assert (judged.words, sent.words, batch.words) == (["nothing"], ["to_server"], ["nothing"])
    assert world.gate.settled == [(2, Outcome.UNKNOWN), (3, Outcome.NOT_RUN)]
    assert all(trial.dropped for trial in world.gate.trials)


# What is learnt.


@pytest.mark.parametrize(
    ("answer", "revision"),
    [({"protocolVersion": "2025-03-26"}, "2025-03-26"), ({"protocolVersion": 1}, ""), ({}, ""), ([], "")],
)
def test_the_revision_is_learnt_from_the_answer_to_initialize(answer: Any, revision: str) -> None:
    world = ObservedSession(revision="2025-06-18")
    world.ask(1, "initialize")
    world.answer(1, result=answer)
    assert world.session.revision == revision


def test_only_subscriptions_for_it_hear_of_changed_tools_each_under_its_id() -> None:
    world = ObservedSession()
    world.ask("a", "subscriptions/listen", notifications={"toolsListChanged": True})
    world.ask("b", "subscriptions/listen", notifications={"resourcesListChanged": True})
    world.ask("c", "subscriptions/listen", notifications={"toolsListChanged": True})
    world.answer("c")
    del world.client[:]
    world.session.tools_changed()
    told = [json.loads(line) for line in world.client]
    assert [(one["method"], one["params"]["_meta"]) for one in told] == [
        ("notifications/tools/list_changed", {"io.modelcontextprotocol/subscriptionId": "a"})
    ]
