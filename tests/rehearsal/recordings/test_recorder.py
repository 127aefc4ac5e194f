"""The recorder: every decided call is recorded, no call waits for it, and what is lost is said and counted."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.events import CandidateBegan, Emit, EngineReady, Event, Judged, RecordingFailed
from sidecar.policy.bundle import FACTS, Bundle
from sidecar.rehearsal.recordings import recorder
from sidecar.rehearsal.recordings.record_file import RecordFile
from sidecar.rehearsal.recordings.recorded import Recorded, read_line, written
from sidecar.rehearsal.recordings.recorder import Recorder
from tests.engine.asking import bundle_of
from tests.rehearsal.recordings.test_kept import POLICY, decided

BUNDLE = bundle_of(POLICY)
OTHER = bundle_of("tools: {t: {rules: [{conditions: [{path: args.note, op: eq, value: x}]}]}}", 2)
CALL = '{"amount":1.10,"note":"n"}'
WAIT = 10.0
"""Longest wait for anything that should come at once."""


class World:
    """A recorder, and what it told; it works under `BUNDLE`."""

    def __init__(self, path: Path, size: int = 1 << 20, file: Callable[[Path, int], RecordFile] = RecordFile) -> None:
        self.path = path
        self.told: list[RecordingFailed] = []
        self.news = asyncio.Event()
        emit: Emit = self._hear
        self.file = file(path, size)
        self.recorder = Recorder(self.file, "bank", b"key", {}, emit, whole=False)
        self.in_force(BUNDLE)

    def _hear(self, event: Event) -> None:
        assert isinstance(event, RecordingFailed)
        self.told.append(event)
        self.news.set()

    def in_force(self, bundle: Bundle) -> None:
        self.revision = bundle.revision
        self.recorder.handlers[EngineReady](EngineReady("bank", bundle.revision, bundle.serial, bundle.terms))

    def decide(self, *calls: str, revision: str = "") -> None:
        """These calls are decided together."""
        for call in calls:
            event = decided("t", call, revision=revision or self.revision)
            self.recorder.handlers[type(event)](event)
        self.recorder.handlers[Judged](Judged())

    @property
    def recorded(self) -> list[Recorded]:
        """What the file has, once the recorder is closed."""
        return [read_line(line) for line in self.path.read_bytes().splitlines()]


def run(world: World, test: Callable[[World], object]) -> None:
    async def main() -> None:
        test(world)
        await asyncio.to_thread(world.recorder.close)
        await asyncio.sleep(0)  # what the thread told is heard

    asyncio.run(main())


def test_every_decided_call_is_recorded_in_order(tmp_path: Path) -> None:
    world = World(tmp_path / "r")

    def test(world: World) -> None:
        world.decide(*(f'{{"amount":{n}}}' for n in range(5)))
        world.decide(*(f'{{"amount":{n}}}' for n in range(5, 8)))

    run(world, test)
    assert [one.arguments["amount"] for one in world.recorded] == list(range(8))
    assert world.told == []


def test_a_recorder_that_heard_of_no_call_ends(tmp_path: Path) -> None:
    world = World(tmp_path / "r")
    run(world, lambda world: world.decide())
    assert world.recorded == []


def test_each_call_is_kept_by_the_policy_that_decided_it(tmp_path: Path) -> None:
    world = World(tmp_path / "r")

    def test(world: World) -> None:
        world.decide(CALL)
        world.in_force(OTHER)
        world.decide(CALL)
        world.decide(CALL, revision=BUNDLE.revision)  # given up while the policy changed

    run(world, test)
    assert [list(one.arguments) for one in world.recorded] == [["amount"], ["note"]]


def test_what_a_new_candidate_reads_is_kept_from_then_on(tmp_path: Path) -> None:
    world = World(tmp_path / "r")

    def test(world: World) -> None:
        world.decide(CALL)
        began = CandidateBegan("bank", OTHER.revision, OTHER.files[FACTS])
        world.recorder.handlers[CandidateBegan](began)
        world.decide(CALL)

    run(world, test)
    assert [list(one.arguments) for one in world.recorded] == [["amount"], ["amount", "note"]]


class Failing(RecordFile):
    """A file on a disk that is full for some writes."""

    left = 1

    def write(self, lines: bytes) -> None:
        if self.left:
            self.left -= 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().write(lines)


def test_a_full_disk_loses_calls_which_is_said_once_and_recording_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "AGAIN", 0.01)
    world = World(tmp_path / "r", file=Failing)

    async def main() -> None:
        world.decide(CALL, CALL)
        await heard(world, 1)
        world.decide(CALL)
        await heard(world, 2)
        await asyncio.to_thread(world.recorder.close)

    asyncio.run(main())
    why = f"cannot record in {tmp_path}/r: No space left on device"
    assert world.told == [RecordingFailed("bank", 2, why), RecordingFailed("bank", 2, "")]
    assert len(world.recorded) == 1


async def heard(world: World, number: int) -> None:
    async with asyncio.timeout(WAIT):
        while len(world.told) < number:
            world.news.clear()
            await world.news.wait()


class Hanging(RecordFile):
    """A file on a disk that hangs."""

    def __init__(self, path: Path, size: int) -> None:
        super().__init__(path, size)
        self.goes = threading.Event()

    def write(self, lines: bytes) -> None:
        self.goes.wait(WAIT)
        super().write(lines)


def test_a_disk_that_hangs_holds_nobody_up_and_takes_no_more_than_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "MAX_CALLS", 10)
    world = World(tmp_path / "r", file=Hanging)

    def test(world: World) -> None:
        for _ in range(100):
            world.decide(CALL)  # returns at once
        assert 80 <= sum(one.lost for one in world.told) <= 90
        assert isinstance(world.file, Hanging)
        world.file.goes.set()

    run(world, test)
    assert len(world.recorded) == 100 - sum(one.lost for one in world.told if one.text)


def test_messages_that_wait_take_no_more_bytes_than_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "MAX_BYTES", 100)
    world = World(tmp_path / "r")
    run(world, lambda world: world.decide('{"note":"%s"}' % ("x" * 100)))
    assert [one.lost for one in world.told] == [1]
    assert "faster" in world.told[0].text


def test_what_was_read_of_calls_that_wait_counts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Many small values take many times the bytes of their message.
    monkeypatch.setattr(recorder, "MAX_BYTES", 100_000)
    world = World(tmp_path / "r")
    many = ",".join(["[]"] * 1_000)
    run(world, lambda world: world.decide(f'{{"note":[{many}]}}'))
    assert [one.lost for one in world.told] == [1]


def test_a_call_that_no_file_can_hold_is_missing_and_the_others_are_there(tmp_path: Path) -> None:
    world = World(tmp_path / "r", 2_000)
    world.in_force(OTHER)
    run(world, lambda world: world.decide(CALL, '{"note":"%s"}' % ("x" * 2_000), CALL))
    assert [one.lost for one in world.told if one.text] == [1]
    assert len(world.recorded) == 2


def test_a_defect_of_ours_costs_one_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path / "r")
    told: list[str] = []

    def broken(call: Recorded) -> bytes:
        if call.arguments["amount"] == 2:
            raise AssertionError("a defect")
        return written(call)

    monkeypatch.setattr("sidecar.rehearsal.recordings.recorder.written", broken)

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))
        world.decide('{"amount":1}', '{"amount":2}', '{"amount":3}')
        await heard(world, 1)
        await asyncio.to_thread(world.recorder.close)

    asyncio.run(main())
    assert (told, world.told[0].lost) == (["a call is not recorded"], 1)
    assert [one.arguments["amount"] for one in world.recorded] == [1, 3]
