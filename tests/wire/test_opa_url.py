"""An OPA that somebody else started, as in a pod: it may come late, go, or be a wrong one; no call passes unjudged."""

from __future__ import annotations

import http.client
import io
import os
import re
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import yaml

from sidecar.cli.opa import remote_opa
from sidecar.errors import StartError, UsageError
from sidecar.policy.archive import write as archive
from sidecar.settings import Address, RemoteOpa
from tests.engine.asking import bundle_of
from tests.support import ROOT, SIDECAR
from tests.support.liar import lying
from tests.support.peer import AS_A_USER, SECONDS, TELEMETRY, Sidecar, denied, kind, stopped, until
from tests.support.pod_opa import PodOpa, key_pair
from tests.wire.http.client import Wire

NOBODY = 65534
POLICY = "tools: {t: {rules: [{conditions: [{path: args.a, op: lt, value: 100}], reason: Too much}]}}\n"


@pytest.fixture
def opa(tmp_path: Path) -> Iterator[PodOpa]:
    found = PodOpa(tmp_path)
    yield found
    found.kill()


def test_the_opa_of_the_pod_decides_and_no_other_is_started(tmp_path: Path, opa: PodOpa) -> None:
    opa.start()
    with Sidecar(tmp_path, POLICY, *opa.options, *TELEMETRY) as sidecar:
        sidecar.initialize()
        until(lambda: sidecar.readiness() == (200, "ready\n"))
        assert kind(sidecar.call("t", {"a": 1})) is None
        assert denied(sidecar.call("t", {"a": 100})) == "Too much"
        assert len(sidecar.received) == 1
        assert sidecar.children("--server") == []
        assert opa.token.read_text().strip() not in sidecar.errors


def test_a_sidecar_starts_before_opa_refuses_calls_and_lets_them_pass_when_it_comes(
    tmp_path: Path, opa: PodOpa
) -> None:
    with Sidecar(tmp_path, POLICY, *opa.options, *TELEMETRY) as sidecar:
        sidecar.wait_for_error("the policy engine cannot be reached; calls are denied until it answers again")
        sidecar.initialize()
        assert sidecar.readiness() == (503, "the policy engine cannot be reached\n")
        assert kind(sidecar.call("t", {"a": 1})) == "engine_unavailable"
        assert sidecar.received == []
        opa.start()
        sidecar.wait_for_error("the policy engine answers again")
        assert kind(sidecar.call("t", {"a": 1})) is None
        assert sidecar.readiness()[0] == 200
        assert sidecar.errors.count("cannot be reached; calls are denied") == 1


def test_an_opa_that_is_killed_is_missed_at_once_and_taken_back_when_it_was_started_again(
    tmp_path: Path, opa: PodOpa
) -> None:
    opa.start()
    with Sidecar(tmp_path, POLICY, *opa.options, *TELEMETRY) as sidecar:
        sidecar.initialize()
        until(lambda: kind(sidecar.call("t", {"a": 1})) is None)
        before = len(sidecar.received)
        opa.kill()
        sidecar.until_ping()  # whatever is read with it was there before: the end of OPA's connections too
        assert [kind(sidecar.call("t", {"a": 1})) for _ in range(3)] == ["engine_unavailable"] * 3
        assert len(sidecar.received) == before
        until(lambda: sidecar.readiness()[0] == 503)
        opa.start()
        until(lambda: kind(sidecar.call("t", {"a": 1})) is None)
        until(lambda: sidecar.readiness()[0] == 200)


def test_an_opa_that_hangs_is_no_answer(tmp_path: Path, opa: PodOpa) -> None:
    opa.start()
    with Sidecar(tmp_path, POLICY, *opa.options, *AS_A_USER, *TELEMETRY) as sidecar:
        sidecar.initialize()
        until(lambda: kind(sidecar.call("t", {"a": 1})) is None)
        assert opa.process is not None
        with stopped(opa.process.pid):
            until(lambda: sidecar.readiness() == (503, "the policy engine did not answer in 250 ms\n"))
            assert kind(sidecar.call("t", {"a": 1})) == "engine_unavailable"
        until(lambda: kind(sidecar.call("t", {"a": 1})) is None)


