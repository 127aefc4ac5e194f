"""How servers end: it is heard of, answered and said, and nothing that they started stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import SIDECAR, STUB
from tests.support.peer import Sidecar, child_pids, command_line, is_alive, stopped, until

ALLOW = "default: allow\n"
MEBIBYTE = 1 << 20
FOR_EVER = "while True: time.sleep(600)"


def server(script: str) -> list[str]:
    """A server in a few lines of Python."""
    return [sys.executable, "-S", "-E", "-c", f"import os, signal, sys, time\n{script}"]


def launched(before: str = "") -> list[str]:
    """A server that is deaf to the end of its input, behind a launcher that would leave it behind."""
    return ["/bin/sh", "-c", f'{before} "$@"; exit $?', "launcher", *server(FOR_EVER)]


def grandchild(sidecar: Sidecar) -> int:
    """The process id of the server that a launcher started."""
    (launcher,) = sidecar.children("launcher")
    until(lambda: any("sleep(600)" in command_line(pid) for pid in child_pids(launcher)))
    (real,) = child_pids(launcher)
    return real


def guardians(sidecar: Sidecar) -> list[int]:
    return sidecar.children("intercept-guardian")


# A server that is over.


def test_a_request_to_a_server_that_ended_at_once_is_answered(tmp_path: Path) -> None:
    with Sidecar(tmp_path, ALLOW, server=["/bin/false"], ready=False) as sidecar:
        id_ = sidecar.post("initialize", {"protocolVersion": "2025-11-25"})
        assert sidecar.reply(id_)["error"]["code"] == -32000
        assert sidecar.wait() == 1
        assert "the MCP server ended with status 1" in sidecar.messages
        assert "Traceback" not in sidecar.errors


def test_a_server_that_has_to_be_told_that_the_client_left_and_heeds_it_is_no_failure(tmp_path: Path) -> None:
    with Sidecar(tmp_path, ALLOW, server=server(FOR_EVER)) as sidecar:
        assert sidecar.process.stdin is not None
        sidecar.process.stdin.close()
        assert sidecar.wait() == 0


@pytest.mark.parametrize("stream", [0, 1])
def test_a_server_that_closes_one_of_its_streams_and_lives_on_is_over(tmp_path: Path, stream: int) -> None:
    with Sidecar(tmp_path, ALLOW, server=server(f"os.close({stream})\n{FOR_EVER}"), ready=False) as sidecar:
        id_ = sidecar.post("tools/call", {"name": "t"})
        assert sidecar.reply(id_)["error"]["code"] == -32000
        assert sidecar.wait() == 128 + signal.SIGTERM
        closed = ("input", "output")[stream]
        assert f"the MCP server closed its {closed} and lives on: it is ended" in sidecar.messages
        assert "the MCP server was ended by SIGTERM\n" in sidecar.errors


def test_what_we_were_given_to_read_from_is_the_servers_too(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"secret")
    os.close(writing)
    os.set_inheritable(reading, True)
    (tmp_path / "policy.yaml").write_text(ALLOW)
    script = f"print(os.read({reading}, 9), len(os.listdir('/proc/self/fd')), file=sys.stderr)"
    done = subprocess.run(
        [str(SIDECAR), "run", "-c", "policy.yaml", "--state-dir", "state", "--", *server(script)],
        cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False,
        pass_fds=[reading],
    )  # fmt: skip
    os.close(reading)
    assert "b'secret' 5\n" in done.stderr  # its streams, this one, and the folder that it looks at


@pytest.mark.parametrize(
    ("script", "said"),
    [("sys.exit(3)", "ended with status 3"), ("os.kill(os.getpid(), signal.SIGSEGV)", "was ended by SIGSEGV")],
)
def test_the_way_in_which_a_server_ended_is_said(tmp_path: Path, script: str, said: str) -> None:
    with Sidecar(tmp_path, ALLOW, server=server(f"sys.stdin.readline(); {script}")) as sidecar:
        assert "error" in sidecar.request("ping")
        sidecar.wait()
        ended, stopped = sidecar.messages[-2:]
        assert ended == f"the MCP server {said}"
        assert stopped.startswith("the sidecar ends with status ")


def test_a_server_that_does_not_heed_the_signal_to_end_is_told_of(tmp_path: Path) -> None:
    script = f"signal.signal(signal.SIGTERM, signal.SIG_IGN); print('{{}}', flush=True)\n{FOR_EVER}"
    with Sidecar(tmp_path, ALLOW, server=server(script)) as sidecar:
        sidecar.wait_for_error("dropped a message of the server")
        sidecar.close()
        sidecar.wait(seconds=2)
        assert "the MCP server was ended by SIGKILL: it did not heed SIGTERM\n" in sidecar.errors


def test_a_listener_for_a_program_that_is_not_there_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(ALLOW)
    command = [str(SIDECAR), "run", "-c", "policy.yaml", "--transport", "http", "--port", "0", "--", "no-such-program"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    said = "sidecar: cannot start the MCP server 'no-such-program': No such file or directory; no folder of the PATH"
    assert done.stderr.splitlines()[-1].startswith(said)


# What a launcher started.


def test_a_server_behind_a_launcher_ends_with_it_when_the_client_goes(tmp_path: Path) -> None:
    with Sidecar(tmp_path, ALLOW, server=launched()) as sidecar:
        real = grandchild(sidecar)
        sidecar.close()
        sidecar.wait(seconds=2.5)
        assert not is_alive(real)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_behind_a_launcher_ends_when_the_sidecar_is_ended(tmp_path: Path, number: signal.Signals) -> None:
    with Sidecar(tmp_path, ALLOW, server=launched()) as sidecar:
        real = grandchild(sidecar)
        (guardian,) = guardians(sidecar)
        sidecar.process.send_signal(number)
        sidecar.wait(seconds=3)
        until(lambda: not is_alive(real), seconds=5)
        until(lambda: not is_alive(guardian), seconds=5)


def test_a_server_that_does_not_heed_sigterm_is_killed_when_the_sidecar_was(tmp_path: Path) -> None:
    with Sidecar(tmp_path, ALLOW, server=launched("trap '' TERM;")) as sidecar:
        real = grandchild(sidecar)
        sidecar.process.kill()
        sidecar.wait()
        until(lambda: not is_alive(real), seconds=8)


def test_a_server_behind_a_launcher_that_was_killed_is_ended(tmp_path: Path) -> None:
    with Sidecar(tmp_path, ALLOW, server=launched()) as sidecar:
        real = grandchild(sidecar)
        (launcher,) = sidecar.children("launcher")
        os.kill(launcher, signal.SIGKILL)
        assert sidecar.wait() == 128 + signal.SIGKILL
        assert not is_alive(real)
        assert "the MCP server was ended by SIGKILL\n" in sidecar.errors


def test_server_and_opa_are_in_no_group_that_a_terminal_or_a_client_signals_with_us(tmp_path: Path) -> None:
    with Sidecar(tmp_path, ALLOW) as sidecar:
        for pid in child_pids(sidecar.process.pid):
            assert os.getpgid(pid) == pid


# What runs when the client's input ends.


def test_a_call_that_runs_when_the_input_ends_is_answered(tmp_path: Path) -> None:
    with Sidecar(tmp_path, ALLOW) as sidecar:
        id_ = sidecar.post("tools/call", {"name": "t", "arguments": {"stub": "slow", "until": str(tmp_path / "go")}})
        until(lambda: sidecar.received)
        sidecar.close()
        with pytest.raises(subprocess.TimeoutExpired):
            sidecar.wait(seconds=1.5)  # longer than a server has whose client waits for nothing
        (tmp_path / "go").touch()
        assert sidecar.reply(id_)["result"]["content"][0]["text"] == "late"
        assert sidecar.wait(seconds=2) == 0


@pytest.mark.parametrize("way", ["signal", "closed output"])
def test_nobody_waits_for_a_call_when_the_client_does_not(tmp_path: Path, way: str) -> None:
    with Sidecar(tmp_path, ALLOW) as sidecar:
        sidecar.post("tools/call", {"name": "t", "arguments": {"stub": "mute"}})
        until(lambda: sidecar.received)
        sidecar.close()
        assert sidecar.process.stdout is not None
        if way == "signal":
            sidecar.process.send_signal(signal.SIGTERM)
        else:
            sidecar.process.stdout.close()
        sidecar.wait(seconds=2.5)


@pytest.mark.slow
def test_a_call_that_is_never_answered_holds_up_the_end_for_a_while_only(tmp_path: Path) -> None:
    with Sidecar(tmp_path, ALLOW) as sidecar:
        id_ = sidecar.post("tools/call", {"name": "t", "arguments": {"stub": "mute"}})
        sidecar.close()
        assert sidecar.reply(id_)["error"]["message"] == "the MCP server ended before it answered"
        assert sidecar.wait() == 0


def test_a_last_line_without_an_end_counts(tmp_path: Path) -> None:
    with Sidecar(tmp_path, ALLOW) as sidecar:
        sidecar.send_bytes(b'{"jsonrpc":"2.0","id":1,"method":"ping"}')
        sidecar.close()
        assert sidecar.read() == {"jsonrpc": "2.0", "id": 1, "result": {}}


def test_a_last_line_of_the_server_without_an_end_counts(tmp_path: Path) -> None:
    line = '{"jsonrpc":"2.0","id":1,"result":{}}'
    with Sidecar(tmp_path, ALLOW, server=server(f"sys.stdin.readline(); sys.stdout.write({line!r})")) as sidecar:
        assert sidecar.request("ping")["result"] == {}


def test_a_large_message_that_is_read_when_the_input_ends_is_answered(tmp_path: Path) -> None:
    with Sidecar(tmp_path, ALLOW) as sidecar:
        sidecar.send_bytes(b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"pad":"%b"}}' % (b"x" * MEBIBYTE))
        sidecar.close()
        assert sidecar.read() == {"jsonrpc": "2.0", "id": 1, "result": {}}


def test_a_large_last_message_of_the_server_counts(tmp_path: Path) -> None:
    line = '{"jsonrpc":"2.0","id":1,"result":{"pad":"%s"}}'
    script = f"sys.stdin.readline(); sys.stdout.write({line!r} % ('x' * {MEBIBYTE}))"
    with Sidecar(tmp_path, ALLOW, server=server(script)) as sidecar:
        assert sidecar.request("ping")["result"] == {"pad": "x" * MEBIBYTE}


def test_a_large_list_that_is_filtered_when_the_input_ends_is_shown(tmp_path: Path) -> None:
    tools = [{"name": f"t{number}", "description": "\u2028" * 50} for number in range(3000)]
    line = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"tools": tools}})
    (tmp_path / "list.json").write_text(line + "\n")
    script = f"sys.stdin.readline(); sys.stdout.write(open({str(tmp_path / 'list.json')!r}).read()); sys.stdout.flush()"
    with Sidecar(tmp_path, ALLOW + "hide: [t0]\n", server=server(script + "; sys.stdin.read()")) as sidecar:
        sidecar.post("tools/list")
        sidecar.close()
        assert sidecar.read()["result"]["tools"] == tools[1:]


def test_a_signal_ends_the_wait_for_a_list_that_is_filtered(tmp_path: Path) -> None:
    with Sidecar(tmp_path, ALLOW + "hide: [t0]\n") as sidecar, stopped(sidecar.opa):
        (stub,) = sidecar.children(str(STUB))
        sidecar.post("tools/list")
        sidecar.until_ping()  # by then the list came
        sidecar.close()
        with pytest.raises(TimeoutError):
            until(lambda: not is_alive(stub), seconds=0.5)
        sidecar.process.send_signal(signal.SIGTERM)
        until(lambda: not is_alive(stub), seconds=2.5, what="the end of the server")
