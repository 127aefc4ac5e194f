"""A file that is watched gives what reading it anew gives, whatever was done to it between two looks."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.files import Unreadable, read
from sidecar.watched import LOOK, WatchedFile
from tests.admit import Clock
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


class World:
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
        world, clock = World(Path(folder)), Clock()
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
