"""Folders for as long as we live: short enough for a socket, and nobody's leavings."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.errors import StartError
from sidecar.system import temporary_folders


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a path that leaves room for a socket: `tmp_path` may be too long."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def temporary(short: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(short))
    return short


@pytest.mark.parametrize("more", range(-3, 3))
def test_a_socket_has_room_in_it_however_long_the_path_of_the_temporary_folder_is(
    monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        long = Path(short) / ("x" * (temporary_folders.LONGEST + more - len(short) - 1))
        long.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(long))
        with temporary_folders.folder() as folder, socket.socket(socket.AF_UNIX) as listening:
            assert (folder.parent == long) is (more <= 0)
            listening.bind(str(folder / "longest.sock"))
        assert not folder.exists()


@pytest.mark.parametrize("named", [".", "runtime", "/tmp"])
def test_a_folder_that_is_not_named_from_the_root_is_not_taken_instead(
    named: str, short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (short / "runtime").mkdir()
    monkeypatch.chdir(short)
    monkeypatch.setenv("XDG_RUNTIME_DIR", named)
    monkeypatch.setattr(tempfile, "tempdir", str(short / ("x" * temporary_folders.LONGEST)))
    with temporary_folders.folder() as folder:
        assert folder.parent == Path("/tmp")


def test_where_no_folder_is_short_enough_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary_folders, "LONGEST", 3)
    with pytest.raises(StartError, match="is too long a path for a socket"), temporary_folders.folder():
        pass


def test_a_folder_is_named_from_the_root_so_that_a_program_with_another_working_directory_finds_it(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(short)
    monkeypatch.setattr(tempfile, "tempdir", ".")
    with temporary_folders.folder() as folder:
        assert folder.is_absolute()
        assert folder.parent == short


def test_a_folder_that_is_not_there_is_said(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/no/such")
    with pytest.raises(StartError, match="cannot make a folder in /no/such"), temporary_folders.folder():
        pass


def test_sweeping_leaves_what_is_in_use_what_has_another_name_and_what_a_link_leads_to(temporary: Path) -> None:
    linked = temporary / "linked"
    for path in (temporary / f"{temporary_folders.PREFIX}left", linked):
        path.mkdir()
        (path / "file").touch()
    (temporary / f"{temporary_folders.PREFIX}link").symlink_to(linked)
    (temporary / f"{temporary_folders.PREFIX}file").touch()
    with temporary_folders.folder() as used:
        temporary_folders.sweep()
        assert used.exists()
    assert sorted(path.name for path in temporary.iterdir()) == [
        f"{temporary_folders.PREFIX}file", f"{temporary_folders.PREFIX}link", "linked",
    ]  # fmt: skip
    assert (linked / "file").exists()


def test_a_folder_that_was_swept_before_it_was_locked_is_not_taken(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    make = tempfile.mkdtemp

    def slow(prefix: str, dir: Path) -> str:  # noqa: A002 - the library's word
        made.append(make(prefix=prefix, dir=dir))
        if len(made) == 1:
            temporary_folders.sweep()
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", slow)
    with temporary_folders.folder() as folder:
        assert (str(folder), len(made)) == (made[1], 2)
