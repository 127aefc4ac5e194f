"""The loop that brings changed policy files into force: what it tries again, and what cannot hold it up."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, cast

import pytest

from sidecar.engine.managed import ManagedEngine
from sidecar.errors import EngineUnavailable, PolicyAwaited, StartError
from sidecar.events import Event, Reloaded, Unchanged
from sidecar.policy.bundle import Bundle
from sidecar.policy.compile import compile_policy
from sidecar.repository import load, prepare, reload
from sidecar.repository.reload import Reloader
from sidecar.system import files
from sidecar.system.files import Content
from tests.engine.asking import soon
from tests.support import OPA
from tests.support.peer import until


class Engine:
    """Takes a bundle, or refuses it as often as it is told to."""

    def __init__(self, bundle: Bundle) -> None:
        self.engine = self
        self.bundle = bundle
        self.refuses = 0
        self.asked = 0
        self.silent = False
        self.awaited: Bundle | None = None

    def give_up(self) -> None:
        self.awaited = None

    async def adopt(self, bundle: Bundle) -> None:
        self.asked += 1
        if self.silent:
            self.awaited = bundle
            raise PolicyAwaited
        if self.refuses:
            self.refuses -= 1
            raise EngineUnavailable("exit", "opa is away")
        self.bundle = bundle


def saying(reason: str) -> str:
    return f"tools: {{t: {{rules: [{{action: deny, reason: {reason}}}]}}}}\n"


class ReloaderOfFile:
    """A reloader of one file in front of an engine; `said` is all that it told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_text(saying("old"))
        start = reload.first_look([path])
        bundle, _ = prepare.prepare(start, OPA, 1)
        self.engine = Engine(bundle)
        self.said: list[Reloaded] = []
        self.unchanged = 0
        self.told = asyncio.Event()
        self.wrong: list[str] = []
        self.changes: list[tuple[Bundle, Bundle]] = []
        self.reloader = Reloader(
            start, OPA, "stub", cast("ManagedEngine", self.engine), self.emit, self.check,
            lambda old, new: self.changes.append((old, new)),
        )  # fmt: skip

    def emit(self, event: Event) -> None:
        if isinstance(event, Unchanged):
            self.unchanged += 1
        else:
            assert isinstance(event, Reloaded)
            self.said.append(event)
        self.told.set()

    def check(self, bundle: Bundle) -> None:
        if self.wrong:
            raise StartError(self.wrong.pop())

    def write(self, text: str) -> None:
        self.path.write_text(text)

    def replace(self, text: str) -> None:
        draft = self.path.with_suffix(".draft")
        draft.write_text(text)
        draft.rename(self.path)

    async def until(self, count: int) -> None:
        """Wait until something was told so many times."""
        while len(self.said) < count:
            self.told.clear()
            await self.told.wait()


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(reload, "LOOK", 0.01)
    monkeypatch.setattr(reload, "SETTLED", 0.01)
    monkeypatch.setattr(reload, "AGAIN", (0.01, 0.02))
    return tmp_path / "policy.yaml"


