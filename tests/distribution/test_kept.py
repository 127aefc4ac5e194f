"""Bundles on the disk: of several sidecars that share a folder none spoils what another needs at its next start."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.distribution.kept import FOLDER, FORGOTTEN, MOST, Kept
from tests.support.fuzzing import examples


def test_what_another_sidecar_drops_is_its_own(tmp_path: Path) -> None:
    ours, theirs = Kept(tmp_path, "okx"), Kept(tmp_path, "okx")
    ours.commit(4, b"four")
    assert ours.stage(5, b"five")
    assert theirs.stage(3, b"three")  # its source is behind, and it will be refused
    theirs.drop(3, b"three")
    ours.commit(5, b"five")
    assert ours.candidates() == [b"five"]


def test_what_is_there_already_is_not_staged_anew(tmp_path: Path) -> None:
    """So nobody drops it: a store that cannot be asked is no reason to forget the last good one."""
    kept = Kept(tmp_path, "okx")
    kept.commit(4, b"four")
    assert not kept.stage(4, b"four")
    (path,) = (tmp_path / FOLDER).iterdir()
    path.write_bytes(b"fo")  # the disk lost the rest
    assert kept.stage(4, b"four")
    assert kept.candidates() == [b"four"]


@examples(60)
@given(st.lists(st.tuples(st.sampled_from(["stage", "commit", "drop"]), st.integers(1, 9), st.booleans()), max_size=30))
def test_the_highest_that_was_committed_is_there_whatever_others_do(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, bool]]
) -> None:
    """Only what is not admitted is dropped, and that has another serial or content."""
    folder = tmp_path_factory.mktemp("kept")
    sidecars = [Kept(folder, "okx"), Kept(folder, "okx")]
    highest = 0
    for what, serial, first in steps:
        kept, data = sidecars[first], b"%d" % serial
        match what:
            case "stage":
                kept.stage(serial, data)
            case "commit" if serial >= highest:
                kept.commit(serial, data)
                highest = serial
            case "drop" if serial != highest:
                kept.drop(serial, data)
    found = sidecars[0].candidates()
    assert not highest or b"%d" % highest in found
    assert found == sorted(found, reverse=True)


def test_each_server_has_its_own(tmp_path: Path) -> None:
    Kept(tmp_path, "okx").commit(5, b"five")
    assert Kept(tmp_path, "another").candidates() == []


def test_what_was_left_by_somebody_who_was_killed_goes(tmp_path: Path) -> None:
    kept = Kept(tmp_path, "okx")
    kept.commit(1, b"one")
    (path,) = (tmp_path / FOLDER).iterdir()
    name = path.name.partition(".")[0]
    old, new = (tmp_path / FOLDER / f"{name}.{age}.draft" for age in ("old", "new"))
    for draft in (old, new):
        draft.write_bytes(b"half")
    os.utime(old, (time.time() - FORGOTTEN - 9,) * 2)
    kept.commit(2, b"two")
    assert (old.exists(), new.exists()) == (False, True)
    assert kept.candidates() == [b"two"]


def test_only_some_are_looked_at(tmp_path: Path) -> None:
    kept = Kept(tmp_path, "okx")
    for serial in range(1, 20):
        kept.stage(serial, b"%d" % serial)
    assert kept.candidates() == [b"%d" % serial for serial in range(19, 19 - MOST, -1)]
