"""docs/migrate.md: what it shows is what the sidecar does, from `validate` to each command line and the counters."""

from __future__ import annotations

import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from redis import Redis

from tests.support import ROOT, SIDECAR, STUB
from tests.support.listener import Listener
from tests.support.peer import PATIENT, Peer, denied
from tests.support.redis_server import RedisServer
from tests.wire.http.client import Agent, call, first_message
from tests.wire.http.server import Upstream

TEXT: Final = (ROOT / "docs" / "migrate.md").read_text(encoding="utf-8")
(POLICY,) = re.findall(r"^```yaml\n(.*?)^```", TEXT, re.S | re.M)
OLD: Final = """version: "1"
tools:
  create_charge:
    rules:
      - name: "cap"
        conditions:
          - path: "args.amount"
            op: "lte"
            value: 500
        on_denied: "Single charge cannot exceed $500"
      - name: "cap"
        conditions:
          - path: "args.currency"
            op: "eq"
"""
"""A file that Intercept takes, with three mistakes in it."""
SHOWN: Final = re.findall(r"^\$ (.*)\n((?:[^$`].*\n)+)", TEXT, re.M)
(LINES,) = [block.splitlines() for block in re.findall(r"^```sh\n(.*?)^```", TEXT, re.S | re.M)]
BEFORE, AFTER = [json.loads(block)["mcpServers"] for block in re.findall(r"^```json\n(.*?)^```", TEXT, re.S | re.M)]
REFUSED: Final = "Repository deletion is not permitted via AI agents"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "old.yaml").write_text(OLD)
    return tmp_path


@pytest.mark.parametrize(("line", "said"), SHOWN)
def test_a_command_prints_what_is_shown(line: str, said: str, here: Path) -> None:
    _, *words = shlex.split(line)
    done = subprocess.run(
        [SIDECAR, *words], capture_output=True, text=True, check=False, cwd=here, timeout=60,
        env={"PATH": os.defpath, "HOME": str(here)},
    )  # fmt: skip
    assert (done.stdout + done.stderr).startswith(said)


def test_every_kind_of_example_is_found() -> None:
    assert len(SHOWN) == 3
    assert len(LINES) == 6
    assert BEFORE.keys() == AFTER.keys() == {"github", "example"}


@pytest.mark.parametrize("line", LINES)
def test_a_command_line_serves_the_policy(line: str, here: Path, redis_server: RedisServer) -> None:
    with Upstream() as upstream:
        assert_serves(shlex.split(line), here, upstream, redis_server)


@pytest.mark.parametrize("name", sorted(AFTER))
def test_what_mcp_json_says_serves_the_policy(name: str, here: Path, redis_server: RedisServer) -> None:
    with Upstream() as upstream:
        assert_serves([AFTER[name]["command"], *AFTER[name]["args"]], here, upstream, redis_server)
    tokens = {asked.header("Authorization") for asked in upstream.seen}
    assert tokens == ({"Bearer tok"} if name == "example" else set())


@pytest.mark.parametrize("name", sorted(AFTER))
def test_nothing_but_what_is_said_changes_in_mcp_json(name: str) -> None:
    before, after = BEFORE[name], AFTER[name]
    first, *words = after["args"]
    at = words.index("--server")
    assert (before["command"], after["command"], first, words[at + 1]) == ("intercept", "sidecar", "run", name)
    assert before["args"] == words[:at] + words[at + 2 :]
    assert before.get("env") == after.get("env")


@pytest.mark.parametrize("option", sorted(set(re.findall(r"--[a-z]+(?:-[a-z]+)*", TEXT)) - {"--watch", "--json"}))
def test_an_option_that_is_named_is_there(option: str) -> None:
    helped = subprocess.run(
        [SIDECAR, "run", "--help"], capture_output=True, text=True, check=True, env={"COLUMNS": "200"}, timeout=60
    )
    assert option in re.findall(r"--[a-z-]+", helped.stdout)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("--state-dsn` needs `--server`", ["--state-dsn", "redis://localhost/0"]),
        ("ends with a colon", ["--server", "github", "--state-dsn", "redis://localhost/0", "--state-prefix", "stripe"]),
    ],
)
def test_what_is_said_to_be_refused_is(said: str, words: list[str], here: Path) -> None:
    assert said in TEXT
    run = [str(SIDECAR), "run", "-c", str(here / "policy.yaml"), *words, "--", "cat"]
    done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode in (1, 2)
    assert words[-2] in done.stderr