def run(work: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await work

    asyncio.run(bounded())


def test_what_the_engine_did_not_take_is_tried_again_by_itself_and_said_once(path: Path) -> None:
    async def inside() -> None:
        world = ReloaderOfFile(path)
        world.engine.refuses = 3
        watching = asyncio.create_task(world.reloader.watch())
        world.replace(saying("new"))
        await world.until(2)
        watching.cancel()
        assert [(one.accepted, one.text) for one in world.said] == [(False, "opa is away"), (True, "")]
        assert world.engine.asked == 4
        assert "new" in str(world.engine.bundle.files)

    run(inside())


async def awaits(world: ReloaderOfFile) -> None:
    """Edit the file while the engine is silent."""
    world.engine.silent = True
    world.replace(saying("new"))
    await soon(lambda: world.engine.awaited)


def test_a_policy_that_waits_for_the_engine_is_told_when_it_is_in_force_and_not_as_refused(path: Path) -> None:
    async def inside() -> None:
        world = ReloaderOfFile(path)
        watching = asyncio.create_task(world.reloader.watch())
        before = world.engine.bundle
        await awaits(world)
        await soon(lambda: world.engine.asked > 2)  # it is tried again, which may show that the engine refuses it
        assert (world.said, world.unchanged, world.changes) == ([], 0, [])
        awaited = world.engine.awaited
        assert awaited is not None
        world.engine.bundle = awaited  # as the heartbeat does
        await world.until(1)
        watching.cancel()
        assert world.said[0].accepted
        assert world.changes == [(before, awaited)]

    run(inside())


def test_a_policy_that_waits_is_given_up_when_its_files_say_again_what_is_in_force(path: Path) -> None:
    async def inside() -> None:
        world = ReloaderOfFile(path)
        watching = asyncio.create_task(world.reloader.watch())
        await awaits(world)
        world.replace(saying("old"))
        await soon(lambda: world.engine.awaited is None and world.unchanged)
        watching.cancel()
        assert world.said == []

    run(inside())


def test_an_edit_takes_the_place_of_a_policy_that_waits(path: Path) -> None:
    async def inside() -> None:
        world = ReloaderOfFile(path)
        watching = asyncio.create_task(world.reloader.watch())
        await awaits(world)
        world.engine.silent = False
        world.replace(saying("newer"))
        await world.until(1)
        watching.cancel()
        assert world.said[0].accepted
        assert "newer" in str(world.engine.bundle.files)

    run(inside())


def test_what_is_wrong_with_the_policy_is_not_tried_again(path: Path) -> None:
    async def inside() -> None:
        world = ReloaderOfFile(path)
        world.wrong = ["nobody to count for"]
        watching = asyncio.create_task(world.reloader.watch())
        world.replace(saying("new"))
        await world.until(1)
        world.replace(saying("newer"))
        await world.until(2)
        watching.cancel()
        assert [one.text for one in world.said] == ["nobody to count for", ""]
        assert "newer" in str(world.engine.bundle.files)

    run(inside())


def test_a_changed_policy_that_others_may_write_is_warned_of(path: Path) -> None:
    async def inside() -> None:
        world = ReloaderOfFile(path)
        watching = asyncio.create_task(world.reloader.watch())
        draft = path.with_suffix(".draft")
        draft.write_text(saying("new"))
        draft.chmod(0o666)
        draft.rename(path)
        await world.until(1)
        watching.cancel()
        assert world.said[0].accepted
        assert f"{path}: everybody may write {path}" in world.said[0].text

    run(inside())


def test_files_that_say_again_what_is_in_force_end_a_refusal_and_only_that(path: Path) -> None:
    async def inside() -> None:
        world = ReloaderOfFile(path)
        watching = asyncio.create_task(world.reloader.watch())
        world.replace("tools: [")
        await world.until(1)
        assert (world.said[0].accepted, world.unchanged) == (False, 0)
        world.replace(saying("old"))
        while not world.unchanged:
            world.told.clear()
            await world.told.wait()
        world.replace(saying("new"))
        await world.until(2)
        assert (world.said[1].accepted, world.unchanged) == (True, 1)
        watching.cancel()
        await asyncio.wait({watching})

    run(inside())


def test_a_file_system_that_does_not_answer_is_said_and_holds_up_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "ANSWER", 0.01)
    answers = threading.Event()
    find = load.find

    def hanging(paths: Any) -> Any:
        answers.wait(30)
        return find(paths)

    async def inside() -> None:
        world = ReloaderOfFile(path)
        monkeypatch.setattr(load, "find", hanging)
        watching = asyncio.create_task(world.reloader.watch())
        await world.until(1)
        assert "does not answer" in world.said[0].text
        monkeypatch.setattr(reload, "ANSWER", 5.0)  # a busy machine takes its time
        answers.set()
        world.replace(saying("new"))
        await world.until(2)
        assert world.said[1].accepted
        monkeypatch.setattr(reload, "ANSWER", 0.01)
        answers.clear()
        await world.until(3)
        watching.cancel()
        await asyncio.wait({watching})
        assert watching.cancelled()

    run(inside())  # and its end does not wait for the thread
    assert not answers.is_set()
    answers.set()