def test_a_sidecar_that_was_started_again_feeds_the_opa_that_is_still_there(tmp_path: Path, opa: PodOpa) -> None:
    opa.start()
    with Sidecar(tmp_path, POLICY, *opa.options) as sidecar:
        sidecar.initialize()
        until(lambda: kind(sidecar.call("t", {"a": 1})) is None)
        sidecar.process.send_signal(signal.SIGKILL)
        sidecar.wait()
    with Sidecar(tmp_path, "default: deny\n", *opa.options) as sidecar:
        sidecar.initialize()
        until(lambda: kind(sidecar.call("t", {"a": 1})) == "default_deny")
        assert len(sidecar.received) == 1


def test_an_opa_that_shows_another_token_gets_no_policy_and_that_is_said(tmp_path: Path, opa: PodOpa) -> None:
    opa.start()
    ours = tmp_path / "another-token"
    ours.write_text("a-token-that-opa-does-not-know")
    options = ("--bundle-token-file", str(ours))
    with Sidecar(tmp_path, POLICY, *opa.options, *options, *TELEMETRY) as sidecar:
        sidecar.initialize()
        sidecar.wait_for_error("the policy engine runs but has not loaded our policy")
        assert sidecar.readiness()[0] == 503
        assert "--bundle-token-file" in sidecar.readiness()[1]
        assert kind(sidecar.call("t", {"a": 1})) == "engine_unavailable"
        assert sidecar.received == []


FORBIDDEN = [
    ("PUT", "/v1/policies/intercept/x.rego"), ("DELETE", "/v1/policies/intercept/decision.rego"),
    ("GET", "/v1/policies"), ("PUT", "/v1/data/intercept/facts"), ("PATCH", "/v1/data/intercept/facts"),
    ("DELETE", "/v1/data/intercept/facts"), ("PUT", "/v1/data"), ("GET", "/v1/data"), ("POST", "/v1/data"),
    ("GET", "/v1/data/intercept/decision"), ("GET", "/v1/data/intercept/facts"),
    ("POST", "/v1/data/system/authz/allow"),
    ("POST", "/v1/data/intercept"), ("GET", "/v1/data/intercept/decisions"), ("POST", "/v1/data/intercept/decisions/0"),
    ("POST", "/v1/data/intercept/decision/action"), ("POST", "/v1/query"),
    ("GET", "/v1/query?q=data"), ("POST", "/v1/compile"), ("GET", "/v1/config"), ("GET", "/v1/status"), ("POST", "/"),
    ("GET", "/"), ("POST", "/v0/data/intercept/decision"), ("GET", "/debug/pprof/heap"),
    ("POST", "/v1/data/intercept%2fdecision"),
    ("HEAD", "/v1/data/intercept/facts"), ("PUT", "/v1/data/intercept/decision"), ("POST", "/health"),
]  # fmt: skip


def reply_over(path: Path, method: str, target: str, body: str | None = None) -> int:
    """The status of OPA's reply to one request over its socket."""
    connection = http.client.HTTPConnection("opa", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(path))
    try:
        connection.request(method, target, body, {"Content-Type": "application/json"})
        return connection.getresponse().status
    finally:
        connection.close()


