"""What comes out of a feed: what is admitted is in force, and nothing else ever is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from sidecar.distribution import feed as feed_module
from sidecar.distribution.feed import Feed
from sidecar.distribution.kept import Kept
from sidecar.distribution.source import Fetched
from sidecar.errors import (
    BundleRefused,
    EngineUnavailable,
    NothingPublished,
    PolicyAwaited,
    SidecarError,
    SourceUnavailable,
    StartError,
)
from sidecar.events import BundleFetched, BundleJudged, Event
from sidecar.policy.bundle import Bundle
from tests.engine.asking import bundle_of

POLICY = bundle_of("tools: {}")


class Shelf:
    """A source that has what was put there, or fails with what was put there."""

    name = "the shelf"
    waits = False

    def __init__(self) -> None:
        self.has: Fetched | Exception | None = None
        self.looked = asyncio.Event()
        self.never_answers = False
        self.closed = False

    def put(self, serial: int, content: str = "good") -> None:
        text = f"{serial} {content}"
        self.has = Fetched(text.encode(), text)

    async def fetch(self, known: str) -> Fetched | None:
        self.looked.set()
        if self.never_answers:
            await asyncio.Event().wait()
        if isinstance(self.has, Exception):
            raise self.has
        return self.has if self.has is not None and self.has.tag != known else None

    async def close(self) -> None:
        self.closed = True


class Serials:
    """The highest serial, with the content that it had."""

    def __init__(self) -> None:
        self.highest = (0, "")

    async def rise(self, bundle: Bundle) -> None:
        serial, content = bundle.serial, bundle.commit
        if serial < self.highest[0]:
            raise BundleRefused("older", f"{serial} is below {self.highest[0]}")
        if serial == self.highest[0] and content != self.highest[1]:
            raise BundleRefused("conflict", f"{serial} has other content")
        self.highest = (serial, content)


def admit(data: bytes) -> Bundle:
    """Bundles are their serial and their content here; the content stands in `commit`."""
    serial, content = data.decode().split(" ")
    if content == "forged":
        raise BundleRefused("signature", "no key verifies it")
    if content == "broken":
        raise RuntimeError("a defect of ours")
    return Bundle(content, int(serial), {}, POLICY.terms, content)


class World:
    """A feed, what it was given, and what came of it."""

    def __init__(self, folder: Path) -> None:
        self.shelf = Shelf()
        self.serials = Serials()
        self.events: list[Event] = []
        self.in_force: list[int] = []
        self.refuses: SidecarError | None = None
        self.asked = 0
        self.unfit: set[str] = set()
        self.kept = Kept(folder, "stub")
        self.feed = Feed(
            server="stub", source=self.shelf, admit=admit, floor=self.serials, kept=self.kept, accepts=self._accepts,
            interval=0.001, emit=self.events.append,
        )  # fmt: skip

    def _accepts(self, bundle: Bundle) -> None:
        if bundle.commit in self.unfit:
            raise StartError("a rule counts by principal, and nobody is authenticated here")

    async def adopt(self, bundle: Bundle) -> None:
        self.asked += 1
        if self.refuses is not None:
            raise self.refuses
        self.in_force.append(bundle.serial)

    @property
    def refusals(self) -> list[str]:
        return [event.refused for event in self.events if isinstance(event, BundleJudged) and event.refused]

    @property
    def told(self) -> list[int]:
        """The serials of what was told to be in force."""
        return [event.serial for event in self.events if isinstance(event, BundleJudged) and not event.refused]

    async def until(self, done: Callable[[], bool]) -> None:
        """Follow the source until something is so."""
        task = asyncio.create_task(self.feed.watch(self.adopt))
        try:
            async with asyncio.timeout(10):
                while not done():  # noqa: ASYNC110 - what is waited for is in another task
                    await asyncio.sleep(0.001)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def run(folder: Path, inside: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    async def begin() -> None:
        await inside(World(folder))

    asyncio.run(begin())


def test_what_the_source_has_is_in_force(tmp_path: Path) -> None:
    async def inside(world: World) -> None:
        world.shelf.put(3)
        await world.until(lambda: world.told == [3])
        world.shelf.put(4, "next")
        await world.until(lambda: world.told == [3, 4])
        assert world.in_force == [3, 4]
        assert not world.refusals

    run(tmp_path, inside)


def test_a_place_that_has_nothing_yet_is_looked_at_as_often_as_one_that_has(tmp_path: Path) -> None:
    async def inside(world: World) -> None:
        world.shelf.has = NothingPublished("no bundle is there")
        await world.until(lambda: len(world.events) > 25)  # with pauses that grow this would take minutes
        world.shelf.put(1)
        await world.until(lambda: world.told == [1])

    run(tmp_path, inside)


def test_a_bundle_that_is_too_large_to_be_fetched_is_told_once_and_taken_back_when_it_is_gone(tmp_path: Path) -> None:
    async def inside(world: World) -> None:
        world.shelf.put(1)
        await world.until(lambda: world.told == [1])
        good, world.shelf.has = world.shelf.has, BundleRefused("too_large", "more than 32 MiB")
        for _ in range(5):
            world.shelf.looked.clear()
            await world.until(world.shelf.looked.is_set)
        assert world.refusals == ["too_large"]
        world.shelf.has = good
        await world.until(lambda: world.told == [1, 1])

    run(tmp_path, inside)


def test_an_older_bundle_and_another_of_the_same_serial_are_refused(tmp_path: Path) -> None:
    async def inside(world: World) -> None:
        world.shelf.put(3)
        await world.until(lambda: world.told == [3])
        world.shelf.put(2, "before")
        await world.until(lambda: world.refusals == ["older"])
        world.shelf.put(3, "other")
        await world.until(lambda: world.refusals == ["older", "conflict"])
        assert world.in_force == [3]

    run(tmp_path, inside)


def test_a_bundle_that_is_refused_is_said_once_and_never_in_force(tmp_path: Path) -> None:
    async def inside(world: World) -> None:
        world.shelf.put(3)
        await world.until(lambda: world.told == [3])
        world.shelf.put(4, "forged")
        await world.until(lambda: world.refusals == ["signature"])
        world.shelf.put(5, "broken")
        await world.until(lambda: len(world.refusals) == 2)
        assert world.refusals == ["signature", "broken"]
        assert world.in_force == [3]
        assert world.kept.candidates() == [b"3 good"]

    run(tmp_path, inside)


def test_a_bundle_that_the_engine_did_not_take_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "AGAIN", (0.001, 0.01))

    async def inside(world: World) -> None:
        world.refuses = EngineUnavailable("exit", "opa is away")
        world.shelf.put(3)
        await world.until(lambda: world.refusals == ["unavailable"])
        world.refuses = None
        await world.until(lambda: world.told == [3])
        assert world.refusals == ["unavailable"]

    run(tmp_path, inside)


def test_a_bundle_that_waits_for_the_engine_is_told_when_it_is_in_force_and_not_as_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(feed_module, "AGAIN", (0.001, 60.0))

    async def inside(world: World) -> None:
        world.refuses = PolicyAwaited()
        world.shelf.put(3)
        await world.until(lambda: world.asked > 20)  # with pauses that grow this would take minutes
        assert world.told == []
        world.refuses = None
        await world.until(lambda: world.told == [3])
        assert world.refusals == []
        assert world.kept.candidates() == [b"3 good"]

    run(tmp_path, inside)
    said = [record.message for record in caplog.records if "waits" in record.message]
    assert said == [f"the new bundle waits: {PolicyAwaited()}"]


def test_a_bundle_that_cannot_be_served_under_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    async def inside(world: World) -> None:
        world.unfit.add("unfit")
        world.shelf.put(7, "unfit")
        await world.until(lambda: world.refusals == ["check"])
        world.shelf.put(6)
        await world.until(lambda: world.in_force == [6])  # the serial of one that was refused does not count

    run(tmp_path, inside)


def test_a_source_that_is_away_is_told_and_looked_at_again(tmp_path: Path) -> None:
    async def inside(world: World) -> None:
        world.shelf.has = SourceUnavailable("no such host")
        failed = BundleFetched("stub", news=False, trouble="no such host")
        await world.until(lambda: world.events.count(failed) > 1)
        world.shelf.put(3)
        await world.until(lambda: world.told == [3])

    run(tmp_path, inside)


def test_a_defect_of_a_look_ends_neither_a_start_nor_the_looking(tmp_path: Path) -> None:
    async def inside(world: World) -> None:
        world.kept.commit(3, b"3 good")
        world.shelf.has = OverflowError("a time that is none")
        begun = await world.feed.first()
        assert begun is not None
        assert begun.serial == 3
        world.shelf.put(4)
        await world.until(lambda: world.in_force == [4])

    run(tmp_path, inside)


def test_a_start_without_the_source_begins_with_the_last_good_bundle(tmp_path: Path) -> None:
    async def before(world: World) -> None:
        world.shelf.put(3)
        await world.until(lambda: world.told == [3])

    async def after(world: World) -> None:
        world.serials.highest = (3, "good")
        world.shelf.has = SourceUnavailable("no such host")
        begun = await world.feed.first()
        assert begun is not None
        assert begun.serial == 3

    run(tmp_path, before)
    run(tmp_path, after)


def test_a_start_begins_with_what_the_source_has_now(tmp_path: Path) -> None:
    async def inside(world: World) -> None:
        world.kept.commit(3, b"3 good")
        world.shelf.put(4, "next")
        begun = await world.feed.first()
        assert begun is not None
        assert begun.serial == 4

    run(tmp_path, inside)


def test_a_kept_bundle_is_admitted_like_any_other(tmp_path: Path) -> None:
    async def inside(world: World) -> None:
        world.kept.commit(9, b"9 forged")
        assert await world.feed.first() is None
        assert world.refusals == ["signature"]

    run(tmp_path, inside)


def test_an_older_kept_bundle_does_not_come_back(tmp_path: Path) -> None:
    async def inside(world: World) -> None:
        world.kept.commit(3, b"3 good")
        world.serials.highest = (4, "next")
        assert await world.feed.first() is None
        assert world.refusals == ["older"]

    run(tmp_path, inside)


@pytest.mark.parametrize("noted", [True, False])
def test_a_kill_between_two_steps_leaves_a_bundle_that_is_good(tmp_path: Path, *, noted: bool) -> None:
    async def inside(world: World) -> None:
        world.kept.commit(3, b"3 good")
        world.kept.stage(4, b"4 next")  # killed here, before or after the serial was noted
        world.serials.highest = (4, "next") if noted else (3, "good")
        begun = await world.feed.first()
        assert begun is not None
        assert begun.serial == 4

    run(tmp_path, inside)


def test_a_source_that_never_answers_does_not_hold_up_a_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "FIRST", 0.01)

    async def inside(world: World) -> None:
        world.shelf.never_answers = True
        world.kept.commit(3, b"3 good")
        begun = await asyncio.wait_for(world.feed.first(), 5)
        assert begun is not None

    run(tmp_path, inside)


def test_a_full_disk_leaves_the_old_policy_in_force(tmp_path: Path) -> None:
    async def inside(world: World) -> None:
        (tmp_path / "bundles").write_text("a file where the folder should be")
        world.shelf.put(3)
        await world.until(lambda: world.refusals == ["unavailable"])
        assert not world.in_force
        assert world.serials.highest == (0, "")

    run(tmp_path, inside)
