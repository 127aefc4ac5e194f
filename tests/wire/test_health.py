"""`sidecar health` against a real sidecar and whatever else may answer: 0 means ready, and nothing else does."""

from __future__ import annotations

import os
import re
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sidecar import probe
from tests.support import SIDECAR
from tests.support.peer import SECONDS, TELEMETRY, Sidecar, stopped
from tests.support.pod_opa import PodOpa
from tests.support.ports import free_port

POLICY = "default: allow\n"


def asked(*options: str, **env: str) -> tuple[int, str, str]:
    """Exit status, output, errors."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SIDECAR_")}
    done = subprocess.run(
        [SIDECAR, "health", *options], capture_output=True, text=True, timeout=SECONDS, check=False, env=clean | env
    )
    return done.returncode, done.stdout, done.stderr


def telemetry(sidecar: Sidecar) -> str:
    """The host and port of its telemetry."""
    found = re.search(r"http://(\S+)/metrics", sidecar.errors)
    assert found is not None
    return found[1]


@contextmanager
def answering(reply: bytes, *, close: bool = True) -> Iterator[str]:
    """The URL of a server that answers every connection so; it keeps them open unless it is to close them."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                connection.recv(4096)
                connection.sendall(reply)
                if close:
                    connection.close()
                kept.append(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/readyz"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(SECONDS)
            for connection in kept:
                connection.close()


def test_a_sidecar_that_is_ready_is_said_to_be(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY, *TELEMETRY) as sidecar:
        where = telemetry(sidecar)
        assert asked("--url", f"http://{where}/readyz") == (0, "ready\n", "")
        assert asked(SIDECAR_TELEMETRY=where) == (0, "ready\n", "")
        assert asked(SIDECAR_TELEMETRY=f"0.0.0.0:{where.partition(':')[2]}") == (0, "ready\n", "")
        assert asked(f"--url=http://{where}/readyz") == (0, "ready\n", "")
        for root in ("", "/"):
            assert asked("--url", f"http://{where}{root}") == (0, "ready\n", "")
        assert asked(SIDECAR_URL=f"http://{where}") == (0, "ready\n", "")
        assert "status 404" in asked("--url", f"http://{where}/ready")[2]
        assert asked("--url", f"http://{where}/healthz")[0] == 0


def test_a_sidecar_without_its_engine_is_not_ready_and_lives(tmp_path: Path) -> None:
    opa = PodOpa(tmp_path)
    with Sidecar(tmp_path, POLICY, *opa.options, *TELEMETRY) as sidecar:
        where = telemetry(sidecar)
        assert asked(SIDECAR_TELEMETRY=where) == (1, "", "sidecar: not ready: the policy engine cannot be reached\n")
        assert asked("--url", f"http://{where}/healthz")[0] == 0


def test_a_sidecar_that_hangs_is_not_ready(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY, *TELEMETRY) as sidecar, stopped(sidecar.process.pid):
        status, _, errors = asked(SIDECAR_TELEMETRY=telemetry(sidecar))
        assert (status, errors.count("\n")) == (1, 1)


def test_where_nobody_listens_nobody_is_ready() -> None:
    port = free_port()
    status, out, errors = asked(SIDECAR_TELEMETRY=f"127.0.0.1:{port}")
    assert (status, out) == (1, "")
    assert errors == f"sidecar: not ready: 127.0.0.1 port {port}: Connection refused\n"


def test_a_redirect_is_not_followed() -> None:
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as ready:
        reply = f"HTTP/1.1 302 Found\r\nLocation: {ready}\r\nContent-Length: 0\r\n\r\n"
        with answering(reply.encode()) as url:
            assert "answers with status 302" in (probe.trouble(url) or "")


@pytest.mark.parametrize(
    "reply",
    [
        b"", b"\0", b"ready\n", b"HTTP/1.1 2000 OK\r\n\r\n", b"HTTP/2 200\r\n\r\n", b"HTTP/1.1 20\r\n\r\n",
        b" HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 503 No\r\n\r\n", b"HTTP/1.1 404 Not Found\r\n\r\nnot found\n",
    ],
)  # fmt: skip
def test_only_the_status_200_is_ready(reply: bytes) -> None:
    with answering(reply) as url:
        assert probe.trouble(url) is not None


def test_what_a_server_says_is_one_line_that_fools_no_terminal() -> None:
    reply = "HTTP/1.1 503 No\r\n\r\nwait\x1b[2J\u202e for it\nsecond line\n".encode()
    with answering(reply) as url:
        assert probe.trouble(url) == "wait?[2J??? for it"


@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 200 OK\r\n"])
def test_an_answer_that_does_not_end_is_not_waited_for(reply: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "SECONDS", 0.2)
    with answering(reply, close=False) as url:
        said = probe.trouble(url)
        assert said is not None
        assert "time" in said or "no answer within 0.2 s" in said


@pytest.mark.parametrize(
    "url",
    [
        "", "127.0.0.1:9464", "https://127.0.0.1/readyz", "file:///etc/passwd", "http://a b/", "http://x@y/",
        "http://h:1/\r\nX: y",
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_not_ready(url: str) -> None:
    assert "is no URL that can be asked" in (probe.trouble(url) or "")


@pytest.mark.parametrize("port", ["0", "65536", "99999"])
def test_a_port_that_does_not_exist_is_not_ready(port: str) -> None:
    assert probe.trouble(f"http://127.0.0.1:{port}/readyz") is not None


@pytest.mark.parametrize(
    ("telemetry", "url"),
    [
        ("", None), ("127.0.0.1:0", None), ("unix:/run/s.sock", "unix:/run/s.sock"), ("10.0.0.7:1234", "http://10.0.0.7:1234/readyz"),
        ("0.0.0.0:9464", "http://127.0.0.1:9464/readyz"), ("[::]:9464", "http://[::1]:9464/readyz"),
        ("[fd00::1]:9464", "http://[fd00::1]:9464/readyz"),
    ],
)  # fmt: skip
def test_the_sidecar_of_the_same_environment_is_asked(
    telemetry: str, url: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIDECAR_TELEMETRY", telemetry)
    assert probe.configured_url() == url


def test_the_only_sidecar_of_the_state_folder_is_asked_wherever_its_telemetry_is(tmp_path: Path) -> None:
    for at in ("127.0.0.1:0", f"unix:{tmp_path}/t.sock"):
        with Sidecar(tmp_path, POLICY, "--telemetry", at) as sidecar:
            assert asked(SIDECAR_STATE_DIR=str(sidecar.state)) == (0, "ready\n", "")
            assert asked("--state-dir", str(sidecar.state), SIDECAR_TELEMETRY=at) == (0, "ready\n", "")
        gone = f"sidecar: not ready: no sidecar runs with the state folder {sidecar.state}\n"
        assert asked("--state-dir", str(sidecar.state)) == (1, "", gone)
        assert asked(SIDECAR_STATE_DIR=str(sidecar.state)) == (1, "", gone)


def test_a_telemetry_socket_is_ours_alone_and_goes_with_us(tmp_path: Path) -> None:
    path = tmp_path / "t.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))  # as one that was killed leaves it: nobody listens there
    with Sidecar(tmp_path, POLICY, "--telemetry", f"unix:{path}") as sidecar:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert asked("--url", f"unix:{path}") == (0, "ready\n", "")
        with Sidecar(tmp_path, POLICY, "--telemetry", f"unix:{path}") as second:
            assert f"cannot listen on unix:{path}: " in second.errors
            assert asked("--state-dir", str(second.state))[0] == 0
        assert asked("--url", f"unix:{path}") == (0, "ready\n", "")
    assert not list(tmp_path.glob("t.sock*"))
    assert "No such file" in asked("--url", f"unix:{path}")[2]
    del sidecar


def test_a_file_that_is_no_socket_is_not_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "t.sock"
    path.write_text("precious")
    with Sidecar(tmp_path, POLICY, "--telemetry", f"unix:{path}") as sidecar:
        assert f"cannot listen on unix:{path}: " in sidecar.errors
    assert path.read_text() == "precious"


def test_of_several_sidecars_every_one_has_to_be_ready(tmp_path: Path) -> None:
    opa = PodOpa(tmp_path)
    state = ("--state-dir", str(tmp_path / "intercept-sidecar"))
    with (
        Sidecar(tmp_path, POLICY, *TELEMETRY, "--server", "good") as good,
        Sidecar(tmp_path, POLICY, *TELEMETRY, "--server", "bad", *opa.options) as bad,
        Sidecar(tmp_path, POLICY, "--server", "silent") as silent,
    ):
        status, out, errors = asked(*state)
        pids = [one.process.pid for one in (good, bad, silent)]
        assert status == 1
        assert set(out.splitlines()) == {
            f"good (pid {pids[0]}): ready", f"silent (pid {pids[2]}): not asked, it has no telemetry",
        }  # fmt: skip
        assert errors == f"sidecar: bad (pid {pids[1]}): not ready: the policy engine cannot be reached\n"
        assert asked(*state, "--server", "good") == (0, "ready\n", "")
        assert asked(*state, SIDECAR_SERVER="good") == (0, "ready\n", "")
        assert asked(*state, "--server", "good", SIDECAR_SERVER="bad") == (0, "ready\n", "")
        # What a pod says of itself has a place already.
        assert asked(SIDECAR_URL=f"http://{telemetry(bad)}", SIDECAR_SERVER="good")[0] == 1
        assert asked(*state, "--server", "silent")[2].endswith(
            "no telemetry to ask: start it with --telemetry 127.0.0.1:0\n"
        )
        assert "no sidecar in front of other" in asked(*state, "--server", "other")[2]


def test_a_probe_imports_nothing_that_takes_long() -> None:
    program = (
        "import sys; sys.argv = ['sidecar', 'health', '--url', 'http://127.0.0.1:0/']\n"
        "from sidecar.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], capture_output=True, text=True, timeout=SECONDS, check=True,
        env={"PYTHONPATH": str(Path(probe.__file__).parent.parent)},
    )  # fmt: skip
    heavy = {"typer", "click", "asyncio", "http", "email", "urllib", "ssl", "msgspec", "uvloop", "json", "typing"}
    assert heavy.isdisjoint(done.stdout.split())