def test_whoever_reaches_the_socket_of_the_pod_can_ask_and_nothing_else(tmp_path: Path, opa: PodOpa) -> None:
    opa.start()
    path = opa.run / "opa.sock"
    with Sidecar(tmp_path, POLICY, *opa.options, *TELEMETRY) as sidecar:
        sidecar.initialize()
        until(lambda: sidecar.readiness() == (200, "ready\n"))
        statuses = {(method, target): reply_over(path, method, target, "[]") for method, target in FORBIDDEN}
        assert {asked: status for asked, status in statuses.items() if status not in (401, 403, 405)} == {}
        for document in ("decision", "decisions"):
            assert reply_over(path, "POST", f"/v1/data/intercept/{document}", '{"input":{}}') == 200
        assert reply_over(path, "GET", "/health") == 200
        assert kind(sidecar.call("t", {"a": 1})) is None


def test_the_opa_of_the_pod_answers_many_calls_at_once(tmp_path: Path, opa: PodOpa) -> None:
    opa.start()
    with Sidecar(tmp_path, POLICY, *opa.options, *TELEMETRY) as sidecar:
        sidecar.initialize()
        until(lambda: sidecar.readiness() == (200, "ready\n"))
        ids = {sidecar.post("tools/call", {"name": "t", "arguments": {"a": number}}): number for number in range(200)}
        replies = {reply["id"]: kind(reply) for reply in (sidecar.read() for _ in ids)}
        assert {ids[id_]: found for id_, found in replies.items()} == {
            number: None if number < 100 else "rule" for number in range(200)
        }


@pytest.mark.parametrize("late", [False, True], ids=["from-the-start", "instead-of-a-good-one"])
def test_an_opa_of_a_version_that_is_not_good_decides_nothing(tmp_path: Path, opa: PodOpa, late: bool) -> None:
    said = "the policy engine is OPA 1.4.0: this sidecar needs 1.22.4 or 1.22.2"

    def check(sidecar: Sidecar) -> None:
        before = len(sidecar.received)
        with lying(opa.run / "opa.sock", bundle_of(POLICY).revision, "1.4.0"):
            sidecar.wait_for_error(said)
            assert [kind(sidecar.call("t", {"a": number})) for number in (1, 2)] == ["engine_unavailable"] * 2
            assert sidecar.readiness() == (503, f"{said}\n")
            assert sidecar.errors.count(f"{said}; calls are denied") == 1
        (opa.run / "opa.sock").unlink()
        assert len(sidecar.received) == before

    if late:
        opa.start()
    with Sidecar(tmp_path, POLICY, *opa.options, *TELEMETRY) as sidecar:
        sidecar.initialize()
        if late:
            until(lambda: kind(sidecar.call("t", {"a": 1})) is None)
            opa.kill()
            (opa.run / "opa.sock").unlink()
        check(sidecar)
        opa.start()
        until(lambda: kind(sidecar.call("t", {"a": 1})) is None)


class Neighbour:
    """Another container of the pod: it listens where OPA fetches its bundle while the sidecar is away, and stays."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server = socket.create_server(("127.0.0.1", port))
        self._server.settimeout(SECONDS)
        self._connection: socket.socket | None = None
        self.heard = ""

    def take(self) -> None:
        """Wait for OPA and keep its connection; nobody listens any more."""
        self._connection, _ = self._server.accept()
        self._connection.settimeout(SECONDS)
        self._server.close()
        self.heard = self._request()

    def fetch(self) -> bytes:
        """The real bundle, with the token that OPA showed."""
        (token,) = re.findall(r"(?mi)^authorization: (.*?)\r$", self.heard)
        url = f"http://127.0.0.1:{self._port}/bundles/intercept.tar.gz"
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Authorization": token}), timeout=10) as reply:
            return bytes(reply.read())

    def feed(self, bundle: bytes) -> None:
        """Answer OPA's long poll, and wait until it has looked at the answer: it asks again, here or elsewhere."""
        assert self._connection is not None
        head = 'HTTP/1.1 200 OK\r\nContent-Type: application/vnd.openpolicyagent.bundles\r\nETag: "theirs"\r\n'
        self._connection.sendall(f"{head}Content-Length: {len(bundle)}\r\n\r\n".encode() + bundle)
        self.heard = self._request()

    def close(self) -> None:
        for opened in (self._server, self._connection):
            if opened is not None:
                opened.close()

    def _request(self) -> str:
        assert self._connection is not None
        data = b""
        while b"\r\n\r\n" not in data and (more := self._connection.recv(65536)):
            data += more
        return data.decode()


