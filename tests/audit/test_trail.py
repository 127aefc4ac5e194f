"""Where audit lines go: one chain, whatever is cut off, full or moved; every line stands in it or in the log."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.audit.files import AuditFile, InUse
from sidecar.audit.streams import Stream, pipe, standard
from sidecar.audit.trail import SCHEMA, Trail
from sidecar.audit.verify import check
from sidecar.mcp.strict_json import encode
from tests.audit.disks import small_disk
from tests.audit.schema import valid
from tests.audit.trails import (
    ABOUT,
    JSON,
    ROOMY,
    as_json,
    caught,
    chained,
    line,
    nearly_full,
    numbers,
    read,
    trail,
    write,
)
from tests.support.fuzzing import examples

PATH = "audit.jsonl"
LIKE_SEALS = ('","seq":7,"chain":"', f'"seq":2,"chain":"{"0" * 32}"}}', "}", '"}\n{"')
"""Texts that look like the end of a line."""


def test_every_line_is_numbered_and_its_hash_covers_it_and_the_one_before(tmp_path: Path) -> None:
    write(tmp_path / PATH, 1, 2, 3)
    written = (tmp_path / PATH).read_bytes()
    assert written == chained(line(1), line(2), line(3))
    first, second, _ = read(tmp_path / PATH)
    assert list(second)[-2:] == ["seq", "chain"]
    # As the documents tell others to compute it.
    text = first["chain"].encode() + line(2)
    assert second["chain"] == hashlib.sha256(text).hexdigest()[:32]


def test_lines_of_one_batch_are_one_write() -> None:
    class Counting(io.BytesIO):
        writes = 0

        def write(self, data: Any) -> int:
            self.writes += 1
            return super().write(data)

    stream = Counting()
    Trail(stream).write([line(1), line(2)])
    assert (stream.writes, stream.getvalue()) == (1, chained(line(1), line(2)))


def test_the_next_run_goes_on_with_the_chain_of_a_file_that_is_there(tmp_path: Path) -> None:
    write(tmp_path / PATH, 1, 2)
    write(tmp_path / PATH, 3)
    assert (tmp_path / PATH).read_bytes() == chained(line(1), line(2), line(3))


@pytest.mark.parametrize("cut", [1, 2, 20, 40])
def test_a_line_that_was_cut_off_is_closed_and_noted(tmp_path: Path, cut: int) -> None:
    path = tmp_path / PATH
    write(path, 1, 2)
    path.write_bytes(path.read_bytes()[:-cut])
    write(path, 3)
    written = path.read_bytes()
    if cut == 1:  # only the line end was missing
        assert written == chained(line(1), line(2), line(3))
        return
    torn = written.splitlines(keepends=True)[1]
    first, note, third = read(path)
    assert (note["event"], note["lines"], note["reason"]) == ("lost", 1, "the last writer was cut off")
    assert note["torn"] == hashlib.sha256(torn).hexdigest()[:32]
    assert [one["seq"] for one in (first, note, third)] == [1, 2, 3]


def test_a_file_without_a_chain_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / PATH
    path.write_bytes(b'{"event":"decision"}\n')
    path.chmod(0o640)
    write(path, 1)
    assert path.read_bytes() == chained(line(1))
    assert (tmp_path / "audit.000001.jsonl").read_bytes() == b'{"event":"decision"}\n'
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_file_has_one_writer(tmp_path: Path) -> None:
    with trail(tmp_path / PATH), pytest.raises(InUse):
        AuditFile(tmp_path / PATH, JSON, ROOMY, 0)
    write(tmp_path / PATH, 1)


# A file that is full.


def test_nobody_takes_the_path_while_its_writer_puts_the_file_aside(tmp_path: Path) -> None:
    path, aside = tmp_path / "audit.jsonl", tmp_path / "audit.000001.jsonl"
    with trail(path) as opened:
        opened.write([line(0)])
        path.rename(aside)  # the writer is just about to begin another one
        with pytest.raises(InUse):
            AuditFile(path, JSON, ROOMY, 0)
        opened.reopen()
        opened.write([line(1)])
    assert (numbers(aside), numbers(path)) == ([0], [1])
    assert read(path)[0]["after"] == 1


def test_a_full_file_is_put_aside_under_the_next_number_and_the_chain_goes_on(tmp_path: Path) -> None:
    write(tmp_path / PATH, *range(30), most=500)
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == [
        *(f"audit.{number:06d}.jsonl" for number in range(1, len(files))), "audit.jsonl",
    ]  # fmt: skip
    assert len(files) > 3
    assert all(file.stat().st_size <= 500 for file in files)
    assert [number for file in files for number in numbers(file)] == list(range(30))
    everything = [one for file in files for one in read(file)]
    assert [one["seq"] for one in everything] == list(range(1, len(everything) + 1))
    for before, after in itertools.pairwise(files):
        first = read(after)[0]
        assert (first["event"], first["previous"]) == ("continued", read(before)[-1]["chain"])
        assert first["instance"] == ABOUT["instance"]


def test_the_lines_of_the_chain_itself_are_those_of_the_schema(tmp_path: Path) -> None:
    write(tmp_path / PATH, *range(4), most=300)
    (tmp_path / PATH).write_bytes((tmp_path / PATH).read_bytes()[:-10])
    with trail(tmp_path / PATH) as opened, nearly_full(10):
        opened.write([line(5)])
    notes = [one for path in tmp_path.iterdir() for one in read(path) if one["event"] != "decision"]
    assert {one["event"] for one in notes} == {"continued", "lost"}
    valid(notes)


def test_a_line_larger_than_a_file_may_be_is_written_all_the_same(tmp_path: Path) -> None:
    with trail(tmp_path / PATH, most=100) as opened:
        for number in range(3):
            opened.write([line(number, long="x" * 500)])
    assert [number for file in sorted(tmp_path.iterdir()) for number in numbers(file)] == [0, 1, 2]


def test_no_file_is_overwritten(tmp_path: Path) -> None:
    for number in (1, 2, 7):
        (tmp_path / f"audit.{number:06d}.jsonl").write_text("mine")
    write(tmp_path / PATH, *range(4), most=200)
    assert {file.name for file in tmp_path.iterdir()} >= {"audit.000008.jsonl", "audit.000009.jsonl"}
    assert [(tmp_path / f"audit.{number:06d}.jsonl").read_text() for number in (1, 2, 7)] == ["mine"] * 3


def test_where_the_file_is_gone_the_chain_goes_on_from_the_one_that_was_put_aside_last(tmp_path: Path) -> None:
    write(tmp_path / PATH, *range(10), most=500)
    (tmp_path / PATH).unlink()
    last = read(sorted(tmp_path.iterdir())[-1])[-1]
    write(tmp_path / PATH, 10)
    first, second = read(tmp_path / PATH)
    assert (first["event"], first["previous"], first["seq"]) == ("continued", last["chain"], last["seq"] + 1)
    assert second["n"] == 10


def test_a_full_file_that_cannot_be_put_aside_is_written_on_and_that_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, str]] = []

    def fail(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    opened = Trail(AuditFile(tmp_path / PATH, JSON, 300, 0), JSON, ABOUT, lambda *what: told.append(what))
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", fail)
        for number in range(8):
            opened.write([line(number)])
    assert told == [(0, f"cannot put the full audit log {tmp_path / PATH} aside: Operation not permitted")]
    assert numbers(tmp_path / PATH) == list(range(8))
    for number in range(8, 12):
        opened.write([line(number)])
    opened.close()
    assert len(list(tmp_path.iterdir())) > 1


# A file that is moved.


def renamed(path: Path) -> None:
    path.rename(path.with_name("audit.jsonl.1"))


def removed(path: Path) -> None:
    path.unlink()


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def replaced(path: Path) -> None:
    path.rename(path.with_name("audit.jsonl.1"))
    path.touch(0o640)


@pytest.mark.parametrize("move", [renamed, removed, emptied, replaced])
def test_where_the_file_was_moved_the_chain_goes_on_in_a_new_one(tmp_path: Path, move: Callable[[Path], None]) -> None:
    path = tmp_path / PATH
    with trail(path) as opened:
        opened.write([line(1), line(2)])
        last = read(path)[-1]
        opened.reopen()
        assert numbers(path) == [1, 2]
        move(path)
        opened.reopen()
        opened.write([line(3)])
    first, second = read(path)
    assert (first["event"], first["previous"], first["seq"]) == ("continued", last["chain"], 3)
    assert (second["n"], second["seq"]) == (3, 4)


def test_a_full_file_that_was_moved_leaves_what_is_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / PATH
    with trail(path, most=100) as opened:
        opened.write([line(1)])
        path.rename(tmp_path / "elsewhere")
        for number in (2, 3):
            opened.write([line(number)])
    assert numbers(tmp_path / "elsewhere") == [1]
    assert [number for file in sorted(tmp_path.glob("audit*")) for number in numbers(file)] == [2, 3]


def test_a_file_that_another_process_took_meanwhile_is_not_put_aside(tmp_path: Path) -> None:
    path = tmp_path / PATH
    with trail(path, most=100) as opened:
        opened.write([line(1)])
        path.rename(tmp_path / "elsewhere")
        with trail(path):
            opened.write([line(2)])
            opened.write([line(3)])
        assert numbers(tmp_path / "elsewhere") == [1, 2, 3]
        opened.reopen()
        opened.write([line(4)])
    assert [file.name for file in tmp_path.glob("audit.0*")] in ([], ["audit.000001.jsonl"])
    assert [number for file in sorted(tmp_path.glob("audit*")) for number in numbers(file)] == [4]


def test_a_strangers_file_in_its_place_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / PATH
    with trail(path) as opened:
        opened.write([line(1)])
        path.rename(tmp_path / "elsewhere")
        path.write_text("mine\n")
        opened.reopen()
        opened.write([line(2)])
    assert (tmp_path / "audit.000001.jsonl").read_text() == "mine\n"
    assert [one["seq"] for one in read(path)] == [2, 3]


def test_as_long_as_there_can_be_no_other_file_the_old_one_is_written_on(tmp_path: Path) -> None:
    told: list[tuple[int, str]] = []
    path = tmp_path / "folder" / PATH
    path.parent.mkdir()
    opened = Trail(AuditFile(path, JSON, ROOMY, 0), JSON, ABOUT, lambda *what: told.append(what))
    path.parent.rename(tmp_path / "moved")
    for number in range(3):
        opened.reopen()
        opened.write([line(number)])
    assert told == [(0, f"cannot open the audit log {path} again: No such file or directory")]
    assert numbers(tmp_path / "moved" / PATH) == [0, 1, 2]
    path.parent.mkdir()
    opened.reopen()
    opened.close()
    assert [one["event"] for one in read(path)] == ["continued"]


# What cannot be written.


@pytest.mark.parametrize("more", [-200, -2, -1, 0, 1, 60])
def test_lines_that_a_full_disk_does_not_take_are_in_the_operators_log_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, more: int
) -> None:
    told: list[tuple[int, str]] = []
    path, length = tmp_path / PATH, len(chained(line(1)))
    opened = Trail(AuditFile(path, JSON, ROOMY, 0), JSON, ABOUT, lambda *what: told.append(what))
    with nearly_full(length + more):
        opened.write([line(1), line(2)])
        opened.write([line(3), line(4)])
    opened.write([line(5), line(6)])
    opened.close()
    said = [json.loads(record.getMessage().partition("; the line is ")[2]) for record in caplog.records]
    text = "cannot write the audit log: File too large"
    assert all(record.getMessage().startswith(text) for record in caplog.records)
    lost = [1, 2, 3, 4] if more < -1 else [2, 3, 4]
    assert [one["n"] for one in said] == lost
    assert numbers(path) == [number for number in range(1, 7) if number not in lost]
    (note,) = [one for one in read(path) if one["event"] == "lost"]
    assert (note["lines"], note["reason"]) == (len(lost), "File too large")
    assert [one["seq"] for one in read(path)] == list(range(1, len(read(path)) + 1))
    assert told == [(len(lost) - 2, "File too large"), (2, "File too large"), (0, "")]


def test_a_disk_that_is_full_loses_no_line_and_the_chain_goes_on_when_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "disk" / PATH
    with small_disk(path.parent) as (fill, free):
        opened = Trail(AuditFile(path, JSON, ROOMY, 0), JSON, ABOUT)
        opened.write([line(0)])
        fill()
        with caught() as said:
            for number in range(1, 40):
                opened.write([line(number, long="x" * 200)])
                opened.reopen()
        free()
        opened.write([line(40)])
        opened.close()
        with path.open("rb") as file:
            found = check(file)
        there = numbers(path)
    assert said
    assert sorted([*there, *(one["n"] for one in said)]) == list(range(41))
    assert (found.problem, found.lost) == (None, len(said))


def test_what_was_cut_off_is_told_of_in_its_own_file_though_that_is_full(tmp_path: Path) -> None:
    with trail(tmp_path / PATH, most=300) as opened:
        opened.write([line(1)])
        with nearly_full((tmp_path / PATH).stat().st_size + 50):
            opened.write([line(2)])
        for number in (3, 4, 5, 6):
            opened.write([line(number)])
    files = sorted(tmp_path.iterdir())
    assert len(files) > 1
    for path in files:
        with path.open("rb") as file:
            assert check(file).problem is None


def test_a_loss_is_noted_without_another_line(tmp_path: Path) -> None:
    with trail(tmp_path / PATH) as opened:
        with nearly_full(0):
            opened.write([line(1)])
            opened.reopen()
        opened.reopen()
        opened.reopen()
        assert [(one["event"], one["lines"]) for one in read(tmp_path / PATH)] == [("lost", 1)]


def test_a_loss_at_the_end_is_noted_when_the_trail_is_closed(tmp_path: Path) -> None:
    with trail(tmp_path / PATH) as opened, nearly_full(10):
        opened.write([line(1)])
    assert [one["event"] for one in read(tmp_path / PATH)] == ["lost"]


@pytest.mark.fuzz
@examples(60)
@given(st.lists(st.integers(0, 500), max_size=12), st.lists(st.integers(1, 3), min_size=1, max_size=8))
def test_every_line_is_in_the_chain_or_in_the_log(takes: list[int], batches: list[int]) -> None:
    """The stream takes so many bytes of each write, none where that is 0, and everything in the end."""
    stream, waiting = io.BytesIO(), iter(takes)
    whole = stream.write
    stream.write = lambda data: whole(bytes(data)[: next(waiting, 1 << 20)])  # type: ignore[method-assign]
    opened, number = Trail(stream), 0
    with caught() as said:
        for size in batches:
            opened.write([line(number + at) for at in range(size)])
            number += size
        for _ in takes:
            opened.reopen()
    written = list(filter(None, map(as_json, stream.getvalue().splitlines())))
    there = [one["n"] for one in written if "n" in one]
    assert there == sorted(there)
    assert sorted([*there, *(one["n"] for one in said)]) == list(range(number))
    assert sum(one.get("lines", 0) for one in written) == len(said)
    assert [one["seq"] for one in written] == list(range(1, len(written) + 1))


@pytest.mark.fuzz
@examples(100)
@given(st.lists(st.lists(st.text() | st.sampled_from(LIKE_SEALS)), max_size=5))
def test_lines_sealed_in_one_loop_are_those_that_the_form_seals(batches: list[list[str]]) -> None:
    """However lines fall into writes, and whatever stands in them: texts that look like a seal or a line end."""
    stream = io.BytesIO()
    opened, lines = Trail(stream), [[encode({"schema": SCHEMA, "text": text}) for text in batch] for batch in batches]
    for batch in lines:
        opened.write(batch)
    assert stream.getvalue() == chained(*itertools.chain(*lines))


def by_its_path(writing: int) -> Stream:
    return pipe(Path(f"/proc/self/fd/{writing}"))


@pytest.mark.parametrize("open_pipe", [by_its_path, standard])
def test_a_pipe_whose_reader_stands_still_is_like_a_full_disk(
    open_pipe: Callable[[int], Stream], caplog: pytest.LogCaptureFixture
) -> None:
    reading, writing = os.pipe()
    with open(reading, "rb") as reader, open(writing, "wb") as other, open_pipe(writing) as stream:  # noqa: PTH123
        opened, sent = Trail(stream), 0
        while len(caplog.records) < 3:
            sent += 1
            opened.write([line(sent, long="x" * 300)])
        assert os.get_blocking(other.fileno())
        stream.close()
        other.close()
        written = [one for one in reader.read().split(b"\n") if one.endswith(b"}")]
    assert len(written) + len(caplog.records) == sent
    assert all("cannot write the audit log" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("kind", ["another user's pipe", "socket"])
def test_what_cannot_be_opened_anew_is_not_waited_for_either(
    kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Standard output is such a pipe in a container, and such a socket under systemd."""

    def refused(*_: object) -> int:
        raise PermissionError

    if kind == "socket":
        reading, writing = (end.detach() for end in socket.socketpair())
    else:
        reading, writing = os.pipe()
        monkeypatch.setattr("sidecar.audit.streams.os.open", refused)
    with open(reading, "rb") as reader, open(writing, "wb") as other:  # noqa: PTH123
        stream = standard(writing)
        monkeypatch.undo()
        opened, sent = Trail(stream), 0
        while len(caplog.records) < 3:
            sent += 1
            opened.write([line(sent, long="x" * 9_000)])
        assert os.get_blocking(other.fileno())
        stream.close()
        stream.close()
        other.close()
        written = [one for one in reader.read().split(b"\n") if one.endswith(b"}")]
    assert len(written) + len(caplog.records) == sent


def test_a_pipe_that_nobody_reads_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "audit")
    with pytest.raises(OSError, match="No such device"):
        pipe(tmp_path / "audit")
