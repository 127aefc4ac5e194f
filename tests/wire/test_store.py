"""Limits kept in Redis, on the wire: shared, lasting, and in nobody's way but that of calls that count."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sidecar import probe
from tests.support import SIDECAR
from tests.support.peer import SECONDS, TELEMETRY, Sidecar, denied, kind, stopped, until
from tests.support.redis_server import RedisServer
from tests.wire.test_limits import burst, limited

LIMITED_AND_FREE = "default: allow\n" + limited(100)
READING = (
    "tools:\n  t: {rules: [{rate_limit: 5/day}]}\n"
    "  r: {rules: [{conditions: [{path: state.t._rate_day, op: lt, value: 9}]}]}\n"
)
REFUSED = "The store of counters cannot be used. The call was not forwarded."
PASSWORD = "hunter2-hunter2"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of the test's own."""
    folder = tmp_path / "redis"
    folder.mkdir()
    with RedisServer(folder) as server:
        yield server


def options(server: RedisServer) -> list[str]:
    """The options that name the store."""
    return ["--state-dsn", server.dsn, "--server", "stub"]


def folders(folder: Path, *names: str) -> list[Path]:
    """New folders in a folder."""
    for name in names:
        (folder / name).mkdir()
    return [folder / name for name in names]


def test_two_sidecars_on_one_redis_together_let_exactly_the_limit_through(tmp_path: Path, server: RedisServer) -> None:
    one_folder, other_folder = folders(tmp_path, "one", "other")
    with (
        Sidecar(one_folder, limited(150), store=options(server)) as one,
        Sidecar(other_folder, limited(150), store=options(server)) as other,
        ThreadPoolExecutor(2) as threads,
    ):
        outcomes = list(threads.map(lambda sidecar: burst(sidecar, 200), (one, other)))
        assert sum(outcome.count(None) for outcome in outcomes) == 150
        assert len(one.received) + len(other.received) == 150


def test_what_was_taken_stands_after_a_restart_with_another_policy(tmp_path: Path, server: RedisServer) -> None:
    with Sidecar(tmp_path, limited(3), store=options(server)) as sidecar:
        assert burst(sidecar, 2) == [None, None]
        sidecar.process.kill()
        sidecar.wait()
    with Sidecar(tmp_path, "default: allow\n" + limited(5), store=options(server)) as sidecar:
        assert burst(sidecar, 5).count(None) == 3


def test_prefixes_are_counted_apart(tmp_path: Path, server: RedisServer) -> None:
    for prefix in ("one:", "other:"):
        with Sidecar(tmp_path, limited(2), "--state-prefix", prefix, store=options(server)) as sidecar:
            assert burst(sidecar, 3).count(None) == 2
    with server.client() as client:
        assert {str(key).partition(":")[0] for key in client.scan_iter()} == {"one", "other"}


def test_what_failed_is_given_back_before_the_client_hears_of_it(tmp_path: Path, server: RedisServer) -> None:
    with Sidecar(tmp_path, limited(1), store=options(server)) as sidecar:
        outcomes = [sidecar.call("t", {"stub": "error"}) for _ in range(30)]
        assert [denied(reply) for reply in outcomes if denied(reply)] == []


def test_a_redis_that_hangs_delays_only_calls_that_count(tmp_path: Path, server: RedisServer) -> None:
    with Sidecar(tmp_path, LIMITED_AND_FREE, store=options(server)) as sidecar:
        assert denied(sidecar.call("t")) is None
        with stopped(server.pid):
            counted = sidecar.post("tools/call", {"name": "t", "arguments": {}})
            free = [sidecar.post("tools/call", {"name": "free", "arguments": {}}) for _ in range(20)]
            answered = [sidecar.read()["id"] for _ in free]
            assert sorted(answered) == free
            assert kind(sidecar.reply(counted)) == "store_unavailable"
        assert denied(sidecar.call("t")) is None
        assert [(line["kind"], line["tool"]) for line in sidecar.audit if line.get("kind") == "store_unavailable"] == [
            ("store_unavailable", "t")
        ]


def test_a_call_whose_rule_reads_a_counter_is_refused_while_redis_is_gone(tmp_path: Path, server: RedisServer) -> None:
    with Sidecar(tmp_path, READING, store=options(server)) as sidecar:
        assert denied(sidecar.call("r")) is None
        server.kill()
        assert denied(sidecar.call("r")) == REFUSED


def test_a_redis_that_comes_back_is_used_again(tmp_path: Path, server: RedisServer) -> None:
    with Sidecar(tmp_path, limited(3), store=options(server)) as sidecar:
        assert denied(sidecar.call("t")) is None
        server.kill()
        assert [denied(sidecar.call("t")) for _ in range(3)] == [REFUSED] * 3
        assert server.start()
        assert [denied(sidecar.call("t")) for _ in range(3)] == [
            None,
            None,
            "Rate limit of 3 per day reached. Try again later.",
        ]