def opened(bundle: bytes) -> bytes:
    """A bundle in which a condition is wider, under the same revision, serial and signature."""
    with tarfile.open(fileobj=io.BytesIO(bundle)) as tar:
        files = {member.name: (tar.extractfile(member) or io.BytesIO()).read().decode() for member in tar}
    (rule,) = [path for path, text in files.items() if path.endswith("/t.rego") and "100" in text]
    return archive({**files, rule: files[rule].replace("100", "1000000")})


@pytest.fixture
def neighbour(opa: PodOpa) -> Iterator[Callable[[], Neighbour]]:
    came = list[Neighbour]()

    def comes() -> Neighbour:
        came.append(Neighbour(opa.port))
        return came[0]

    yield comes
    for one in came:
        one.close()


def served_and_killed(folder: Path, policy: str, opa: PodOpa) -> None:
    """A sidecar that fed OPA and is gone."""
    with Sidecar(folder, policy, *opa.options) as sidecar:
        sidecar.initialize()
        until(lambda: denied(sidecar.call("t", {"a": 100})) == "Too much")
        sidecar.process.send_signal(signal.SIGKILL)
        sidecar.wait()


def test_what_a_neighbour_in_the_pod_feeds_opa_never_decides(
    tmp_path: Path, opa: PodOpa, neighbour: Callable[[], Neighbour]
) -> None:
    opa.start()
    served_and_killed(tmp_path, POLICY, opa)
    thief = neighbour()
    thief.take()
    with Sidecar(tmp_path, POLICY, *opa.options, *TELEMETRY) as sidecar:
        sidecar.initialize()
        thief.feed(opened(thief.fetch()))
        # The bundle that OPA has is the one in force, and stays.
        until(lambda: sidecar.readiness() == (200, "ready\n"))
        assert kind(sidecar.call("t", {"a": 1})) is None
        assert [denied(sidecar.call("t", {"a": number})) for number in (100, 999_999)] == ["Too much"] * 2
        assert len(sidecar.received) == 1


def test_an_older_bundle_of_ours_that_a_neighbour_kept_makes_the_sidecar_not_ready(
    tmp_path: Path, opa: PodOpa, neighbour: Callable[[], Neighbour]
) -> None:
    opa.start()
    served_and_killed(tmp_path, POLICY.replace("100", "50"), opa)
    thief = neighbour()
    thief.take()
    with Sidecar(tmp_path, POLICY, *opa.options) as sidecar:
        sidecar.initialize()
        older = thief.fetch()
        sidecar.process.send_signal(signal.SIGKILL)
        sidecar.wait()
    with Sidecar(tmp_path, POLICY.replace("100", "1"), *opa.options, *TELEMETRY) as sidecar:
        sidecar.initialize()
        thief.feed(older)
        said = "the policy engine answered by another policy than the one in force"
        until(lambda: sidecar.readiness() == (503, f"{said}\n"))
        assert kind(sidecar.call("t", {"a": 99})) == "engine_unavailable"
        assert sidecar.received == []


@pytest.mark.parametrize(
    "more", [{"exclude_files": ["intercept/*"]}, {"allow_unsigned_delta_bundles": True}], ids=["files", "deltas"]
)
def test_an_opa_that_takes_something_unsigned_decides_nothing(
    tmp_path: Path, opa: PodOpa, more: dict[str, object]
) -> None:
    configured = yaml.safe_load(opa.configuration.read_text())
    configured["bundles"]["intercept"]["signing"] |= more
    opa.configuration.write_text(yaml.safe_dump(configured))
    opa.start()
    with Sidecar(tmp_path, POLICY, *opa.options, *TELEMETRY) as sidecar:
        sidecar.initialize()
        sidecar.wait_for_error("the policy engine takes bundles from anybody")
        assert sidecar.readiness()[0] == 503
        assert kind(sidecar.call("t", {"a": 1})) == "engine_unavailable"
        assert sidecar.received == []