def test_counters_in_the_folder_begin_anew_and_the_old_ones_stay(here: Path) -> None:
    (here / "state").mkdir(mode=0o700)
    with sqlite3.connect(here / "state" / "intercept.sqlite") as old:
        old.execute(
            "CREATE TABLE counters (key TEXT PRIMARY KEY, value INTEGER, window_start TEXT, window_dur INTEGER)"
        )
        old.execute("INSERT INTO counters VALUES ('create_issue._rate_hour', 2, '2026-11-30T14:00:00Z', 3600000000000)")
    before = (here / "state" / "intercept.sqlite").read_bytes()
    command = [str(SIDECAR), "run", "-c", str(here / "policy.yaml"), "--state-dir", str(here / "state"), *PATIENT]
    assert issues([*command, "--", *stub()], here) == [True, True, False]
    assert (here / "state" / "intercept.sqlite").read_bytes() == before
    assert (here / "state" / "counters.db").is_file()


def test_counters_in_redis_begin_anew_and_the_old_ones_stay(here: Path, redis_server: RedisServer) -> None:
    with Redis.from_url(redis_server.dsn) as redis:
        redis.hset("github:create_issue._rate_hour", mapping={"v": 2, "ws": "2026-11-30T14:00:00Z", "wd": 3600})
        before = redis.hgetall("github:create_issue._rate_hour")
        line = next(line for line in LINES if "redis://" in line)
        with Upstream() as upstream:
            command = made_real(shlex.split(line), here, upstream, redis_server)
        assert issues(command, here) == [True, True, False]
        assert redis.hgetall("github:create_issue._rate_hour") == before


def issues(command: list[str], folder: Path) -> list[bool]:
    """Whether each of three calls passed that a fresh window has room for two of."""
    with Peer(command, folder) as sidecar:
        sidecar.initialize()
        return [denied(sidecar.call("create_issue", {"title": "x"})) is None for _ in range(3)]


def assert_serves(words: list[str], folder: Path, upstream: Upstream, redis: RedisServer) -> None:
    """A client is refused what the policy denies, unless it only monitors, and gets an answer to all else."""
    command = made_real(words, folder, upstream, redis)
    if "--transport" in words:
        with Listener(command, folder, says="ready\n") as listener:
            agent = Agent(listener.url)
            refused = first_message(agent.post(call("delete_repository")))
            passed = first_message(agent.post(call("list_issues", id_=2)))
    else:
        with Peer(command, folder) as sidecar:
            sidecar.initialize()
            refused, passed = sidecar.call("delete_repository"), sidecar.call("list_issues")
            if "monitor" in words:
                sidecar.wait_for_error("would deny delete_repository")
    assert denied(refused) == (None if "monitor" in words else REFUSED)
    assert passed["result"]["content"]
    assert not passed["result"].get("isError")


def made_real(words: list[str], folder: Path, upstream: Upstream, redis: RedisServer) -> list[str]:
    """A command line with what is there on this machine: our stub, a server on loopback, any port, a folder."""
    own, _, server = " ".join(map(shlex.quote, words)).partition(" -- ")
    for pattern, real in (
        (r"^sidecar run", f"{SIDECAR} run {' '.join(PATIENT)} --telemetry 127.0.0.1:0"),
        (r"\S*policy\.yaml", str(folder / "policy.yaml")),
        (r"https://mcp\.example\.com/mcp", upstream.url),
        (r"--port 9000", "--port 0"),
        (r"redis://localhost:6379/0", redis.dsn),
    ):
        own = re.sub(pattern, real, own)
    place = [] if "--state-dsn" in own else ["--state-dir", str(folder / "intercept-sidecar")]
    return [*shlex.split(own), *place, *(["--", *stub()] if server else [])]


def stub() -> list[str]:
    return [sys.executable, "-S", "-E", str(STUB)]