def test_a_sidecar_whose_store_is_gone_is_not_ready_and_says_why(tmp_path: Path, server: RedisServer) -> None:
    with Sidecar(tmp_path, limited(3), *TELEMETRY, store=options(server)) as sidecar:
        found = re.search(r"http://[^/]+", sidecar.errors)
        assert found is not None
        url = f"{found[0]}/readyz"
        assert denied(sidecar.call("t")) is None
        assert probe.trouble(url) is None
        server.kill()
        assert denied(sidecar.call("t")) == REFUSED
        assert "store" in (probe.trouble(url) or "")
        assert server.start()
        assert denied(sidecar.call("t")) is None
        assert probe.trouble(url) is None


def test_a_store_that_may_fail_open_lets_calls_pass_and_says_so(tmp_path: Path, server: RedisServer) -> None:
    with Sidecar(tmp_path, limited(1), "--state-fail-mode", "open", store=options(server)) as sidecar:
        assert "calls pass uncounted while the store cannot be used" in sidecar.errors
        server.kill()
        assert burst(sidecar, 3) == [None, None, None]
        sidecar.wait_for_error("cannot be used")
        until(lambda: len(sidecar.audit) == 3)
        assert {(line["kind"], line["allowed"]) for line in sidecar.audit if "allowed" in line} <= {
            ("store_unavailable", True)
        }


# The command line.


def start(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`sidecar run` that is expected to end at once."""
    (folder / "policy.yaml").write_text(limited(1))
    command = [str(SIDECAR), "run", "-c", str(folder / "policy.yaml"), *words, "--", "true"]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL, check=False
    )


def test_a_store_in_two_places_is_wrong_usage(tmp_path: Path) -> None:
    ended = start(
        tmp_path, "--state-dsn", f"redis://:{PASSWORD}@h", "--state-dir", str(tmp_path / "state"), "--server", "s"
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "sidecar: counters are kept in one place: give --state-dir or --state-dsn\n"


def test_a_shared_store_needs_the_name_of_the_server(tmp_path: Path) -> None:
    ended = start(tmp_path, "--state-dsn", f"redis://:{PASSWORD}@h")
    assert ended.returncode == 2
    assert "--state-dsn needs --server NAME" in ended.stderr


def test_a_prefix_that_could_be_a_part_of_a_name_stops_the_start(tmp_path: Path, server: RedisServer) -> None:
    ended = start(tmp_path, "--state-dsn", server.dsn, "--state-prefix", "team", "--server", "s")
    assert ended.returncode == 1
    assert "the prefix of keys must end with a colon" in ended.stderr


@pytest.mark.parametrize("place", ["127.0.0.1:1", "127.0.0.1:x", "nobody.invalid"])
def test_a_store_that_cannot_be_used_stops_the_start_without_telling_the_password(tmp_path: Path, place: str) -> None:
    ended = start(tmp_path, "--state-dsn", f"redis://:{PASSWORD}@{place}", "--server", "s")
    assert ended.returncode == 1
    assert ended.stderr.startswith("sidecar: --state-dsn: the ")
    assert PASSWORD not in ended.stderr


def test_a_wrong_password_stops_the_start_without_telling_it(tmp_path: Path) -> None:
    with RedisServer(tmp_path, password="another") as server:
        ended = start(tmp_path, "--state-dsn", f"redis://:{PASSWORD}@127.0.0.1:{server.port}", "--server", "s")
    assert ended.returncode == 1
    assert "invalid username-password pair" in ended.stderr
    assert PASSWORD not in ended.stderr


def test_the_password_is_told_to_nobody(tmp_path: Path) -> None:
    redis_folder, folder = folders(tmp_path, "redis", "sidecar")
    with (
        RedisServer(redis_folder, password=PASSWORD) as server,
        Sidecar(
            folder, limited(5), "--log-level", "debug", store=["--server", "stub"],
            env={"SIDECAR_STATE_DSN": server.dsn},
        ) as sidecar,
    ):  # fmt: skip
        assert denied(sidecar.call("t")) is None
        for child in sidecar.children(""):
            assert PASSWORD not in Path(f"/proc/{child}/environ").read_text(errors="replace")
        server.kill()
        assert denied(sidecar.call("t")) == REFUSED
        sidecar.wait_for_error("cannot be used")
        until(lambda: len(sidecar.audit) >= 2)
        assert PASSWORD not in sidecar.errors
        assert PASSWORD not in json.dumps(sidecar.audit)