def test_an_opa_that_knows_another_key_gets_no_policy(tmp_path: Path, opa: PodOpa) -> None:
    key_pair(tmp_path / "another.pem", tmp_path / "another-public.pem")
    opa.start()
    options = ("--bundle-signing-key", str(tmp_path / "another.pem"))
    with Sidecar(tmp_path, POLICY, *opa.options, *options, *TELEMETRY) as sidecar:
        sidecar.initialize()
        sidecar.wait_for_error("the policy engine runs but has not loaded our policy")
        assert "--bundle-signing-key" in sidecar.readiness()[1]
        assert kind(sidecar.call("t", {"a": 1})) == "engine_unavailable"


def test_a_key_that_is_none_stops_the_start(tmp_path: Path, opa: PodOpa) -> None:
    opa.key.write_text("no key\n")
    with Sidecar(tmp_path, POLICY, *opa.options, ready=False) as sidecar:
        assert sidecar.wait() == 1
        assert "--bundle-signing-key must be a private key on the curve P-256" in sidecar.errors


@contextmanager
def listening_as(user: int, socket: Path, revision: str) -> Iterator[None]:
    """A liar that belongs to another user. Only root can become one."""
    root = [] if os.geteuid() == 0 else ["sudo", "--non-interactive", "env", f"PYTHONPATH={ROOT}"]
    command = [*root, sys.executable, "-m", "tests.support.liar", str(socket), revision, str(user)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as liar:
        assert liar.stdout is not None
        assert liar.stdout.readline() == "listening\n"
        try:
            yield
        finally:
            liar.communicate(timeout=SECONDS)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder in which everybody may write."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


def test_the_socket_of_another_user_decides_nothing(tmp_path: Path, opa: PodOpa, open_folder: Path) -> None:
    place = open_folder / "opa.sock"
    options = (*opa.options, "--opa-url", f"unix://{place}", *TELEMETRY)
    with (
        listening_as(NOBODY, place, bundle_of(POLICY).revision),
        Sidecar(tmp_path, POLICY, *options) as sidecar,
    ):
        sidecar.initialize()
        said = f"the program at {place} runs as another user: what decides must run as we do, or as root"
        sidecar.wait_for_error(said)
        assert sidecar.readiness() == (503, f"{said}\n")
        assert [kind(sidecar.call("t", {"a": number})) for number in (1, 100)] == ["engine_unavailable"] * 2
        assert sidecar.received == []


def test_a_changed_policy_is_taken_into_force_by_the_opa_of_the_pod(tmp_path: Path, opa: PodOpa) -> None:
    opa.start()
    with Sidecar(tmp_path, POLICY, *opa.options) as sidecar:
        sidecar.initialize()
        until(lambda: kind(sidecar.call("t", {"a": 1})) is None)
        (tmp_path / "policy.yaml").write_text(POLICY.replace("100", "1"))
        sidecar.wait_for_error("the changed policy is in force")
        assert denied(sidecar.call("t", {"a": 1})) == "Too much"
        (tmp_path / "policy.yaml").write_text("tools: [")
        sidecar.wait_for_error("the changed policy is refused")
        assert denied(sidecar.call("t", {"a": 1})) == "Too much"


def test_a_port_of_the_bundle_service_that_is_taken_stops_the_start(tmp_path: Path, opa: PodOpa) -> None:
    with Sidecar(tmp_path, POLICY, *opa.options), Sidecar(tmp_path, POLICY, *opa.options, ready=False) as second:
        assert second.wait() == 1
        assert f"--bundle-listen: cannot listen on 127.0.0.1:{opa.port}" in second.errors


# The options.


def token_file(folder: Path, text: str = "0123456789abcdef\n") -> Path:
    path = folder / "token"
    path.write_text(text)
    return path


def key_file(folder: Path) -> Path:
    path = folder / "key"
    path.touch(mode=0o600)
    path.write_text("a key in PEM")
    return path


def test_without_the_option_an_opa_of_our_own_is_started() -> None:
    assert remote_opa(None, None, None, None) is None


def test_the_bundle_is_served_on_port_8282_unless_said_otherwise(tmp_path: Path) -> None:
    found = remote_opa("unix:///run/opa.sock", None, token_file(tmp_path), key_file(tmp_path))
    assert found == RemoteOpa("/run/opa.sock", Address("127.0.0.1", 8282), "0123456789abcdef", "a key in PEM")
    assert "0123456789abcdef" not in repr(found)
    assert "PEM" not in repr(found)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8181", "unix:opa.sock", "unix://opa.sock", "/run/opa.sock", "unix://", ""]
)
def test_only_a_unix_socket_is_asked(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match="--opa-url must be a unix socket"):
        remote_opa(url, None, token_file(tmp_path), key_file(tmp_path))


