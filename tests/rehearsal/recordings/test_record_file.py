"""The file of a recording: whole lines, of bounded size, in a file that nobody else can read or put there."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

import pytest

from sidecar.errors import StartError
from sidecar.rehearsal.recordings.record_file import RecordFile

LINE = b'{"n":1}\n'


def test_lines_are_appended_to_a_file_that_only_we_may_read(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    for _ in range(2):
        file = RecordFile(path, 1000)
        file.write(LINE)
        file.close()
    assert path.read_bytes() == LINE * 2
    assert path.stat().st_mode & 0o777 == 0o600


def test_both_files_together_stay_within_the_size_and_have_the_last_calls(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    file = RecordFile(path, 100)
    lines = [b'{"n":%d}\n' % n for n in range(10, 60)]
    for line in lines:
        file.write(line)
        assert sum(one.stat().st_size for one in tmp_path.iterdir()) <= 100
    kept = (tmp_path / "calls.jsonl.1").read_bytes() + path.read_bytes()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["calls.jsonl", "calls.jsonl.1"]
    assert b"".join(lines).endswith(kept)
    assert len(kept) > 50
    file.close()


OURS = b'{"version":1,"tool":"pay"}'


@pytest.mark.parametrize("before", [b"", OURS + b"\n"], ids=["alone", "after another"])
@pytest.mark.parametrize("cut", [OURS[:-1], OURS[:4], OURS[:1]])
def test_a_line_that_was_cut_off_is_taken_away_before_the_next(tmp_path: Path, before: bytes, cut: bytes) -> None:
    assert appended(tmp_path, before + cut) == before + LINE


@pytest.mark.parametrize("last", [OURS, b'{"n":', b"somebody's notes"])
def test_a_last_line_that_is_whole_or_not_ours_only_gets_its_end(tmp_path: Path, last: bytes) -> None:
    assert appended(tmp_path, OURS + b"\n" + last) == OURS + b"\n" + last + b"\n" + LINE


def test_of_a_file_that_is_no_recording_nothing_is_taken(tmp_path: Path) -> None:
    assert appended(tmp_path, b"notes\n" + OURS[:-1]) == b"notes\n" + OURS[:-1] + b"\n" + LINE


def appended(folder: Path, there: bytes) -> bytes:
    """What is in a file that held `there` when a line was recorded in it."""
    path = folder / "calls.jsonl"
    path.touch(0o600)
    path.write_bytes(there)
    file = RecordFile(path, 1000)
    file.write(LINE)
    file.close()
    return path.read_bytes()


def test_a_file_that_somebody_moved_away_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    file = RecordFile(path, 1000)
    file.write(LINE)
    path.rename(tmp_path / "taken")
    file.write(LINE)
    file.close()
    assert path.read_bytes() == (tmp_path / "taken").read_bytes() == LINE


def test_of_what_does_not_fit_on_the_disk_nothing_stays(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    file = RecordFile(path, 100_000)
    file.write(LINE)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(LINE) + 3, before[1]))
        with pytest.raises(OSError, match="File too large"):
            file.write(LINE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == LINE
    file.write(LINE)
    assert path.read_bytes() == LINE * 2
    file.close()


def test_a_folder_that_is_gone_is_an_error_until_it_is_there_again(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    file = RecordFile(folder / "calls.jsonl", 1000)
    folder.rename(tmp_path / "g")
    with pytest.raises(OSError, match="No such file"):
        file.write(LINE)
    (tmp_path / "g").rename(folder)
    file.write(LINE)
    assert (folder / "calls.jsonl").read_bytes() == LINE
    file.close()


def test_a_symlink_is_refused(tmp_path: Path) -> None:
    (tmp_path / "there").touch(0o600)
    (tmp_path / "link").symlink_to(tmp_path / "there")
    with pytest.raises(StartError, match="it is a symlink"):
        RecordFile(tmp_path / "link", 1000)


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(StartError, match="no regular file"):
        RecordFile(tmp_path / "pipe", 1000)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602])
def test_a_file_that_others_may_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "calls.jsonl"
    path.touch()
    path.chmod(mode)
    with pytest.raises(StartError, match="chmod"):
        RecordFile(path, 1000)


def test_a_folder_in_which_others_may_put_a_file_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(StartError, match="everybody may write"):
        RecordFile(tmp_path / "calls.jsonl", 1000)


def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "calls.jsonl"
    path.touch(0o600)
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(StartError, match=f"belongs to user {owner}"):
        RecordFile(path, 1000)


def test_two_sidecars_do_not_record_in_one_file(tmp_path: Path) -> None:
    file = RecordFile(tmp_path / "calls.jsonl", 100)
    with pytest.raises(StartError, match="another sidecar records there"):
        RecordFile(tmp_path / "calls.jsonl", 100)
    for _ in range(10):
        file.write(LINE)
    with pytest.raises(StartError, match="another sidecar records there"):
        RecordFile(tmp_path / "calls.jsonl", 100)
    file.close()
