"""Sockets to listen on: what a dead process left is taken over, and nothing else."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from pathlib import Path

import pytest

from sidecar.system import unix_socket


def test_it_listens_at_once_and_is_ours_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with unix_socket.bound(path), socket.socket(socket.AF_UNIX) as client:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        client.connect(str(path))


def test_what_another_one_just_bound_is_not_taken_over(tmp_path: Path) -> None:
    with unix_socket.bound(tmp_path / "s"), pytest.raises(OSError) as refused:  # noqa: PT011 - by its number
        unix_socket.bound(tmp_path / "s")
    assert refused.value.errno == errno.EADDRINUSE


def test_one_that_was_left_behind_is_taken_over(tmp_path: Path) -> None:
    unix_socket.bound(tmp_path / "s").close()
    with unix_socket.bound(tmp_path / "s"), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s"))


def test_while_another_one_may_take_it_over_it_is_left_alone(tmp_path: Path) -> None:
    unix_socket.bound(tmp_path / "s").close()
    before = (tmp_path / "s").lstat()
    other = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(OSError) as refused:  # noqa: PT011 - by its number
            unix_socket.bound(tmp_path / "s")
        assert refused.value.errno == errno.EADDRINUSE
        assert os.path.samestat(before, (tmp_path / "s").lstat())
        unix_socket.bound(tmp_path / "new").close()
    finally:
        os.close(other)


def test_it_is_removed_and_never_that_of_another_one(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with unix_socket.bound(path):
        remove = unix_socket.removal(path)
        path.unlink()
        remove()
        with unix_socket.bound(path):
            remove()
            assert path.is_socket()
            unix_socket.removal(path)()
            assert not path.exists()