@pytest.mark.parametrize("listen", ["0.0.0.0:8282", "192.0.2.1:8282", "[::]:8282", "example.com:8282"])
def test_the_bundle_is_served_on_loopback_only(tmp_path: Path, listen: str) -> None:
    with pytest.raises(UsageError, match="--bundle-listen must be a loopback address"):
        remote_opa("unix:///run/opa.sock", listen, token_file(tmp_path), key_file(tmp_path))


def test_a_token_and_a_key_are_needed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--opa-url needs --bundle-token-file"):
        remote_opa("unix:///run/opa.sock", None, None, key_file(tmp_path))
    with pytest.raises(UsageError, match="--opa-url needs --bundle-signing-key"):
        remote_opa("unix:///run/opa.sock", None, token_file(tmp_path), None)


@pytest.mark.parametrize(
    ("listen", "token", "key"),
    [("127.0.0.1:1", None, None), (None, Path("token"), None), (None, None, Path("private.pem"))],
)
def test_options_about_that_opa_need_it(listen: str | None, token: Path | None, key: Path | None) -> None:
    with pytest.raises(UsageError, match="are about --opa-url's OPA"):
        remote_opa(None, listen, token, key)


@pytest.mark.parametrize(
    "text", ["", "short", "has blanks within its line", "0123456789abcdef\nmore", "0123456789abcdé"]
)
def test_a_token_that_cannot_be_one_is_refused_without_showing_it(tmp_path: Path, text: str) -> None:
    with pytest.raises(StartError, match="holds no good token") as caught:
        remote_opa("unix:///run/opa.sock", None, token_file(tmp_path, text), key_file(tmp_path))
    assert not text or text not in str(caught.value)


def test_wrong_usage_ends_with_status_2(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    done = subprocess.run(
        [SIDECAR, "run", "-c", tmp_path / "policy.yaml", "--opa-url", "unix:///run/opa.sock", "--", "true"],
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_an_opa_that_comes_late_is_fed_though_others_hold_connections_to_its_port(tmp_path: Path, opa: PodOpa) -> None:
    with Sidecar(tmp_path, POLICY, *opa.options, *TELEMETRY) as sidecar, ExitStack() as stack:
        for number in range(100):
            wire = stack.enter_context(Wire(f"http://127.0.0.1:{opa.port}"))
            wire.send(b"GET /bundles/intercept.tar.gz HTTP/1.1\r\n\r\n"[: number // 2])
        opa.start()
        until(lambda: sidecar.readiness() == (200, "ready\n"))
        assert kind(sidecar.call("t", {"a": 1})) is None
