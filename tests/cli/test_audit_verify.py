"""`sidecar audit verify` as its users run it: what it prints, and how it ends."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sidecar.audit.files import AuditFile
from sidecar.audit.forms.form import form_of
from sidecar.audit.trail import Trail
from sidecar.settings import AUDIT_FORMATS, AuditFormat
from tests.audit.trails import line, read
from tests.cli.test_policy_commands import sidecar
from tests.support import SIDECAR

RUN = "0a1b2c3d"


@pytest.fixture
def run(tmp_path: Path) -> list[Path]:
    """The files of one run, the oldest first."""
    return run_in(tmp_path / f"{RUN}.jsonl", "json")


def run_in(path: Path, form: AuditFormat, instance: str = RUN) -> list[Path]:
    about = {"instance": instance, "server": "stub"}
    opened = Trail(AuditFile(path, form_of(form), 1_200, 0), form_of(form), about)
    for number in range(12):
        opened.write([said(number, about)])
    opened.write([said(12, about, event="stop", status=0)])
    opened.close()
    return sorted(path.parent.glob(f"{path.stem}*{path.suffix}"))


def said(number: int, about: dict[str, str], event: str = "decision", **more: Any) -> bytes:
    time = f"2026-11-30T12:00:{number:02d}.000Z"
    return line(number, **{"time": time, "event": event, "decision": "allow", "kind": "allow", **about, **more})


def verify(folder: Path, *names: str) -> Any:
    return sidecar(folder, "audit", "verify", *names)


def names(files: list[Path]) -> list[str]:
    return [file.name for file in files]


def test_of_each_file_the_lines_the_times_and_the_last_number_and_hash_are_printed(run: list[Path]) -> None:
    done = verify(run[0].parent, *reversed(names(run)))
    assert (done.status, done.errors) == (0, [])
    first, *_, last = done.out.splitlines()
    count, end = len(read(run[0])), read(run[-1])[-1]
    assert first == (
        f"{RUN}.000001.jsonl: {count} lines from 2026-11-30T12:00:00.000Z to 2026-11-30T12:00:{count - 1:02d}.000Z, "
        f"seq 1 to {count}, chain {read(run[0])[-1]['chain']}, none lost"
    )
    assert last.startswith(f"{RUN}.jsonl: ")
    assert last.endswith(f"to {end['seq']}, chain {end['chain']}, none lost, ends with the stop of its sidecar")


@pytest.mark.parametrize("form", AUDIT_FORMATS)
def test_every_form_can_be_checked(tmp_path: Path, form: AuditFormat) -> None:
    files = run_in(tmp_path / "audit.log", form)
    assert len(files) > 1
    assert verify(tmp_path, *names(files)).status == 0
    files[0].write_bytes(files[0].read_bytes().replace(b"stub", b"stab", 1))
    done = verify(tmp_path, *names(files))
    assert (done.status, done.errors) == (
        1,
        ["audit.000001.log:1: its hash is not that of this line after the one before: it was changed, or put in"],
    )


def test_a_file_alone_says_that_what_was_before_was_not_given(run: list[Path]) -> None:
    done = verify(run[0].parent, run[-1].name)
    first = read(run[-1])[0]["seq"]
    assert done.status == 0
    assert done.out.rstrip().endswith(f"what stood before line {first} of the chain was not given")


def test_the_first_line_that_is_wrong_is_named(run: list[Path]) -> None:
    lines = run[1].read_bytes().splitlines(keepends=True)
    run[1].write_bytes(b"".join([*lines[:1], *lines[2:]]))
    done = verify(run[0].parent, *names(run))
    seq = read(run[1])[0]["seq"]
    assert (done.status, done.errors) == (1, [
        f"{run[1].name}:2: it is number {seq + 2} where {seq + 1} must be: a line was taken out, put in or moved"
    ])  # fmt: skip
    assert len(done.out.splitlines()) == len(run) - 1


def test_a_file_that_is_missing_among_those_of_a_run_is_found(run: list[Path]) -> None:
    done = verify(run[0].parent, *names([run[0], *run[2:]]))
    assert done.status == 1
    [error] = done.errors
    assert error.startswith(f"{run[2].name}:1: it goes on after line ")
    assert error.endswith("a file is missing, or is not the one that was written")


def test_a_file_that_was_emptied_among_those_of_a_run_is_found(run: list[Path]) -> None:
    run[1].write_bytes(b"")
    done = verify(run[0].parent, *names(run))
    assert done.status == 1
    [error] = done.errors
    assert error.startswith(f"{run[2].name}:1: it goes on after line ")


def test_a_number_that_was_taken_and_never_filled_is_no_fault(run: list[Path]) -> None:
    """A sidecar that is killed amid a rotation leaves an empty file under the next number."""
    (run[0].parent / f"{RUN}.{len(run):06d}.jsonl").touch()
    assert verify(run[0].parent, *sorted(one.name for one in run[0].parent.iterdir())).status == 0


def test_a_name_can_neither_begin_a_line_nor_speak_to_the_terminal(tmp_path: Path) -> None:
    name = "a.jsonl: 3 lines\nb\x1b]0;c\x07.jsonl"
    (tmp_path / name).touch()
    done = verify(tmp_path, name)
    assert (done.status, done.out) == (0, "a.jsonl: 3 lines\\nb\\u001b]0;c\\u0007.jsonl: no line\n")


def test_files_that_changed_places_are_found(run: list[Path]) -> None:
    first, second = run[0].read_bytes(), run[1].read_bytes()
    run[0].write_bytes(second)
    run[1].write_bytes(first)
    assert verify(run[0].parent, *names(run)).status == 1


def test_a_file_under_another_runs_name_is_found(run: list[Path], tmp_path: Path) -> None:
    (other,) = run_in(tmp_path / "ffffffff.jsonl", "json", "ffffffff")[-1:]
    run_in(tmp_path / "eeeeeeee.jsonl", "json", "eeeeeeee")
    other.write_bytes((tmp_path / "eeeeeeee.jsonl").read_bytes())
    done = verify(tmp_path, "ffffffff.jsonl")
    assert (done.status, done.errors) == (
        1, ["ffffffff.jsonl:1: it is a file of the run eeeeeeee, under another run's name"]
    )  # fmt: skip


def test_what_cannot_be_read_is_wrong_usage(run: list[Path]) -> None:
    folder = run[0].parent
    done = verify(folder, "missing.jsonl", run[0].name)
    assert (done.status, done.errors) == (2, ["sidecar: cannot read missing.jsonl: No such file or directory"])
    assert len(done.out.splitlines()) == 1
    assert verify(folder).status == 2
    assert verify(folder, ".").errors == ["sidecar: cannot read .: Is a directory"]


def test_a_pipe_is_read_and_one_that_nobody_writes_is_not_waited_for(run: list[Path]) -> None:
    folder = run[0].parent
    os.mkfifo(folder / "pipe.jsonl")
    done = verify(folder, "pipe.jsonl")
    assert (done.status, done.out) == (0, "pipe.jsonl: no line\n")
    piped = subprocess.run(
        [SIDECAR, "audit", "verify", "/dev/stdin"], input=run[0].read_bytes(), capture_output=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert (piped.returncode, piped.stderr) == (0, b"")
    assert b" lines from " in piped.stdout


def test_an_empty_file_holds(tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").touch()
    done = verify(tmp_path, "audit.jsonl")
    assert (done.status, done.out) == (0, "audit.jsonl: no line\n")
