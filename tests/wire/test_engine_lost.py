"""An engine that dies or hangs: every call is refused, said, counted; nothing reaches the server; it comes back."""

from __future__ import annotations

import os
import re
import signal
import time
import urllib.request
from pathlib import Path

import pytest

from tests.support import OPA
from tests.support.peer import AS_A_USER, TELEMETRY, Sidecar, denied, kill, kind, stopped, until

POLICY = "tools: {t: {rules: [{conditions: [{path: args.a, op: lt, value: 1000000}]}]}}\n"
CALL = b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"t","arguments":{"a":1}}}\n'


class Breakable:
    """An opa that does not start again while it is broken."""

    def __init__(self, folder: Path) -> None:
        self._broken = folder / "broken"
        self.path = folder / "opa"
        self.path.write_text(f'#!/bin/sh\n[ -e {self._broken} ] && exit 9\nexec {OPA} "$@"\n')
        self.path.chmod(0o755)

    def kill(self, pid: int) -> None:
        """Kill the process that runs it, for good."""
        self._broken.touch()
        kill(pid)

    def mend(self) -> None:
        """Let it start again."""
        self._broken.unlink()


def passes_again(sidecar: Sidecar, number: int = 1) -> None:
    """Wait until a call passes."""
    until(lambda: kind(sidecar.call("t", {"a": number})) is None)


