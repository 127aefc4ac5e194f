"""What the server behind us, and OPA, can find out about us: no password, though they run as the same user."""

from __future__ import annotations

import ctypes
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from sidecar.engine.environment import GO
from tests.support import SIDECAR, STUB
from tests.support.peer import Peer, Sidecar, child_pids, until
from tests.support.redis_server import RedisServer

PASSWORD: Final = "hunter2-hunter2"
SPY: Final = STUB.parent / "spy.py"
PR_CAPBSET_DROP, EVERY_CAPABILITY = 24, range(64)


def as_an_ordinary_user(folder: Path, **options: Any) -> Sidecar:
    """A sidecar that is no almighty root, nor what it starts: the thread that starts it gives up what root may do."""

    def start() -> Sidecar:
        for capability in EVERY_CAPABILITY:
            ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
        return Sidecar(folder, "tools: {}\n", **options)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(start).result()


def environment_of(pid: int) -> dict[str, str]:
    """What the kernel shows of a process' environment."""
    entries = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def test_the_server_finds_no_password_in_its_parent_and_opa_gets_no_secret(tmp_path: Path) -> None:
    report = tmp_path / "report"
    with (
        RedisServer(tmp_path, password=PASSWORD) as redis,
        as_an_ordinary_user(
            tmp_path, store=["--server", "stub"],
            env={"SIDECAR_STATE_DSN": redis.dsn, "SERVER_TOKEN": "the server's own"},
            server=[sys.executable, str(SPY), str(report), str(STUB)],
        ) as sidecar,
    ):  # fmt: skip
        sidecar.initialize()
        opas = environment_of(sidecar.opa)
        ours = environment_of(sidecar.process.pid) if os.geteuid() == 0 else {}
    seen = json.loads(report.read_text())
    assert "SIDECAR_STATE_DSN" not in seen["own"]
    assert PASSWORD not in str(seen["own"])
    assert seen["own"]["SERVER_TOKEN"] == "the server's own"
    # Nobody sees anything of us but root, and root not the password.
    assert (seen["environ"], seen["mem"]) == ("Permission denied", "Permission denied")
    assert PASSWORD not in str(ours)
    assert opas.keys() <= set(GO)


def test_what_headers_were_made_of_is_in_no_environment_any_more(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("tools: {}\n")
    command = ["run", "-c", "policy.yaml", "--state-dir", "state", "--upstream", "http://127.0.0.1:1/mcp"]
    environment = {"SIDECAR_HEADER": f"Authorization: env:A_TOKEN\nX-Key: {PASSWORD}", "A_TOKEN": "t0ken", "KEPT": "k"}
    with Peer(["env", "-C", str(tmp_path), str(SIDECAR), *command], tmp_path, environment) as sidecar:
        sidecar.wait_for_error("ready\n")
        (opa,) = child_pids(sidecar.process.pid)
        ours = environment_of(sidecar.process.pid) if os.geteuid() == 0 else {"KEPT": "k"}
        opas = environment_of(opa)
    assert ours["KEPT"] == "k"
    for environment in (ours, opas):
        assert "t0ken" not in str(environment)
        assert PASSWORD not in str(environment)
    assert opas.keys() <= set(GO)


def test_the_server_gets_nothing_by_which_a_bundle_is_fetched_or_signed(tmp_path: Path) -> None:
    report = tmp_path / "report"
    environment = {
        "SIDECAR_BUNDLE": f"http://127.0.0.1:1/bundle.tar.gz?sig={PASSWORD}",
        "SIDECAR_POLICY_TOKEN": f"name:{PASSWORD}",
        "SIDECAR_POLICY_KEY": f"-----BEGIN {PASSWORD}",
        "KEPT": "k",
    }
    command = ["run", "--state-dir", "state", "--", "sh", "-c", f"env > {report}.new; mv {report}.new {report}; cat"]
    with Peer(["env", "-C", str(tmp_path), str(SIDECAR), *command], tmp_path, environment) as sidecar:
        sidecar.wait_for_error("ready\n")
        until(report.exists)
        ours = environment_of(sidecar.process.pid) if os.geteuid() == 0 else {}
    seen = report.read_text()
    assert "KEPT=k" in seen
    assert PASSWORD not in seen
    assert PASSWORD not in str(ours)
