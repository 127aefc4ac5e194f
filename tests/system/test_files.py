"""Reading a file: regular ones only, bounded, and with what there is to know of whoever writes it."""

from __future__ import annotations

import errno
import mmap
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sidecar.system import files
from sidecar.system.files import Unreadable, read

NOBODY = 65534


def test_a_file_is_read_whole_up_to_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x" * 64)
    assert read(path, 64).data == b"x" * 64
    with pytest.raises(Unreadable, match="larger than 63 bytes"):
        read(path, 63)


def test_a_large_file_is_refused_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.touch()
    os.truncate(path, 2 << 40)  # to read it would take an hour
    with pytest.raises(Unreadable, match="larger than"):
        read(path, 1 << 40)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.mkdir()


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


@pytest.mark.parametrize(
    ("make", "kind"), [(pipe, "pipe"), (folder, "folder"), (device, "device"), (listening, "socket")]
)
def test_what_is_no_regular_file_is_not_read(tmp_path: Path, make: Callable[[Path], None], kind: str) -> None:
    make(tmp_path / "f")
    with pytest.raises(Unreadable, match=f"no regular file but a {kind}"):
        read(tmp_path / "f", 64)


def test_a_pipe_that_takes_the_place_of_a_file_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "f")
    (tmp_path / "g").touch()
    found = (tmp_path / "g").stat()
    monkeypatch.setattr(os, "stat", lambda _: found)
    with pytest.raises(Unreadable, match="pipe"):
        read(tmp_path / "f", 64)


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="No such file or directory"):
        read(tmp_path / "f", 64)


@contextmanager
def mapped(path: Path) -> Iterator[None]:
    with path.open("r+b") as file:
        held = mmap.mmap(file.fileno(), 0)
    with held:
        yield


@pytest.mark.parametrize("way", [lambda path: path.open("ab"), lambda path: path.open("r+b"), mapped])
def test_a_file_tells_whether_somebody_has_it_open_for_writing(tmp_path: Path, way: Callable[[Path], Any]) -> None:
    path = tmp_path / "f"
    path.write_text("x")
    assert read(path, 64).open_for_writing is False
    with path.open("rb"):
        assert read(path, 64).open_for_writing is False
    with way(path):
        assert read(path, 64).open_for_writing is True
        assert read(path, 64).open_for_writing is True
    assert read(path, 64).open_for_writing is False


def test_a_file_that_changes_while_it_is_read_counts_as_open_for_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f"
    path.write_text("whole\n")
    told = files._open_for_writing

    def write_on(fd: int) -> bool | None:
        path.write_text("more than it was\n")
        return told(fd)

    monkeypatch.setattr(files, "_open_for_writing", write_on)
    assert read(path, 64).open_for_writing is True


@contextmanager
def as_nobody() -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_of_a_file_of_somebody_else_nobody_tells(tmp_path: Path) -> None:
    with as_nobody():
        assert read(Path("/etc/passwd"), 1 << 20).open_for_writing is None


@pytest.mark.parametrize("kind", [0x6969, 0xFF534D42, 0x65735546, 0x01021997])
def test_on_a_file_system_of_a_network_nobody_tells(tmp_path: Path, kind: int, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    path.touch()

    def fstatfs(fd: int, found: object) -> int:
        found.raw = kind.to_bytes(8, sys.byteorder).ljust(256, b"\0")  # type: ignore[attr-defined]
        return 0

    monkeypatch.setattr(files, "_fstatfs", fstatfs)
    with path.open("ab"):
        assert read(path, 64).open_for_writing is None


def test_who_opens_a_file_for_writing_while_it_is_looked_at_does_not_end_us(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("x")
    program = f"""
import fcntl, os, signal, sys, threading
from pathlib import Path
from sidecar.system.files import read
path = Path({str(path)!r})
tell = fcntl.fcntl
written = threading.Thread(target=lambda: path.open("ab").close())
def fcntl_and_a_writer(fd, command, *rest):
    if (command, *rest) == (fcntl.F_SETLEASE, fcntl.F_UNLCK):
        written.start()                   # waits for the lease, which breaks it: the kernel signals at once
        while b"BREAK" not in Path("/proc/locks").read_bytes():
            pass
    return tell(fd, command, *rest)
fcntl.fcntl = fcntl_and_a_writer
assert read(path, 64).data == b"x"
written.join()
print("alive")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


def test_a_file_that_has_nothing_to_read_now_gives_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def later(fd: int, most: int) -> bytes:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))  # as /proc/kmsg does, a regular file

    (tmp_path / "f").write_text("x")
    monkeypatch.setattr(os, "read", later)
    with pytest.raises(Unreadable, match="temporarily unavailable"):
        read(tmp_path / "f", 64)


def test_a_file_that_is_replaced_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f"
    path.write_text("old")
    readlink = os.readlink

    def replaced(name: str) -> str:
        monkeypatch.setattr(os, "readlink", readlink)
        path.unlink()
        path.write_text("new")
        return readlink(name)

    monkeypatch.setattr(os, "readlink", replaced)
    found = read(path, 64)
    assert (found.data, found.leads_to) == (b"new", str(path))


def test_a_file_that_is_replaced_without_end_gives_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    path.write_text("old")
    readlink = os.readlink

    def replaced(name: str) -> str:
        path.unlink()
        path.write_text("new")
        return readlink(name)

    monkeypatch.setattr(os, "readlink", replaced)
    with pytest.raises(Unreadable, match="again and again"):
        read(path, 64)
