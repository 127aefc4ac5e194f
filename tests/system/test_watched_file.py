"""A file that is watched gives what reading it anew gives, whatever was done to it between two looks."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.system import files, watched_file
from sidecar.system.files import Content, Unreadable, read
from sidecar.system.watched_file import AGE, LOOK, WatchedFile
from tests.auth.tokens import Clock
from tests.support.fuzzing import examples

LIMIT = 8
CONTENTS = st.sampled_from([b"", b"aaa", b"bbb", b"aab", b"aaaa", b"a" * LIMIT, b"a" * (LIMIT + 1)])
TIMES = st.sampled_from([None, 0, 10**18, 2 * 10**18, 4 * 10**18])
DEEDS = st.tuples(
    st.sampled_from(
        ["write", "write", "replace", "swap", "append", "remove", "pipe", "folder", "hold", "look", "look"]
    ),
    CONTENTS,
    TIMES,
)


class ChangingFolder:
    """A folder with a watched path, and somebody who does things to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "f"
        self.other = folder / "g"
        self.made = 0
        self.held: list[int] = []

    def do(self, deed: str, content: bytes, when: int | None) -> None:
        path = self.path
        if deed in ("remove", "pipe", "folder", "replace", "swap"):
            self.clear()
        match deed:
            case "pipe":
                os.mkfifo(path)
            case "folder":
                path.mkdir()
            case "replace" | "swap":
                self.made += 1
                draft = self.folder / str(self.made)
                draft.write_bytes(content)
                if when is not None:
                    os.utime(draft, ns=(when, when))
                draft.rename(path) if deed == "replace" else path.symlink_to(draft)
            case "write" | "append" if path.is_file() or not path.exists():
                with path.open("wb" if deed == "write" else "ab") as file:
                    file.write(content)
                if when is not None:
                    os.utime(path, ns=(when, when))
            case "hold" if path.is_file():
                self.held.append(os.open(path, os.O_WRONLY))

    def clear(self) -> None:
        if self.path.is_dir():
            self.path.rmdir()
        else:
            self.path.unlink(missing_ok=True)

    def let_go(self) -> None:
        while self.held:
            os.close(self.held.pop())


def anew(path: Path) -> bytes | None:
    try:
        content = read(path, LIMIT)
    except Unreadable:
        return None
    return None if content.open_for_writing else content.data


@pytest.mark.fuzz
@examples(150)
@given(st.lists(DEEDS, max_size=12))
def test_what_a_watcher_gives_is_what_reading_anew_gives(deeds: list[tuple[str, bytes, int | None]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world, clock = ChangingFolder(Path(folder)), Clock()
        file = WatchedFile(world.path, LIMIT, clock)
        known: bytes | None = None
        for deed, content, when in [*deeds, ("look", b"", None)]:
            if deed != "look":
                world.do(deed, content, when)
                continue
            clock.now += LOOK
            try:
                known = changed if (changed := file.changed()) is not None else known
            except Unreadable:
                known = None
            assert known == anew(world.path)
        world.let_go()


class Hanging:
    """A file system that stops to answer while it is told to; `asked` is how often it was."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers = threading.Event()
        self.answers.set()
        self.asked = 0
        monkeypatch.setattr(files, "read", self.read)
        monkeypatch.setattr(watched_file, "MOMENT", 0.01)

    def read(self, path: Path, limit: int) -> Content:
        self.asked += 1
        content = read(path, limit)
        self.answers.wait(30)
        return content

    def answered(self, file: WatchedFile) -> None:
        """Let it answer, and wait until it has."""
        look = file._under_way
        assert look is not None
        self.answers.set()
        assert look.done.wait(30)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "f"
    path.write_bytes(b"aaa")
    return path


def test_while_the_file_system_does_not_answer_the_content_holds_for_a_bounded_time_and_nobody_waits_twice(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging, clock = Hanging(monkeypatch), Clock()
    file = WatchedFile(path, LIMIT, clock)
    assert file.changed() == b"aaa"
    hanging.answers.clear()
    clock.now += LOOK
    assert file.changed() is None
    monkeypatch.setattr(watched_file, "MOMENT", 30)  # would be too long to wait for
    clock.now += AGE - 2 * LOOK
    assert file.changed() is None
    clock.now += LOOK
    with pytest.raises(Unreadable, match="does not answer"):
        file.changed()
    clock.now += 3600
    assert file.changed() is None
    assert hanging.asked == 2
    hanging.answered(file)
    assert file.changed() == b"aaa"  # by a new look


def test_an_answer_that_came_long_ago_is_not_believed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging, clock = Hanging(monkeypatch), Clock()
    file = WatchedFile(path, LIMIT, clock)
    assert file.changed() == b"aaa"
    hanging.answers.clear()
    clock.now += LOOK
    assert file.changed() is None
    path.write_bytes(b"bbb")
    hanging.answered(file)
    clock.now += AGE
    assert file.changed() == b"bbb"


def test_an_answer_that_comes_late_counts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging, clock = Hanging(monkeypatch), Clock()
    file = WatchedFile(path, LIMIT, clock)
    assert file.changed() == b"aaa"
    hanging.answers.clear()
    path.write_bytes(b"bbb")
    clock.now += 3600
    with pytest.raises(Unreadable, match="does not answer"):
        file.changed()
    hanging.answered(file)
    clock.now += AGE - LOOK
    assert file.changed() == b"bbb"
    assert hanging.asked == 2


def test_where_no_thread_can_be_had_there_is_no_content(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    clock = Clock()
    file = WatchedFile(path, LIMIT, clock)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refused)
        with pytest.raises(Unreadable, match="no thread can be started"):
            file.changed()
    clock.now += LOOK
    assert file.changed() == b"aaa"
