"""Calls that came before: what is found is what reading the line would give, and nothing is found that was not read."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.downstream.post import Post
from sidecar.enforce.call_cache import MAX_BYTES, MAX_LINE, CachedCall, CachedQuestion, CallCache, Memo
from sidecar.errors import InvalidMessage
from sidecar.http.values import Headers
from sidecar.mcp import jsonrpc, protocol, strict_json
from sidecar.mcp.jsonrpc import Request
from sidecar.mcp.protocol import ClientInfo
from sidecar.mcp.tool_call import ToolCall, read_call
from tests.mcp.calls import CLIENT, calls, changed, encoded
from tests.session.fakes import BUNDLE, ObservedSession
from tests.support.fuzzing import examples

Read = tuple[Request, ToolCall, ClientInfo | None]

CALL = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "t", "arguments": {"a": 1}}}


def read(line: bytes) -> Read:
    """What the strict reader makes of a call. Raises `InvalidMessage`."""
    request = jsonrpc.read(line)
    if not isinstance(request, Request) or request.method != protocol.TOOLS_CALL:
        raise InvalidMessage(jsonrpc.INVALID_REQUEST, "no call")
    return request, read_call(request), protocol.client_info(request)


def knowing(*lines: bytes) -> CallCache:
    """Calls that know lines which came twice."""
    known = CallCache()
    for line in lines * 2:
        known.keep(*read(line))
    return known


def found_as_read(known: CallCache, line: bytes) -> bool:
    """Whether a line is known. If it is, it has to be good, and what is found what reading it gives."""
    found = known.find(line)
    if found is None:
        return False
    request, call, client = read(line)
    assert ToolCall(*msgspec.structs.astuple(found[0])[:-1]) == call
    assert (found[0].raw, found[0].id) == (line, request.id)
    assert strict_json.encode(found[0].arguments) == strict_json.encode(call.arguments)  # 1 is not 1.0, nor true
    assert strict_json.encode(found[0].params) == strict_json.encode(call.params)
    assert (found[1].request.params, found[1].client) == (request.params, client)
    assert request.raw == line
    return True


@pytest.mark.parametrize(
    "members",
    [
        ("jsonrpc", "id", "method", "params"), ("id", "method", "params", "jsonrpc"),
        ("method", "params", "jsonrpc", "id"), ("method", "params", "id", "jsonrpc"),
    ],
)  # fmt: skip
def test_a_call_that_came_twice_is_known_under_any_other_id(members: tuple[str, ...]) -> None:
    message = {key: CALL[key] for key in members}
    known = knowing(encoded(message | {"id": 5}))
    for id_ in (0, 5, 6, 77, 10**15 - 1):
        assert found_as_read(known, encoded(message | {"id": id_}))


def test_a_call_that_came_once_is_not_worth_keeping() -> None:
    known = CallCache()
    known.keep(*read(encoded(CALL)))
    assert known.find(encoded(CALL)) is None


def test_calls_that_say_the_same_share_what_others_worked_out_and_no_others_do() -> None:
    other = CALL | {"params": {"name": "t", "arguments": {"a": 2}}}
    known = knowing(encoded(CALL), encoded(other))
    first, second, third = (known.find(encoded(message)) for message in (CALL, CALL | {"id": 8}, other))
    assert first is not None
    assert second is not None
    assert third is not None
    first[0].memo.question = CachedQuestion(BUNDLE, False, None, None, b"")
    assert (second[0].memo, third[0].memo) == (first[0].memo, Memo())


def test_a_call_that_is_not_known_keeps_nothing() -> None:
    assert not isinstance(read(encoded(CALL))[1], CachedCall)


@pytest.mark.parametrize(
    "id_", ["007", "-7", "7.0", "7e0", '"7"', "null", "true", "1" * 16, "9007199254740993", " 7", "7 ", "+7", "０", ""]
)
def test_what_is_no_plain_integer_is_not_known(id_: str) -> None:
    known = knowing(encoded(CALL))
    assert known.find(encoded(CALL).replace(b'"id":7', b'"id":%b' % id_.encode())) is None


def test_an_integer_that_is_called_id_and_is_not_the_id_is_never_taken_for_it() -> None:
    # It stands where the id is looked for.
    inner = {"name": "t", "arguments": {"id": 5, "a": 1}}
    line = encoded({"params": inner, "method": "tools/call", "jsonrpc": "2.0", "id": "x"})
    known = knowing(line)
    assert not found_as_read(known, line)
    assert not found_as_read(known, line.replace(b'"id":5', b'"id":6'))


# An integer called id in the arguments, and the id of the message next to it in number: once, the one was cut for the
# other, and a call that policy forbids was judged as the one before.
NESTED = [
    b'{"params":{"arguments":{"id":%d,"x":1},"name":"pay"},"jsonrpc":"2.0","method":"tools/call","id":6}',
    b'{"params":{"arguments":{"x\\"id":%d,"x":1},"name":"pay"},"jsonrpc":"2.0","method":"tools/call","id":6}',
    b'{"params":{"name":"pay","arguments":{"x":1,"id":%d}},"jsonrpc":"2.0","id":6,"method":"tools/call"}',
    b'{"method":"tools/call","params":{"name":"pay","arguments":{"id":%d}},"jsonrpc":"2.0","id":6}',
    b'{"method":"tools/call","params":{"name":"pay","arguments":{"x":[{"id":%d}]}},"id":6,"jsonrpc":"2.0"}',
    b'{"jsonrpc":"2.0","id":6,"method":"tools/call","params":{"name":"pay","arguments":{"a":{"id":%d}}}}',
    b'{"params":{"name":"pay","arguments":{"id":%d}},"method":"tools/call","id":6,"jsonrpc":"2.0"}',
    b'{"id":6,"params":{"name":"pay","arguments":{"a":",\\"id\\":%d}"}},"method":"tools/call","jsonrpc":"2.0"}',
]


@pytest.mark.parametrize("line", NESTED)
def test_a_number_in_the_arguments_is_never_cut_for_the_id(line: bytes) -> None:
    known = knowing(line % 5)
    for value in (0, 4, 5, 6, 7, 999_999):
        assert found_as_read(known, line % value) is (value == 5)


def test_an_id_in_another_place_is_not_known() -> None:
    line = encoded(CALL)
    known, rest = knowing(line), line.replace(b'"id":7', b"")
    for at in range(len(rest) + 1):
        elsewhere = rest[:at] + b'"id":7' + rest[at:]
        # `read` raises for all of them but one.
        assert found_as_read(known, elsewhere) is (elsewhere == line)


def test_a_nested_id_is_a_part_of_what_has_to_be_the_same() -> None:
    message = {"id": 1, "jsonrpc": "2.0", "method": "tools/call", "params": {"name": "t", "arguments": {"id": 5}}}
    known = knowing(encoded(message))
    assert found_as_read(known, encoded(message | {"id": 2}))
    assert not found_as_read(known, encoded(message).replace(b'"id":5', b'"id":6'))


def test_a_line_that_was_not_canonical_is_known_in_its_canonical_form_alone() -> None:
    line = b'{ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "t", "arguments": {"a": 1.10}} }'
    known = knowing(line)
    assert known.find(line) is None
    assert found_as_read(known, read(line)[0].raw.replace(b'"id":7', b'"id":8'))


def test_a_long_line_is_not_kept() -> None:
    at_most = len(encoded(CALL | {"params": {"name": "t", "arguments": {"a": ""}}}))
    for more, is_known in ((0, True), (1, False)):
        message = CALL | {"params": {"name": "t", "arguments": {"a": "x" * (MAX_LINE - at_most + more)}}}
        assert found_as_read(knowing(encoded(message)), encoded(message)) is is_known


def test_no_more_is_kept_than_there_is_room_for() -> None:
    known = CallCache()
    lines = [encoded(CALL | {"params": {"name": "t", "arguments": {"n": n, "x": "y" * 3000}}}) for n in range(1000)]
    for line in lines:
        known.keep(*read(line))
        known.keep(*read(line))
    kept = [line for line in lines if known.find(line) is not None]
    assert kept == lines[-len(kept) :]
    assert 0 < sum(map(len, kept)) < MAX_BYTES


def test_what_is_forgotten_is_read_again() -> None:
    known = knowing(encoded(CALL))
    known.forget()
    assert known.find(encoded(CALL)) is None


class Nothing(CallCache):
    """Knows nothing."""

    def find(self, line: bytes) -> None:
        return None


pool = [
    *(
        ("client", encoded(CALL | {"id": id_, "params": {"name": tool}}))
        for id_ in (1, 2) for tool in ("quick", "look", "odd")
    ),
    *(
        ("client", encoded(CALL | {"id": id_, "params": {"name": "quick", "_meta": {CLIENT: {"name": name}}}}))
        for id_ in (1, 2) for name in ("one", "other")
    ),
    *(("client", encoded({"jsonrpc": "2.0", "id": id_, "method": "ping"})) for id_ in (1, 2)),
    *(
        ("client", encoded({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id_}}))
        for id_ in (1, 2)
    ),
    *(("server", encoded({"jsonrpc": "2.0", "id": id_, "result": {}})) for id_ in (1, 2)),
    ("allow", b""), ("deny", b""),
]  # fmt: skip


@given(st.lists(st.sampled_from(pool), max_size=40), st.sampled_from(["", "harmless", "quick"]))
def test_a_session_does_the_same_whether_it_knows_calls_or_not(steps: list[tuple[str, bytes]], name: str) -> None:
    def seen(known: CallCache) -> Any:
        world = ObservedSession()
        world.gate.known = known
        callers = []
        for who, line in steps:
            if who == "client":
                post = Post(Headers([("mcp-name", name)] if name else []))
                world.session.from_client(line, look=post.look)
            elif who == "server":
                world.session.from_server(line)
            elif world.gate.trials:
                (world.gate.allow if who == "allow" else world.gate.deny)()
            callers.append(world.session.caller)
        return world.client, world.server, world.gate.settled, world.events, callers

    every_call = [line for who, line in pool if who == "client" and b"tools/call" in line]
    assert seen(knowing(*every_call)) == seen(Nothing())


@pytest.mark.fuzz
@examples(200)
@given(st.data())
def test_what_is_found_is_what_reading_gives_and_what_cannot_be_read_is_not_found(data: st.DataObject) -> None:
    known = CallCache()
    lines = [encoded(CALL)]
    for _ in range(data.draw(st.integers(1, 3))):
        line = data.draw(calls())
        lines += [line, *(data.draw(changed(line)) for _ in range(4))]
    for line in data.draw(st.lists(st.sampled_from(lines), min_size=8, max_size=30)):
        # As a session does: what is not found is read and kept. `read` raises for a line that is found and is no good.
        if not found_as_read(known, line):
            with suppress(InvalidMessage):
                known.keep(*read(line))
