"""SIGHUP: the policy and the audit file are looked at again at once, and nothing ends."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support import SIDECAR, STUB
from tests.support.peer import SECONDS, Sidecar, denied, until

DENY = "tools: {t: {rules: [{action: deny, reason: closed}]}}\ndefault: allow\n"
ALLOW = "tools: {u: {rules: [{action: deny}]}}\ndefault: allow\n"


def hang_up(sidecar: Sidecar, said: str) -> None:
    """Send SIGHUP, and wait for one more line that says so."""
    before = sidecar.errors.count(said)
    sidecar.process.send_signal(signal.SIGHUP)
    until(lambda: sidecar.errors.count(said) > before)


def test_a_changed_policy_comes_into_force_without_a_watch(tmp_path: Path) -> None:
    with Sidecar(tmp_path, DENY, "--no-watch") as sidecar:
        assert denied(sidecar.call("t")) == "closed"
        hang_up(sidecar, "the policy files say what is in force")
        (tmp_path / "policy.yaml").write_text(ALLOW)
        hang_up(sidecar, "the changed policy is in force")
        assert sidecar.call("t")["result"]["isError"] is False
        (tmp_path / "policy.yaml").write_text("tools: [")
        hang_up(sidecar, "the changed policy is refused")
        hang_up(sidecar, "the changed policy is refused")
        assert sidecar.call("t")["result"]["isError"] is False
        assert sidecar.end() == 0


def test_a_policy_that_was_refused_is_said_again_by_who_watches(tmp_path: Path) -> None:
    with Sidecar(tmp_path, ALLOW) as sidecar:
        (tmp_path / "policy.yaml").write_text("tools: [")
        sidecar.wait_for_error("the changed policy is refused")
        hang_up(sidecar, "the changed policy is refused")
        assert sidecar.call("t")["result"]["isError"] is False


def test_the_audit_log_goes_on_in_another_file_where_the_old_one_was_moved(tmp_path: Path) -> None:
    with Sidecar(tmp_path, DENY) as sidecar:
        sidecar.call("t")
        (file,) = (sidecar.state / "events").glob("*.jsonl")
        until(lambda: '"decision"' in file.read_text())
        file.rename(tmp_path / "moved.jsonl")
        hang_up(sidecar, "the audit file is opened anew")
        sidecar.call("t")
        until(lambda: file.exists() and '"decision"' in file.read_text())
        assert all(json.loads(line) for line in file.read_text().splitlines())
        assert sidecar.end() == 0


def test_a_sidecar_that_starts_is_not_ended(tmp_path: Path) -> None:
    with Sidecar(tmp_path, DENY, ready=False) as sidecar:
        status = Path(f"/proc/{sidecar.process.pid}/status")
        # Its interpreter has to be there first.
        until(lambda: int(re.findall(r"SigCgt:\s*(\S+)", status.read_text())[0], 16) & 1)
        for _ in range(3):
            sidecar.process.send_signal(signal.SIGHUP)
            with suppress(subprocess.TimeoutExpired):
                sidecar.process.wait(0.05)
        sidecar.wait_for_error("ready\n")
        assert denied(sidecar.call("t")) == "closed"


@pytest.mark.parametrize("options", [("--transport", "http", "--port", "0")])
def test_a_listener_whose_terminal_is_gone_ends(tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "policy.yaml").write_text(ALLOW)
    command = [
        str(SIDECAR), "run", "-c", "policy.yaml", "--state-dir", "state", "--telemetry", "127.0.0.1:0", *options, "--",
        "python3", str(STUB),
    ]  # fmt: skip
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(tmp_path)
        os.execv(command[0], command)
    said = b""
    while b"ready\r\n" not in said:
        said += os.read(terminal, 4096)
    os.close(terminal)  # the kernel sends SIGHUP to whom it belongs to
    ended = False

    def is_over() -> bool:
        nonlocal ended
        ended = ended or os.waitpid(process, os.WNOHANG)[0] == process
        return ended

    until(is_over, SECONDS)
