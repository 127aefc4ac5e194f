"""From start to end: starts that fail clearly, ends that leave nothing behind, and peers that misbehave."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import SIDECAR, STUB
from tests.support.peer import Sidecar, command_line, denied, is_alive, until

ALLOW = "default: allow\n"
MEBIBYTE = 1 << 20


def server(script: str) -> list[str]:
    """A server in a few lines of Python."""
    return [sys.executable, "-S", "-E", "-c", f"import os, signal, sys, time\n{script}"]


class Footprint:
    """What a running sidecar has beside itself: its server, its OPA, and the folder that OPA's socket lies in."""

    def __init__(self, sidecar: Sidecar) -> None:
        (self.opa,) = sidecar.children("--server")
        (self.server,) = set(sidecar.children("python")) - {self.opa}
        found = re.search(r"unix://(\S+)/opa\.sock", command_line(self.opa))
        assert found is not None
        self.folder = Path(found[1])
        assert self.folder.is_dir()

    def is_gone(self) -> bool:
        """True when neither process runs."""
        return not is_alive(self.opa) and not is_alive(self.server)

    def assert_gone(self) -> None:
        """Both processes and the folder are no more."""
        assert self.is_gone()
        assert not self.folder.exists()


def memory(pid: int) -> int:
    """The most memory that a process ever held, in bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) << 10


def settled(value: Callable[[], int]) -> int:
    """A value once it has not changed for a while."""
    last, since = value(), time.monotonic()

    def stands() -> bool:
        nonlocal last, since
        if (now := value()) != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since > 0.4

    until(stands)
    return last


def fill(sidecar: Sidecar, data: bytes) -> int:
    """How many bytes a sidecar takes before it stops reading."""
    assert sidecar.process.stdin is not None
    pipe, accepted = sidecar.process.stdin.fileno(), 0
    os.set_blocking(pipe, False)

    def write() -> int:
        nonlocal accepted
        with contextlib.suppress(BlockingIOError):
            accepted += os.write(pipe, data[accepted : accepted + 65536])
        return accepted

    settled(write)
    os.set_blocking(pipe, True)
    return accepted


# The end.


def test_the_end_of_the_input_ends_everything_with_the_servers_exit_status(tmp_path: Path) -> None:
    with Sidecar(tmp_path, ALLOW, server=server("sys.stdin.read(); sys.exit(5)")) as sidecar:
        footprint = Footprint(sidecar)
        sidecar.close()
        assert sidecar.wait(seconds=2) == 5
        footprint.assert_gone()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything(tmp_path: Path, number: signal.Signals) -> None:
    with Sidecar(tmp_path, ALLOW) as sidecar:
        sidecar.initialize()
        footprint = Footprint(sidecar)
        sidecar.process.send_signal(number)
        assert sidecar.wait(seconds=2) == 128 + signal.SIGTERM  # the server's, which gets a SIGTERM
        footprint.assert_gone()


def test_a_server_may_end_in_its_own_way_after_a_signal(tmp_path: Path) -> None:
    script = "signal.signal(signal.SIGTERM, lambda *_: os._exit(9)); print('{}', flush=True); time.sleep(600)"
    with Sidecar(tmp_path, ALLOW, server=server(script)) as sidecar:
        sidecar.wait_for_error("dropped a message of the server")
        sidecar.process.send_signal(signal.SIGTERM)
        assert sidecar.wait(seconds=2) == 9


def test_a_killed_sidecar_takes_server_and_opa_with_it(tmp_path: Path) -> None:
    with Sidecar(tmp_path, ALLOW, server=server("time.sleep(600)")) as sidecar:
        footprint = Footprint(sidecar)
        sidecar.process.kill()
        sidecar.wait()
        until(footprint.is_gone, seconds=5)
        shutil.rmtree(footprint.folder)  # which nobody is left to remove


def test_a_server_that_ignores_everything_is_killed_in_time(tmp_path: Path) -> None:
    script = "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('{}', flush=True)\nwhile True: time.sleep(600)"
    with Sidecar(tmp_path, ALLOW, server=server(script)) as sidecar:
        sidecar.wait_for_error("dropped a message of the server")
        footprint = Footprint(sidecar)
        sidecar.close()
        assert sidecar.wait(seconds=2) == 128 + signal.SIGKILL
        footprint.assert_gone()


def test_what_a_server_says_last_is_delivered(tmp_path: Path) -> None:
    line = '{"jsonrpc":"2.0","method":"notifications/message","params":{}}'
    with Sidecar(tmp_path, ALLOW, server=server(f"sys.stdin.read(); print('{line}')")) as sidecar:
        sidecar.close()
        assert sidecar.read_line() == line.encode()
        assert sidecar.read_line() is None
        assert sidecar.wait() == 0


def test_a_server_that_dies_leaves_no_call_without_an_answer(tmp_path: Path) -> None:
    with Sidecar(tmp_path, ALLOW) as sidecar:
        sidecar.initialize()
        waiting = [sidecar.post("tools/call", {"name": "t", "arguments": {"stub": "mute"}}) for _ in range(3)]
        waiting.append(sidecar.post("tools/call", {"name": "t", "arguments": {"stub": "die"}}))
        replies = [sidecar.read() for _ in waiting]
        assert {reply["id"] for reply in replies} == set(waiting)
        assert {reply["error"]["code"] for reply in replies} == {-32000}
        assert sidecar.read_line() is None
        assert sidecar.wait(seconds=2) == 7


def test_a_server_that_dies_at_once_ends_the_sidecar_with_its_exit_status(tmp_path: Path) -> None:
    with Sidecar(tmp_path, ALLOW, server=server("sys.exit(3)"), ready=False) as sidecar:
        assert sidecar.wait() == 3


def test_a_client_that_closes_only_its_reading_end_is_gone(tmp_path: Path) -> None:
    with Sidecar(tmp_path, ALLOW) as sidecar:
        sidecar.initialize()
        footprint = Footprint(sidecar)
        assert sidecar.process.stdout is not None
        sidecar.process.stdout.close()
        assert sidecar.wait(seconds=2) == 0
        footprint.assert_gone()


def test_calls_that_came_before_the_end_of_the_input_are_all_answered(tmp_path: Path) -> None:
    with Sidecar(tmp_path, ALLOW) as sidecar:
        ids = [sidecar.post("tools/call", {"name": "t", "arguments": {"n": n}}) for n in range(20)]
        sidecar.close()
        replies = {reply["id"]: reply for reply in (sidecar.read() for _ in ids)}
        assert {id_ for id_ in ids if "result" not in replies[id_]} == set()
        assert sidecar.wait() == 0


# Those who do not keep up.


def test_a_client_that_does_not_read_costs_bounded_memory_and_loses_nothing(tmp_path: Path) -> None:
    with Sidecar(tmp_path, ALLOW) as sidecar:
        sidecar.initialize()
        sidecar.call("t", {"stub": "big", "bytes": MEBIBYTE})
        before = memory(sidecar.process.pid)
        ids = [
            sidecar.post("tools/call", {"name": "t", "arguments": {"stub": "big", "bytes": MEBIBYTE}})
            for _ in range(60)
        ]
        assert settled(lambda: len(sidecar.received)) < 30
        assert memory(sidecar.process.pid) - before < 24 * MEBIBYTE
        replies = [sidecar.read() for _ in ids]
        assert [reply["id"] for reply in replies] == ids
        assert {len(reply["result"]["content"][0]["text"]) for reply in replies} == {MEBIBYTE}


def test_a_client_that_only_writes_is_not_read_without_end(tmp_path: Path) -> None:
    message = b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"t"}}\n'
    with Sidecar(tmp_path, "default: deny\n") as sidecar:
        data = b"".join(message % id_ for id_ in range(300_000))
        accepted = fill(sidecar, data)
        assert accepted < len(data)
        whole = data.count(b"\n", 0, accepted)
        replies = [sidecar.read() for _ in range(whole)]
        assert {reply["id"] for reply in replies} == set(range(whole))
        assert {denied(reply) for reply in replies} == {'Tool "t" is not permitted by policy'}


def test_a_server_that_does_not_read_stops_the_client_and_nothing_is_lost(tmp_path: Path) -> None:
    go = tmp_path / "go"
    stub = [sys.executable, str(STUB)]
    script = f"while not os.path.exists({str(go)!r}): time.sleep(0.01)\nos.execv({stub[0]!r}, {stub!r})"
    message = b'{"jsonrpc":"2.0","id":%d,"method":"ping","params":{"x":"' + b"x" * 1000 + b'"}}\n'
    with Sidecar(tmp_path, ALLOW, server=server(script)) as sidecar:
        data = b"".join(message % id_ for id_ in range(8_000))
        accepted = fill(sidecar, data)
        assert accepted < 4 * MEBIBYTE
        go.touch()
        whole = data.count(b"\n", 0, accepted)
        assert [sidecar.read()["id"] for _ in range(whole)] == list(range(whole))


def test_a_server_that_does_not_read_and_ends_leaves_nothing_unanswered(tmp_path: Path) -> None:
    go = tmp_path / "go"
    script = f"while not os.path.exists({str(go)!r}): time.sleep(0.01)\nsys.exit(3)"
    message = b'{"jsonrpc":"2.0","id":%d,"method":"ping","params":{"x":"' + b"x" * 1000 + b'"}}\n'
    with Sidecar(tmp_path, ALLOW, server=server(script)) as sidecar:
        data = b"".join(message % id_ for id_ in range(8_000))
        whole = data.count(b"\n", 0, fill(sidecar, data))
        go.touch()
        replies = [sidecar.read() for _ in range(whole)]
        assert sorted(reply["id"] for reply in replies) == list(range(whole))
        assert {reply["error"]["code"] for reply in replies} == {-32000}
        assert sidecar.wait() == 3


def test_a_server_that_writes_garbage_is_ignored_and_lives_on(tmp_path: Path) -> None:
    garbage = [
        "no JSON",
        "[]",
        "{}",
        "null",
        '{"jsonrpc":"2.0","id":999,"result":{}}',
        '{"id":',
        "\ufeff{}",
        "[" * 100_000,
    ]
    with Sidecar(tmp_path, ALLOW) as sidecar:
        for line in garbage:
            sidecar.post("tools/call", {"name": "t", "arguments": {"stub": "say", "line": line}})
        assert sidecar.call("t", {"a": 1})["result"]["content"][0]["text"] == '{"a": 1}'
        until(lambda: sidecar.errors.count("dropped a message of the server") == len(garbage))
        assert sidecar.call("t", {"a": 2})["result"]["content"][0]["text"] == '{"a": 2}'


def test_an_answer_that_is_too_large_becomes_an_error_and_the_connection_lives_on(tmp_path: Path) -> None:
    with Sidecar(tmp_path, ALLOW) as sidecar:
        before = memory(sidecar.process.pid)
        reply = sidecar.call("t", {"stub": "big", "bytes": 50 * MEBIBYTE})
        assert reply["error"]["code"] == -32603
        assert "16777216 bytes" in reply["error"]["message"]
        assert sidecar.call("t", {"a": 1})["result"]["content"][0]["text"] == '{"a": 1}'
        assert memory(sidecar.process.pid) - before < 64 * MEBIBYTE


# The streams.


def test_regular_files_work_as_input_and_output(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("tools: {no: {rules: [{action: deny}]}}\n")
    lines = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "yes", "arguments": {"a": 1}}},
        {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "no"}},
        {"jsonrpc": "2.0", "id": 4, "method": "ping"},
    ]
    (tmp_path / "in").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with (tmp_path / "in").open("rb") as source, (tmp_path / "out").open("wb") as target:
        command = [str(SIDECAR), "run", "-c", "policy.yaml", "--state-dir", "state", "--", sys.executable, str(STUB)]
        done = subprocess.run(
            command, stdin=source, stdout=target, stderr=subprocess.PIPE, cwd=tmp_path, timeout=20, check=False
        )
    assert done.returncode == 0, done.stderr
    replies = {reply["id"]: reply for reply in map(json.loads, (tmp_path / "out").read_text().splitlines())}
    assert sorted(replies) == [1, 2, 3, 4]
    assert replies[2]["result"]["content"][0]["text"] == '{"a": 1}'
    assert denied(replies[3]) == 'Denied by rule "no#1"'


def test_the_output_carries_the_protocol_only(tmp_path: Path) -> None:
    options = ("--log-level", "debug", "--audit", "stderr", "--telemetry", "127.0.0.1:0")
    with Sidecar(tmp_path, "tools: {no: {rules: [{action: deny}, {action: allow}]}}\n", *options) as sidecar:
        sidecar.initialize()
        sidecar.post("tools/call", {"name": "no"})
        sidecar.post("tools/call", {"name": "yes", "arguments": {"stub": "say", "line": "garbage"}})
        sidecar.send_bytes(b"no JSON\n")
        os.kill(sidecar.children("--server")[0], signal.SIGKILL)
        sidecar.wait_for_error("the policy engine answers again")
        sidecar.close()
        while (line := sidecar.read_line()) is not None:
            assert json.loads(line)["jsonrpc"] == "2.0"
        assert "can never be reached" in sidecar.errors
        assert '"event":"decision"' in sidecar.errors


def test_what_the_server_says_on_its_error_stream_is_passed_through(tmp_path: Path) -> None:
    with Sidecar(
        tmp_path, ALLOW, server=server("print('hello from below', file=sys.stderr); sys.stdin.read()")
    ) as sidecar:
        sidecar.wait_for_error("hello from below\n")


@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
def test_no_request_to_the_telemetry_endpoint_ends_the_sidecar(tmp_path: Path, method: str) -> None:
    with Sidecar(tmp_path, ALLOW, "--telemetry", "127.0.0.1:0") as sidecar:
        found = re.search(r"http://\S+", sidecar.errors)
        assert found is not None
        with pytest.raises(OSError, match=r"405|closed"):  # noqa: SIM117 - what is raised is of no interest
            with urllib.request.urlopen(urllib.request.Request(found[0], method=method), timeout=10):
                pass
        assert sidecar.call("t", {"a": 1})["result"]["isError"] is False
        assert sidecar.end() == 0


# Starts that fail.


LIMITED = "tools: {t: {rules: [{rate_limit: 5/day}]}}\n"
"""A policy of which nothing is to be warned."""


def start(
    folder: Path, *options: str, policy: str = LIMITED, command: tuple[str, ...] | None = None
) -> tuple[int, list[str]]:
    """Exit status and error lines of a sidecar whose server, were it started, would leave a file `started`."""
    (folder / "policy.yaml").write_text(policy)
    touch = (sys.executable, "-c", "import pathlib; pathlib.Path('started').touch()")
    words = [str(SIDECAR), "run", "--state-dir", "state", *options, "--", *(touch if command is None else command)]
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=folder, timeout=30, check=False,
        env={**os.environ, "HOME": str(folder), "SIDECAR_CONFIG": "policy.yaml"},
    )  # fmt: skip
    assert done.stdout == ""
    return done.returncode, done.stderr.splitlines()


def fake_opa(folder: Path, version: str) -> str:
    path = folder / "opa"
    path.write_text(f"#!/bin/sh\necho 'Version: {version}'\n")
    path.chmod(0o755)
    return str(path)


FAILED_STARTS: dict[str, tuple[Callable[[Path], tuple[str, ...]], str]] = {
    "a state folder below a file": (
        lambda folder: ("--state-dir", "policy.yaml/state"),
        "sidecar: cannot write the state folder policy.yaml/state: Not a directory; name another with --state-dir",
    ),
    "a missing opa": (
        lambda folder: ("--opa-bin", "/no/such/opa"),
        "sidecar: cannot run /no/such/opa: No such file or directory; name an opa binary with --opa-bin",
    ),
    "an opa of another version": (
        lambda folder: ("--opa-bin", fake_opa(folder, "1.10.0")),
        "sidecar: {folder}/opa is OPA 1.10.0: this sidecar needs 1.22.4 or 1.22.2; name another one with --opa-bin",
    ),
    "a missing policy": (
        lambda folder: ("-c", "none.yaml"),
        "cannot read the policy none.yaml: No such file or directory in {folder}; name a policy file with -c",
    ),
    "an audit log that cannot be written": (
        lambda folder: ("--audit", "/no/audit.jsonl"),
        "sidecar: cannot write the audit log /no/audit.jsonl: No such file or directory; name another with --audit",
    ),
}


@pytest.mark.parametrize("wrong", FAILED_STARTS)
def test_a_start_that_must_fail_says_why_in_one_line_and_starts_nothing(tmp_path: Path, wrong: str) -> None:
    options, text = FAILED_STARTS[wrong]
    assert start(tmp_path, *options(tmp_path)) == (1, [text.format(folder=tmp_path)])
    assert not (tmp_path / "started").exists()


def test_a_server_that_cannot_be_started_is_said_in_one_line(tmp_path: Path) -> None:
    status, lines = start(tmp_path, command=("/no/such/server", "--flag"))
    assert (status, lines) == (1, ["sidecar: cannot start the MCP server '/no/such/server': No such file or directory"])


def test_a_store_that_cannot_be_used_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "state" / "counters.db").mkdir(parents=True)
    status, (line,) = start(tmp_path)
    assert status == 1
    assert line.startswith("sidecar: cannot use state/counters.db as the store of counters: ")
    assert line.endswith("; choose another folder with --state-dir")


def test_a_wrong_policy_lists_every_problem_with_its_line_and_starts_nothing(tmp_path: Path) -> None:
    policy = (
        "default: maybe\ntools:\n  t:\n    rules:\n"
        "      - action: deny\n        reason: a\n        on_deny: b\n"
        "      - rate_limit: often\n"
        '      - conditions: [{path: args.a, op: regex, value: "("}]\n'
    )
    status, lines = start(tmp_path, policy=policy)
    assert status == 1
    numbers = [int(line.removeprefix("policy.yaml:").split(":")[0]) for line in lines]
    assert numbers == sorted(numbers)
    assert set(numbers) == {1, 7, 8, 9}
    assert "missing closing )" in lines[-1]
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--no-such-option",), ("--opa-timeout", "soon"), ("--opa-timeout", "0s"), ("--max-message", "large"),
        ("--telemetry", "9464"), ("--telemetry", "127.0.0.1:99999"), ("--log-level", "loud"),
        ("--log-format", "xml"), ("--audit", "stdout"),
    ],
)  # fmt: skip
def test_wrong_usage_is_said_in_one_line_with_exit_status_2(tmp_path: Path, options: tuple[str, ...]) -> None:
    status, (line,) = start(tmp_path, *options)
    assert (status, line[:9]) == (2, "sidecar: ")
    assert not (tmp_path / "started").exists()


def test_a_run_without_a_server_is_wrong_usage(tmp_path: Path) -> None:
    status, (line,) = start(tmp_path, command=())
    assert status == 2
    assert line.startswith("sidecar: no MCP server: write its command after --")


def test_a_telemetry_port_in_use_is_a_warning_and_another_one_is_used(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with Sidecar(tmp_path, ALLOW, "--telemetry", address) as sidecar:
            assert f"cannot listen on {address}: " in sidecar.errors
            assert "ddress already in use; telemetry has another address: http://127.0.0.1:" in sidecar.errors
            assert sidecar.metric("build_info") == 1
            assert sidecar.call("t", {"a": 1})["result"]["isError"] is False
