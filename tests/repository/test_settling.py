"""When a changed policy file is whole: never while somebody writes it, within a second when it is replaced at once."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.repository.settling import IN_PLACE, NEW, SETTLED, UNTOLD, Settling
from sidecar.system import files
from sidecar.system.files import find
from tests.support.fuzzing import examples

LIMIT = 1 << 20
POLICIES = sorted((Path(__file__).parents[2] / "policies").glob("*.yaml"))
OLD = "tools: {t: {rules: [{action: deny, reason: old}]}}\n"


class Watch:
    """A settling of one file, and a clock that goes by from look to look."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = 1000.0
        self.settling = Settling([find(path, LIMIT)], self.now)

    def whole(self, seconds: float, lost: float = 1.0, step: float = SETTLED) -> bytes | None:
        """What would come into force within so many seconds, for a policy that takes so much away."""
        end = self.now + seconds
        while self.now < end:
            self.now += step
            self.settling.look([find(self.path, LIMIT)], self.now)
            if self.settling.changed and self.settling.whole(self.now, lost):
                (found,) = self.settling.found
                self.settling.tried()
                return found.content.data if found.content is not None else b""
        return None


@contextmanager
def world(old: str = OLD) -> Iterator[tuple[Path, Watch]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.yaml"
        path.write_text(old)
        yield path, Watch(path)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda path: path.stem)
def test_no_beginning_of_a_policy_comes_into_force_while_its_writer_holds_it(policy: Path) -> None:
    data = policy.read_bytes()
    with world() as (path, watch), path.open("wb", buffering=0) as file:
        for at in range(len(data)):
            file.write(data[at : at + 1])
            assert watch.whole(10, step=5) is None
        assert watch.whole(3600, step=60) is None
        file.close()
        assert watch.whole(IN_PLACE[1] + 2 * SETTLED) == data


PIECES = st.lists(st.binary(min_size=1, max_size=8), min_size=1, max_size=5)
PAUSES = st.lists(st.floats(0.0, 30.0), min_size=5, max_size=5)


@pytest.mark.fuzz
@examples(60)
@given(PIECES, PAUSES, st.sampled_from(["in place", "appended", "made anew", "replaced"]), st.floats(0.0, 1.0))
def test_a_file_written_in_pieces_comes_into_force_whole_or_not_at_all(
    pieces: list[bytes], pauses: list[float], way: str, lost: float
) -> None:
    with world() as (path, watch):
        begun = path.with_suffix(".draft") if way == "replaced" else path
        if way == "made anew":
            path.unlink()
        with begun.open("ab" if way == "appended" else "wb", buffering=0) as file:
            for piece, pause in zip(pieces, pauses, strict=False):
                file.write(piece)
                assert watch.whole(min(pause, 3.0), lost) is None
        expected = begun.read_bytes()
        begun.rename(path)
        assert watch.whole(IN_PLACE[1] + 2 * SETTLED, lost) == expected


@pytest.mark.fuzz
@examples(40)
@given(PIECES, st.lists(st.integers(0, 4), min_size=5, max_size=5), st.floats(0.0, 1.0))
def test_a_file_that_is_closed_between_its_pieces_waits_for_quiet(
    pieces: list[bytes], pauses: list[int], lost: float
) -> None:
    with world() as (path, watch):
        path.write_bytes(b"")
        for piece, looks in zip(pieces, pauses, strict=False):
            with path.open("ab") as file:
                file.write(piece)
            assert watch.whole(looks * SETTLED, lost) is None
        assert watch.whole(IN_PLACE[1] + 2 * SETTLED, lost) == b"".join(pieces)


@pytest.mark.fuzz
@examples(40)
@given(st.binary(min_size=1, max_size=30), st.integers(0, 29), st.floats(0.0, 1.0))
def test_where_nobody_tells_who_writes_a_beginning_waits_for_quiet(new: bytes, at: int, lost: float) -> None:
    with world() as (path, watch), pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_open_for_writing", lambda fd: None)
        assert watch.whole(1.0) is None
        quiet = UNTOLD[0] + (UNTOLD[1] - UNTOLD[0]) * lost
        path.write_bytes(new[:at])
        assert watch.whole(quiet - SETTLED, lost) is None
        path.write_bytes(new)
        if new != OLD.encode():
            assert watch.whole(quiet - SETTLED, lost) is None
            assert watch.whole(3 * SETTLED, lost) == new


@pytest.mark.parametrize("owner", [False, None], ids=["our own", "somebody else's"])
def test_the_symlinks_of_a_config_map_are_whole_at_once(owner: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_open_for_writing", lambda fd: owner)
    with world() as (path, _):
        for name, text in (("..1", OLD), ("..2", "new")):
            (path.parent / name).mkdir()
            (path.parent / name / "policy.yaml").write_text(text)
        path.unlink()
        (path.parent / "..data").symlink_to("..1")
        path.symlink_to("..data/policy.yaml")
        watch = Watch(path)
        (path.parent / "..tmp").symlink_to("..2")
        (path.parent / "..tmp").rename(path.parent / "..data")
        assert watch.whole(3 * SETTLED) == b"new"


def replace(path: Path, text: bytes) -> None:
    """Move a file here that was written a tick of the kernel's clock ago, as `mv` does."""
    draft = path.with_suffix(".draft")
    draft.write_bytes(text)
    written = draft.stat().st_mtime_ns
    os.utime(draft, ns=(written - 10**7, written - 10**7))
    draft.rename(path)


@pytest.mark.parametrize("lost", [0.0, 0.5, 1.0])
def test_a_file_that_is_removed_and_written_anew_in_turns_waits_for_quiet(lost: float) -> None:
    with world() as (path, watch):
        path.rename(path.with_suffix(".old"))  # or the new file might get its inode
        path.write_bytes(b"a beginning")
        assert watch.whole(NEW[0] - SETTLED, lost) is None
        with path.open("ab") as file:
            file.write(b" and an end")
        quiet = IN_PLACE[0] + (IN_PLACE[1] - IN_PLACE[0]) * lost
        assert watch.whole(quiet - SETTLED, lost) is None
        assert watch.whole(3 * SETTLED, lost) == b"a beginning and an end"


@pytest.mark.parametrize("lost", [0.0, 0.5, 1.0])
def test_a_file_that_is_written_and_moved_within_one_tick_is_in_force_within_a_second(lost: float) -> None:
    with world() as (path, watch):
        draft = path.with_suffix(".draft")
        draft.write_bytes(b"new")
        draft.rename(path)
        assert watch.whole(1 - 2 * SETTLED, lost) == b"new"


def test_a_file_that_is_replaced_is_whole_at_once_and_one_that_is_then_written_on_is_not() -> None:
    with world() as (path, watch):
        for text in (b"first", b"second"):
            replace(path, text)
            assert watch.whole(3 * SETTLED) == text
        path.unlink()
        path.write_bytes(b"made an")
        assert watch.whole(SETTLED) is None
        with path.open("ab") as file:
            file.write(b"ew")
        assert watch.whole(IN_PLACE[1] - 2 * SETTLED) is None
        assert watch.whole(4 * SETTLED) == b"made anew"


def test_a_file_that_comes_back_to_what_it_was_is_no_news() -> None:
    with world() as (path, watch):
        path.write_text("other")
        assert watch.whole(SETTLED) is None
        path.write_text(OLD)
        os.utime(path, ns=(0, 0))
        assert watch.whole(10) is None
