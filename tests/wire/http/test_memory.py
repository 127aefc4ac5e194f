"""What clients and servers send is bounded by what we may use: in a control group of the shipped size we live."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.cgroup import Group, group
from tests.support.listener import Listener, sidecar
from tests.support.peer import until
from tests.support.pod_opa import BASE, PodOpa
from tests.wire.http.client import Agent, Wire, call, head
from tests.wire.http.running import POLICY
from tests.wire.http.server import Asked, Upstream, chunk, event, reply, result, stream, text

SIZE = 512 << 20
"""What the manifests allow."""
MOST = 16 << 20
LARGE = ROOT / "tests" / "servers" / "large.py"
FLOOD = 6 << 20
"""Bytes of an answer or event of which many come: with its copies at the server, children of some number have room."""


class Bounded(Listener):
    """A sidecar in a control group of its own, with an OPA beside it, as in a pod."""

    group: Group | None

    @property
    def peak(self) -> int:
        """The most that it ever used, in bytes."""
        found = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{self.process.pid}/status").read_text(), re.MULTILINE)
        assert found is not None
        return int(found[1]) << 10

    def assert_within(self) -> None:
        """It lives, serves others, and never used more than it may."""
        assert "result" in Agent.with_session(self.url).call("shown")
        assert self.process.poll() is None
        assert self.peak < SIZE
        assert self.group is None or self.group.kills == 0


@contextmanager
def running(folder: Path, *server: str) -> Iterator[Bounded]:
    """A sidecar in front of a server: a remote one, or a child behind `--`. Children are of the group, too."""
    with ExitStack() as stack:
        opa = PodOpa(folder)
        stack.callback(opa.kill)
        opa.start()
        made = stack.enter_context(group(SIZE))
        where = ("--transport", "http", "--port", "0")
        command = sidecar(folder / "sidecar", POLICY, *where, *opa.options, *server)
        listener = Bounded(made.command(command) if made is not None else command, folder, says="ready\n")
        listener.group = made
        yield stack.enter_context(listener)


@pytest.fixture
def bounded(upstream: Upstream, tmp_path: Path) -> Iterator[Bounded]:
    with running(tmp_path, "--upstream", upstream.url) as listener:
        yield listener


@pytest.fixture
def hosted(tmp_path: Path) -> Iterator[Bounded]:
    with running(tmp_path, "--", sys.executable, "-S", "-E", str(LARGE)) as listener:
        yield listener


def post(url: str, body: bytes) -> int:
    """The status that a POST of a new connection gets; 0 where the connection ends without one."""
    with Wire(url) as wire:
        wire.send(head(wire.host, length=len(body)) + body)
        try:
            return wire.answer().status
        except EOFError:
            return 0


def test_the_size_is_the_one_that_is_shipped() -> None:
    assert "limits: {memory: 512Mi}" in (BASE / "deployment.yaml").read_text()


def test_the_room_is_a_share_of_what_the_control_group_allows_and_is_said(bounded: Bounded) -> None:
    if bounded.group is not None:
        assert "messages may take 128 MiB at once, of the 512 MiB of this container" in bounded.errors
    else:
        assert re.search(r"messages may take \d+ MiB at once, of the \d+ MiB of this machine", bounded.errors)


def test_a_message_of_many_small_values_is_refused_and_costs_next_to_nothing(bounded: Bounded) -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"shown","arguments":{"a":[%b]}}}'
    whole = body % b",".join([b'{"a":1}'] * 1_200_000)
    assert post(bounded.url, whole) == 400
    bounded.assert_within()


def test_more_large_messages_than_there_is_room_for_are_refused_and_small_ones_go_through(bounded: Bounded) -> None:
    frame = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"shown","arguments":{"a":"%b"}}}'
    whole = frame % (b"x" * (MOST - 200))
    with ThreadPoolExecutor(12) as threads:
        large = [threads.submit(post, bounded.url, whole) for _ in range(12)]
        for _ in range(5):
            assert "result" in Agent.with_session(bounded.url).call("shown")
        assert {each.result() for each in large} <= {200, 503, 0}
    bounded.assert_within()
    until(lambda: post(bounded.url, whole) == 200, what="room for a large one")


def test_large_messages_whose_last_byte_never_comes_keep_nobody_out(bounded: Bounded) -> None:
    body = b"x" * (MOST - 200)
    with ExitStack() as stack:
        for _ in range(40):
            wire = stack.enter_context(Wire(bounded.url))
            wire.send(head(wire.host, length=len(body)) + body[:-1])
            assert "result" in Agent.with_session(bounded.url).call("shown")
        bounded.assert_within()


@pytest.mark.slow
def test_clients_that_take_nothing_of_large_answers_are_cut_off_and_others_are_served(
    bounded: Bounded, upstream: Upstream
) -> None:
    def large(asked: Asked, connection: socket.socket) -> None:
        arguments = asked.message["params"].get("arguments") or {}
        connection.sendall(result(asked, text("x" * (12 << 20)) if arguments.get("large") else text("small")))

    upstream.says["shown"] = large
    agent = Agent.with_session(bounded.url)
    with ExitStack() as stack:
        for number in range(40):
            stack.enter_context(agent.opened(call("shown", {"large": True}, number + 1)))
            assert "result" in agent.call("shown", {}, number + 1000)
        until(lambda: "did not take their answers" in bounded.errors, what="word of those who were cut off")
        bounded.assert_within()
    assert "result" in agent.call("shown", {"large": True}, 5000)


@pytest.mark.slow
def test_many_children_that_answer_much_are_read_as_there_is_room(hosted: Bounded) -> None:
    with ThreadPoolExecutor(8) as threads:

        def large(number: int) -> Any:
            return Agent.with_session(hosted.url).call("large", {"size": 12 << 20}, number)

        answers = list(threads.map(large, range(8)))
    assert all("result" in answer for answer in answers)
    hosted.assert_within()


@pytest.mark.slow
def test_slow_clients_of_children_that_answer_much_are_cut_off_and_others_are_served(hosted: Bounded) -> None:
    with ExitStack() as stack:
        for number in range(20):
            agent = Agent.with_session(hosted.url)
            stack.enter_context(agent.opened(call("large", {"size": FLOOD}, number + 1)))
        assert "result" in Agent.with_session(hosted.url).call("small", {}, 1000)
        hosted.assert_within()


@pytest.mark.slow
def test_messages_that_wait_for_children_that_do_not_read_are_bounded(hosted: Bounded) -> None:
    frame = b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"small","arguments":{"a":"%b"}}}'
    with ExitStack() as stack:
        for number in range(10):
            agent = Agent.with_session(hosted.url)
            stack.enter_context(agent.opened(call("deaf", {}, number + 1)))
            stack.enter_context(agent.opened(frame % (number + 100, b"x" * (12 << 20))))
            assert "result" in Agent.with_session(hosted.url).call("small", {}, 1000)
        hosted.assert_within()


@pytest.mark.slow
def test_streams_that_bring_much_at_once_are_read_as_there_is_room(bounded: Bounded, upstream: Upstream) -> None:
    much = chunk(event({"jsonrpc": "2.0", "method": "notifications/x", "params": {"x": "x" * FLOOD}}))

    def flood(asked: Asked, connection: socket.socket) -> None:
        if not (asked.message["params"].get("arguments") or {}).get("large"):
            connection.sendall(result(asked, text("small")))
            return
        connection.sendall(stream(end=False))
        for _ in range(3):
            connection.sendall(much)
        connection.sendall(chunk(event(reply(asked.id, text("done")))) + b"0\r\n\r\n")

    upstream.says["shown"] = flood
    agent = Agent.with_session(bounded.url)
    with ExitStack() as stack:
        slow = [agent.opened(call("shown", {"large": True}, number + 1)) for number in range(20)]
        for wire in slow:
            stack.enter_context(wire)
        for number in range(5):
            assert "result" in agent.call("shown", {}, number + 1000)
        bounded.assert_within()


def test_a_greatest_message_that_never_had_room_is_refused_at_the_start(tmp_path: Path, upstream: Upstream) -> None:
    with group(64 << 20) as made:
        if made is None:
            pytest.skip("no control group can be made here")
        command = sidecar(tmp_path, POLICY, "--upstream", upstream.url)
        program = made.command(command)
        ended = subprocess.run(program, check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert ended.returncode == 1
    assert b"--max-message: one of 16 MiB takes 64 MiB while it is judged" in ended.stderr
    assert b"give at most 3072KiB" in ended.stderr
