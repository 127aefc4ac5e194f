"""The files of running sidecars: found while they live, and gone with them."""

from __future__ import annotations

import fcntl
import json
import signal
import stat
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.system import instances
from sidecar.system.instances import FOLDER, Instance, forget_ended, note, running

ONE = Instance(
    "1a2b3c4d", 7, "okx", "0.2.0", "2026-11-30T12:00:00Z", "stdio", "http", "http://127.0.0.1:9464", "off", "enforce"
)
TWO = ONE._replace(instance="ffff0000", pid=8, server="github", started="2026-11-30T12:00:01Z", telemetry="")

HOLD = f"""
import sys, time
from sidecar.system.instances import Instance, note
kept = note(sys.argv[1], Instance(*{tuple(ONE)!r}))
print("noted", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("named", [None, "", "state", "./state", "~/state"])
def test_a_state_folder_that_is_not_named_from_the_root_is_ignored(
    named: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    if named is not None:
        monkeypatch.setenv("XDG_STATE_HOME", named)
    assert instances.default_state_dir() == str(tmp_path / ".local" / "state" / "intercept-sidecar")
    monkeypatch.setenv("XDG_STATE_HOME", "/var/lib")
    assert instances.default_state_dir() == "/var/lib/intercept-sidecar"


def test_who_runs_is_found_in_the_order_of_their_starts(tmp_path: Path) -> None:
    second, first = note(str(tmp_path), TWO), note(str(tmp_path), ONE)
    try:
        assert running(str(tmp_path)) == [ONE, TWO]
        first.close()
        assert running(str(tmp_path)) == [TWO]
    finally:
        second.close()
    assert running(str(tmp_path)) == []
    assert list((tmp_path / "instances").iterdir()) == []


def test_a_file_is_ours_alone(tmp_path: Path) -> None:
    kept = note(str(tmp_path), ONE)
    assert stat.S_IMODE(Path(kept.path).stat().st_mode) == 0o600
    assert json.loads(Path(kept.path).read_bytes()) == {"schema": 1, **ONE._asdict()}
    kept.close()


def test_one_that_says_something_else_is_still_found_and_says_that(tmp_path: Path) -> None:
    kept = note(str(tmp_path), ONE)
    other = ONE._replace(mode="monitor")
    kept.renew(other)
    assert running(str(tmp_path)) == [other]
    forget_ended(str(tmp_path))
    assert running(str(tmp_path)) == [other]
    kept.close()
    assert list((tmp_path / "instances").iterdir()) == []


def test_who_looked_for_dead_ones_meanwhile_leaves_the_renewed_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, look = note(str(tmp_path), ONE), instances._is_dead

    def between(descriptor: int) -> bool:
        kept.renew(ONE._replace(mode="monitor"))
        return look(descriptor)

    monkeypatch.setattr(instances, "_is_dead", between)
    forget_ended(str(tmp_path))
    monkeypatch.undo()
    assert [one.mode for one in running(str(tmp_path))] == ["monitor"]
    kept.close()


def test_one_that_was_killed_is_not_found_and_the_next_one_sweeps_its_file(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "noted\n"
        assert running(str(tmp_path)) == [ONE]
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate(timeout=30)
    assert running(str(tmp_path)) == []
    dead = tmp_path / "instances" / f"{ONE.instance}.json"
    assert dead.exists()
    note(str(tmp_path), TWO).close()
    assert not dead.exists()


def test_where_nobody_ever_ran_nobody_is_found(tmp_path: Path) -> None:
    assert running(str(tmp_path / "missing")) == []


FIELDS = st.dictionaries(st.sampled_from([*Instance._fields, "schema"]), st.none() | st.integers() | st.text())


@given(st.binary(max_size=300) | FIELDS.map(lambda said: json.dumps({"schema": 1, **said}).encode()))
def test_a_file_of_somebody_else_is_no_sidecar(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "instances", "aa.json")
        path.parent.mkdir()
        path.write_bytes(content)
        with path.open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            for one in running(folder):
                assert {"schema": 1, **one._asdict()} == json.loads(content)


def test_a_file_that_was_made_to_harm_its_readers_is_no_sidecar(tmp_path: Path) -> None:
    path = tmp_path / FOLDER / "x.json"
    path.parent.mkdir()
    path.write_bytes(b"[" * 60_000)
    with path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert running(str(tmp_path)) == []


def test_what_is_no_file_of_a_sidecar_stays(tmp_path: Path) -> None:
    """Another user's folder may lead anywhere: root looks at it with `sidecar status`."""
    (tmp_path / "etc").mkdir()
    kept = tmp_path / "etc" / "daemon.json"
    kept.write_text('{"debug": true}')
    (tmp_path / FOLDER).symlink_to("etc")
    forget_ended(str(tmp_path))
    note(str(tmp_path), ONE).close()
    assert list(kept.parent.iterdir()) == [kept]


def test_a_name_with_any_character_can_be_noted(tmp_path: Path) -> None:
    odd = ONE._replace(server="a\nb\u202e\udcff")
    kept = note(str(tmp_path), odd)
    try:
        assert Path(kept.path).read_bytes().count(b"\n") == 1
        assert len(running(str(tmp_path))) == 1
    finally:
        kept.close()
