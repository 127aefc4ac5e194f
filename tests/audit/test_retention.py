"""Audit files that are removed: too old or too many, and never one that is written, of another name, or no file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.audit.retention import Retention, of_file, of_runs, sweep
from tests.audit.trails import trail
from tests.support.fuzzing import examples

NOW = 1_000_000.0
DAY = 86_400.0


def file(folder: Path, name: str, age: float, size: int = 100) -> Path:
    path = folder / name
    path.write_bytes(b"x" * size)
    os.utime(path, (NOW - age, NOW - age))
    return path


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def swept(rule: Retention) -> list[str]:
    return [path.name for path in sweep(rule, NOW)]


def test_files_of_runs_are_removed_that_are_too_old(tmp_path: Path) -> None:
    for name, age in (
        ("00000001.jsonl", 3 * DAY), ("00000002.000001.jsonl", 2.5 * DAY), ("00000002.jsonl", DAY),
        ("00000003.cef", 4 * DAY), ("00000004.log", 4 * DAY), ("approvals.000001.jsonl", 4 * DAY),
    ):  # fmt: skip
        file(tmp_path, name, age)
    assert len(swept(of_runs(tmp_path, 2 * DAY, 1 << 30))) == 5
    assert left(tmp_path) == {"00000002.jsonl"}


def test_the_oldest_are_removed_where_all_together_are_too_large(tmp_path: Path) -> None:
    for number in range(6):
        file(tmp_path, f"0000000{number}.jsonl", age=100.0 - number)
    assert swept(of_runs(tmp_path, DAY, 350)) == [f"0000000{number}.jsonl" for number in range(3)]


def test_only_the_files_that_were_put_aside_from_a_path_go_and_the_path_counts(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        file(tmp_path, f"audit.{number:06d}.log", age=10.0 - number)
    kept = {file(tmp_path, name, age=9 * DAY).name for name in ("other.000001.log", "audit.log.1", "auditx000001.log")}
    kept.add(file(tmp_path, "audit.log", age=0).name)
    assert swept(of_file(tmp_path / "audit.log", DAY, 250)) == ["audit.000001.log", "audit.000002.log"]
    assert left(tmp_path) == {*kept, "audit.000003.log"}


@pytest.mark.parametrize("name", [
    "approvals.jsonl", "audit.key", "00000001.json", "0000001.jsonl", "00000001.jsonl.gz", "x00000001.jsonl",
    "00000001.1.jsonl", "00000001.jsonl\n",
])  # fmt: skip
def test_what_has_another_name_stays(tmp_path: Path, name: str) -> None:
    file(tmp_path, name, age=100 * DAY)
    assert swept(of_runs(tmp_path, DAY, 1)) == []
    assert left(tmp_path) == {name}


def test_a_file_that_somebody_writes_stays_however_old_and_large(tmp_path: Path) -> None:
    path = tmp_path / "00000001.jsonl"
    with trail(path):
        file(tmp_path, path.name, age=100 * DAY)
        assert swept(of_runs(tmp_path, DAY, 1)) == []
    assert swept(of_runs(tmp_path, DAY, 1)) == ["00000001.jsonl"]


def test_the_lock_of_a_file_that_was_just_begun_is_left_alone(tmp_path: Path) -> None:
    file(tmp_path, "00000001.jsonl", age=1, size=100)
    file(tmp_path, "00000001.000001.jsonl", age=2, size=100)
    assert swept(of_runs(tmp_path, DAY, 1)) == ["00000001.000001.jsonl"]


def test_links_and_folders_stay_and_what_a_link_leads_to(tmp_path: Path) -> None:
    events, elsewhere = tmp_path / "events", tmp_path / "elsewhere"
    events.mkdir()
    old = file(tmp_path, "elsewhere", age=100 * DAY)
    (events / "00000001.jsonl").symlink_to(elsewhere)
    (events / "00000002.jsonl").mkdir()
    os.mkfifo(events / "00000003.jsonl")
    assert swept(of_runs(events, DAY, 1)) == []
    assert old.exists()
    assert len(left(events)) == 3


def test_a_file_of_another_user_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file(tmp_path, "00000001.jsonl", age=100 * DAY)
    user = os.geteuid()
    monkeypatch.setattr("os.geteuid", lambda: user + 1)
    assert swept(of_runs(tmp_path, DAY, 1)) == []


FILES = st.lists(st.tuples(st.integers(100, 109), st.integers(0, 500)), max_size=12)


@pytest.mark.fuzz
@examples(60)
@given(FILES, st.integers(101, 110), st.integers(0, 2000))
def test_what_is_left_is_young_enough_small_enough_and_as_much_as_may_be(
    tmp_path_factory: pytest.TempPathFactory, files: Sequence[tuple[int, int]], keep: int, total: int
) -> None:
    folder = tmp_path_factory.mktemp("events")
    for number, (age, size) in enumerate(files):
        file(folder, f"{number:08x}.jsonl", age, size)
    gone = sweep(of_runs(folder, keep, total), NOW)
    here = sorted(folder.iterdir(), key=lambda path: (path.stat().st_mtime, path.name))
    assert all(path.stat().st_mtime >= NOW - keep for path in here)
    sizes = [path.stat().st_size for path in here]
    assert sum(sizes) <= total
    if gone:
        number = int(gone[-1].stem, 16)
        age, size = files[number]
        assert age > keep or sum(sizes) + size > total