@pytest.mark.parametrize("options", [(), ("--no-remember",)])
def test_while_the_engine_is_dead_every_call_is_refused_and_then_they_pass_again(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    breakable = Breakable(tmp_path)
    with Sidecar(tmp_path, POLICY, *options, *TELEMETRY, "--opa-bin", str(breakable.path)) as sidecar:
        sidecar.initialize()
        for number in (1, 1, 2, 2):
            assert kind(sidecar.call("t", {"a": number})) is None
        breakable.kill(sidecar.opa)
        sidecar.wait_for_error("opa ended with status 137")
        before = len(sidecar.received)
        replies = [sidecar.call("t", {"a": number}) for number in (1, 2, 3, 1)]
        assert [kind(reply) for reply in replies] == ["engine_unavailable"] * 4
        assert sidecar.request("ping")["result"] == {}
        assert len(sidecar.received) == before
        assert [line["kind"] for line in sidecar.audit[-4:]] == ["engine_unavailable"] * 4
        assert not any(line["remembered"] for line in sidecar.audit[-4:])
        assert sidecar.metric("decisions_total", kind="engine_unavailable", decision="deny") == 4
        assert sidecar.metric("engine_errors_total") >= 4
        assert "denied t (engine_unavailable)" in sidecar.errors
        breakable.mend()
        passes_again(sidecar)
        sidecar.wait_for_error("the policy engine answers again")


def test_a_call_right_after_the_death_of_the_engine_gets_no_remembered_answer(tmp_path: Path) -> None:
    breakable = Breakable(tmp_path)
    with Sidecar(tmp_path, POLICY, "--opa-bin", str(breakable.path)) as sidecar:
        sidecar.initialize()
        for _ in range(3):
            assert kind(sidecar.call("t", {"a": 1})) is None
        assert sidecar.audit[-1]["remembered"]
        breakable.kill(sidecar.opa)
        assert kind(sidecar.call("t", {"a": 1})) == "engine_unavailable"
        assert len(sidecar.received) == 3


@pytest.mark.parametrize("count", [1, 15, 16, 17, 100])
def test_calls_that_are_read_right_after_the_death_of_the_engine_get_no_remembered_answer(
    tmp_path: Path, count: int
) -> None:
    breakable = Breakable(tmp_path)
    with Sidecar(tmp_path, POLICY, "--opa-bin", str(breakable.path)) as sidecar:
        sidecar.initialize()
        for _ in range(3):
            assert kind(sidecar.call("t", {"a": 1})) is None
        lines = [CALL % id_ for id_ in range(1000, 1000 + count)]
        with stopped(sidecar.process.pid):
            # It finds both when it goes on, and the calls first.
            sidecar.send_bytes(b"".join(lines))
            breakable.kill(sidecar.opa)
        assert [kind(sidecar.read()) for _ in range(count)] == ["engine_unavailable"] * count
        assert len(sidecar.received) == 3


@pytest.mark.parametrize("first", ["death", "call"])
def test_a_death_that_is_seen_together_with_a_call_counts_for_that_call(tmp_path: Path, first: str) -> None:
    breakable = Breakable(tmp_path)
    with Sidecar(tmp_path, POLICY, "--opa-bin", str(breakable.path)) as sidecar:
        sidecar.initialize()
        for _ in range(3):
            assert kind(sidecar.call("t", {"a": 1})) is None
        # Both wait for it when it runs again: one pass of its event loop finds both.
        with stopped(sidecar.process.pid):
            if first == "death":
                breakable.kill(sidecar.opa)
                sidecar.post("tools/call", {"name": "t", "arguments": {"a": 1}})
            else:
                sidecar.post("tools/call", {"name": "t", "arguments": {"a": 1}})
                breakable.kill(sidecar.opa)
        assert kind(sidecar.read()) == "engine_unavailable"
        assert len(sidecar.received) == 3


def test_an_engine_killed_under_load_lets_nothing_through_unjudged(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY) as sidecar:
        sidecar.initialize()
        passed = failed = 0
        for turn in range(3):
            ids = [
                sidecar.post("tools/call", {"name": "t", "arguments": {"a": number + turn * 1000}})
                for number in range(100)
            ]
            os.kill(sidecar.opa, signal.SIGKILL)
            ids += [
                sidecar.post("tools/call", {"name": "t", "arguments": {"a": 2_000_000 + number}})
                for number in range(100)
            ]
            replies = {reply["id"]: kind(reply) for reply in (sidecar.read() for _ in ids)}
            assert set(replies) == set(ids)
            assert all(replies[id_] in (None, "engine_unavailable") for id_ in ids[:100])
            assert all(replies[id_] in ("rule", "engine_unavailable") for id_ in ids[100:])
            passed += sum(found is None for found in replies.values())
            failed += sum(found == "engine_unavailable" for found in replies.values())
            before = len(sidecar.received)
            assert before == passed
            passes_again(sidecar, number=turn)
            until(lambda: sidecar.children("--server"))
            passed += len(sidecar.received) - before
        assert failed > 0


def test_while_the_engine_hangs_a_new_question_is_refused_within_a_second(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY, *AS_A_USER, *TELEMETRY) as sidecar:
        sidecar.initialize()
        sidecar.call("t", {"a": 1})
        with stopped(sidecar.opa):
            replies = [sidecar.call("t", {"a": number}, seconds=1) for number in (2, 3)]
            assert [kind(reply) for reply in replies] == ["engine_unavailable"] * 2
            assert denied(replies[0]) == "The policy engine did not answer in 250 ms. The call was not forwarded."
            assert len(sidecar.received) == 1
            assert sidecar.metric("engine_errors_total", kind="timeout") >= 2
        passes_again(sidecar, number=2)


def test_while_the_engine_hangs_nothing_remembered_is_used_after_a_second(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY, *AS_A_USER) as sidecar:
        sidecar.initialize()
        for _ in range(3):
            assert kind(sidecar.call("t", {"a": 1})) is None
        assert sidecar.audit[-1]["remembered"]
        with stopped(sidecar.opa):
            since = time.monotonic()
            until(lambda: time.monotonic() - since > 1.0 or kind(sidecar.call("t", {"a": 1})))
            before = len(sidecar.received)
            assert [kind(sidecar.call("t", {"a": 1})) for _ in range(3)] == ["engine_unavailable"] * 3
            assert len(sidecar.received) == before
        passes_again(sidecar)


def test_a_sidecar_whose_engine_is_gone_is_not_ready_but_alive(tmp_path: Path) -> None:
    def status(path: str) -> int:
        found = re.search(r"http://[^/]+", sidecar.errors)
        assert found is not None
        try:
            with urllib.request.urlopen(found[0] + path, timeout=10) as reply:
                code: int = reply.status
                return code
        except urllib.request.HTTPError as error:
            with error:
                return error.code

    breakable = Breakable(tmp_path)
    with Sidecar(tmp_path, POLICY, *TELEMETRY, "--opa-bin", str(breakable.path)) as sidecar:
        assert (status("/readyz"), status("/healthz")) == (200, 200)
        breakable.kill(sidecar.opa)
        until(lambda: status("/readyz") == 503)
        assert status("/healthz") == 200
        breakable.mend()
        until(lambda: status("/readyz") == 200)
