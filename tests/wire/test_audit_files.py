"""The files of the audit log of a sidecar that runs: one writer each, put aside, followed, swept, full."""

from __future__ import annotations

import json
import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support import SIDECAR
from tests.support.peer import TELEMETRY, Sidecar, until

ALLOW = "version: '1'\ntools: {echo: {}}\n"


def verify(*files: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SIDECAR, "audit", "verify", *files], capture_output=True, text=True, check=False, timeout=60
    )  # fmt: skip


def call(sidecar: Sidecar, times: int = 1) -> None:
    for _ in range(times):
        assert sidecar.request("tools/call", {"name": "echo", "arguments": {}})["result"]


def events(*files: Path) -> list[str]:
    return [line["event"] for line in lines(*files)]


def lines(*files: Path) -> list[Any]:
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def sizes(folder: Path) -> list[int]:
    """Of the files in a folder from which others are removed meanwhile."""
    found = []
    for file in folder.iterdir():
        with suppress(FileNotFoundError):
            found.append(file.stat().st_size)
    return found


def test_a_run_is_a_chain_that_its_stop_closes(tmp_path: Path) -> None:
    with Sidecar(tmp_path, ALLOW) as sidecar:
        call(sidecar, 3)
    [file] = (sidecar.state / "events").iterdir()
    done = verify(file)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(", none lost, ends with the stop of its sidecar\n")


def test_a_second_sidecar_is_refused_the_same_file_and_the_first_goes_on(tmp_path: Path) -> None:
    audit = tmp_path / "audit.jsonl"
    (tmp_path / "other").mkdir()
    with Sidecar(tmp_path, ALLOW, "--audit", str(audit)) as first:
        with Sidecar(tmp_path / "other", ALLOW, "--audit", str(audit), ready=False) as second:
            assert second.process.wait(15) == 1
            assert second.errors.splitlines()[-1] == (
                f"sidecar: cannot write the audit log {audit}: another process writes there, and a file has one "
                "writer; stop that sidecar, or name another file with --audit"
            )
        call(first)
    with Sidecar(tmp_path, ALLOW, "--audit", str(audit)) as after:
        call(after)
    done = verify(audit)
    assert (done.returncode, done.stderr) == (0, "")
    assert events(audit).count("start") == 2


@pytest.mark.parametrize("form", ["json", "cef", "rfc5424"])
def test_a_full_file_is_put_aside_and_what_is_too_much_is_swept(tmp_path: Path, form: str) -> None:
    folder = tmp_path / "intercept-sidecar" / "events"
    options = ("--audit-format", form, "--audit-size", "2KiB", "--audit-total", "6KiB")
    with Sidecar(tmp_path, ALLOW, *options) as sidecar:
        call(sidecar, 60)
        # Outcomes are written together, which may be more than a file should have; the last one has grown since.
        until(lambda: sum(sizes(folder)) <= 16 << 10)
    # What is left is the end of the chain: its first file goes on from one that was swept.
    files = sorted(folder.iterdir())
    assert b"continued" in files[0].read_bytes().splitlines()[0]
    done = verify(*files)
    assert (done.returncode, done.stderr) == (0, "")


def test_files_of_runs_long_over_are_swept_at_the_start(tmp_path: Path) -> None:
    folder = tmp_path / "intercept-sidecar" / "events"
    folder.mkdir(parents=True, mode=0o700)
    folder.parent.chmod(0o700)
    old, young = folder / "00000001.jsonl", folder / "00000002.jsonl"
    for file in (old, young):
        file.touch()
    long_ago = time.time() - 3 * 86_400
    os.utime(old, (long_ago, long_ago))
    with Sidecar(tmp_path, ALLOW, "--audit-keep", "2d"):
        until(lambda: not old.exists())
    assert young.exists()


def test_a_file_that_was_renamed_is_followed_by_a_new_one(tmp_path: Path) -> None:
    audit, moved = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    with Sidecar(tmp_path, ALLOW, "--audit", str(audit)) as sidecar:
        call(sidecar)
        until(lambda: events(audit).count("outcome") == 1)
        audit.rename(moved)
        until(audit.exists)
        call(sidecar)
    assert events(audit)[:2] == ["continued", "decision"]
    done = verify(moved, audit)
    assert (done.returncode, done.stderr) == (0, "")
    assert "was not given" not in done.stdout
    assert "was not given" in verify(audit).stdout


def test_the_error_stream_is_never_renamed_though_it_is_a_file(tmp_path: Path) -> None:
    with Sidecar(tmp_path, ALLOW, "--audit", "/dev/stderr", "--audit-size", "1KiB") as sidecar:
        call(sidecar, 5)
        until(lambda: sidecar.errors.count('"event":"decision"') == 5)
    assert [file.name for file in tmp_path.glob("stderr*")] == [sidecar.errors_path.name]


def test_on_a_full_disk_calls_go_on_and_every_line_is_in_the_log_and_counted(tmp_path: Path) -> None:
    with Sidecar(tmp_path, ALLOW, "--audit", "/dev/full", *TELEMETRY) as sidecar:
        call(sidecar, 2)
        until(lambda: sidecar.errors.count('"event":"outcome"') == 2)
    assert sidecar.errors.count("cannot write the audit log: No space left on device") >= 5
    assert sidecar.errors.count('"event":"decision"') == 2