def no_threads(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse the next threads, as the kernel does at a limit of processes."""
    start, refused = threading.Thread.start, iter(range(count))

    def refusing(thread: threading.Thread) -> None:
        if next(refused, None) is not None:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refusing)


def test_where_no_thread_can_be_had_for_a_look_it_is_said_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def inside() -> None:
        world = ReloaderOfFile(path)
        watching = asyncio.create_task(world.reloader.watch())
        no_threads(5, monkeypatch)
        await world.until(1)
        world.replace(saying("new"))
        await world.until(2)
        watching.cancel()
        assert [one.accepted for one in world.said] == [False, True]
        assert "cannot be looked at: no thread can be started" in world.said[0].text

    run(inside())


def test_where_no_thread_can_be_had_for_a_trial_the_policy_comes_into_force_later(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def at_the_limit(policy: Any, custom: Any) -> Any:
        monkeypatch.setattr(prepare, "compile_policy", compile_policy)
        no_threads(1, monkeypatch)
        return compile_policy(policy, custom)

    async def inside() -> None:
        world = ReloaderOfFile(path)
        monkeypatch.setattr(prepare, "compile_policy", at_the_limit)
        watching = asyncio.create_task(world.reloader.watch())
        world.replace(saying("new"))
        await world.until(2)
        watching.cancel()
        assert [one.accepted for one in world.said] == [False, True]
        assert "no thread can be started" in world.said[0].text

    run(inside())


def test_a_defect_that_one_policy_meets_leaves_the_old_one_in_force_and_ends_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(policy: Any, custom: Any) -> Any:
        if "worse" in str(policy):
            raise KeyError("a defect")
        return compile_policy(policy, custom)

    monkeypatch.setattr(prepare, "compile_policy", broken)

    async def inside() -> None:
        world = ReloaderOfFile(path)
        watching = asyncio.create_task(world.reloader.watch())
        world.replace(saying("worse"))
        await world.until(1)
        assert "something went wrong here" in world.said[0].text
        assert "old" in str(world.engine.bundle.files)
        world.replace(saying("better"))
        await world.until(2)
        watching.cancel()
        assert [one.accepted for one in world.said] == [False, True]

    run(inside())
    assert [record.exc_info is not None for record in caplog.records] == [True]


def test_a_change_that_no_stamp_shows_is_seen(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stamp = files._stamp

    def standing_still(found: Any) -> tuple[int, ...]:
        return stamp(found)[:1]

    monkeypatch.setattr(files, "_stamp", standing_still)

    async def inside() -> None:
        world = ReloaderOfFile(path)
        watching = asyncio.create_task(world.reloader.watch())
        world.write(saying("new"))
        await world.until(1)
        watching.cancel()
        assert world.said[0].accepted

    run(inside())


def test_a_large_file_that_has_its_stamp_still_is_not_read_at_every_look(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "SHARE", 1e9)
    read: list[Path] = []
    looks: list[Path] = []
    find, stamp = load.find, files.stamp

    def noted(paths: Any) -> Any:
        read.extend(paths)
        return find(paths)

    def looked(path: Path) -> Any:
        looks.append(path)
        return stamp(path)

    async def inside() -> None:
        world = ReloaderOfFile(path)
        monkeypatch.setattr(load, "find", noted)
        monkeypatch.setattr(files, "stamp", looked)
        watching = asyncio.create_task(world.reloader.watch())
        await asyncio.to_thread(until, lambda: len(looks) >= 10)
        assert len(read) == 1
        world.replace(saying("new"))
        await world.until(1)
        watching.cancel()
        assert world.said[0].accepted

    run(inside())


def test_what_a_policy_held_is_not_shown() -> None:
    assert "secret" not in repr(Content(b"secret", (1,), "/f", None))


def test_the_end_does_not_wait_for_a_thread_that_waits_for_ever() -> None:
    program = """
import asyncio, threading
from sidecar.system.tasks import in_thread
async def main():
    try:
        async with asyncio.timeout(0.01):
            await in_thread(threading.Event().wait)
    except TimeoutError:
        print("in vain")
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, "in vain\n"), done.stderr
