"""The table of sessions: whose they are, how many, and when they end."""

from __future__ import annotations

from sidecar.downstream.sessions import SPARE, Sessions, Table
from sidecar.errors import SidecarError


class TimedTable:
    """A table for three sessions with a clock that stands until it is set."""

    def __init__(self, each: int = 3) -> None:
        self.now = 1000.0
        self.ended: list[str] = []
        self.counts: list[int] = []
        self.sessions: Sessions[str] = Sessions(
            Table(lambda: self.now, self.counts.append, limit=3, each=each, idle=100.0), self.ended.append
        )

    def open(self, *names: str) -> None:
        for name in names:
            self.sessions.open(name, name, "alice", "alice")

    def has_room(self, holder: str = "alice") -> bool:
        try:
            self.sessions.make_room(holder)
        except SidecarError:
            return False
        return True


def test_a_session_is_found_by_its_own_caller_only() -> None:
    world = TimedTable()
    world.open("a")
    found = world.sessions.find("a", "alice")
    assert found is not None
    assert found.item == "a"
    assert (
        world.sessions.find("a", "mallory") is world.sessions.find("a", "") is world.sessions.find("b", "alice") is None
    )


def test_how_many_there_are_is_told_and_who_ends_hears_of_it_once() -> None:
    world = TimedTable()
    world.open("a", "b")
    world.sessions.close("a")
    world.sessions.close("a")
    world.sessions.end_all()
    assert (world.counts, world.ended) == ([1, 2, 1, 0], ["a", "b"])


def test_another_session_under_the_same_id_ends_the_first() -> None:
    world = TimedTable()
    world.open("a")
    world.sessions.open("a", "second", "mallory", "mallory")
    assert (world.ended, list(world.sessions)) == (["a"], ["second"])


def test_what_nobody_used_for_long_ends_and_what_is_used_does_not() -> None:
    world = TimedTable()
    world.open("a", "b", "c")
    opened = world.sessions.find("b", "alice")
    assert opened is not None
    with world.sessions.used(opened):
        world.now += 99
        world.sessions.end_idle()
        assert world.ended == []
        world.now += 1
        world.sessions.end_idle()
        assert world.ended == ["a", "c"]
    world.now += 99
    world.sessions.end_idle()
    assert world.ended == ["a", "c"]
    world.now += 1
    world.sessions.end_idle()
    assert world.ended == ["a", "c", "b"]


def test_when_there_are_too_many_only_the_one_that_was_idle_longest_makes_room() -> None:
    world = TimedTable()
    world.open("a", "b", "c")
    assert not world.has_room()
    opened = world.sessions.find("a", "alice")
    assert opened is not None
    with world.sessions.used(opened):
        world.now += SPARE
        assert world.has_room()
        assert world.ended == ["b"]


def test_a_session_in_use_never_makes_room() -> None:
    world = TimedTable()
    world.open("a", "b", "c")
    users = [
        world.sessions.used(opened) for name in "abc" if (opened := world.sessions.find(name, "alice")) is not None
    ]
    for user in users:
        user.__enter__()
    world.now += 10 * SPARE
    assert not world.has_room()
    assert world.ended == []


def test_a_session_that_ends_while_it_is_used_stays_ended() -> None:
    world = TimedTable()
    world.open("a")
    opened = world.sessions.find("a", "alice")
    assert opened is not None
    with world.sessions.used(opened):
        world.sessions.close("a")
    assert list(world.sessions) == []


def test_who_has_as_many_as_one_may_have_gets_no_more_and_others_do() -> None:
    world = TimedTable(each=2)
    world.open("a", "b")
    assert not world.has_room("alice")
    assert world.has_room("mallory")
    world.sessions.close("a")
    assert world.has_room("alice")


def test_room_that_is_kept_counts_for_whom_it_is_kept() -> None:
    world = TimedTable(each=2)
    world.sessions.reserve("alice")
    world.open("a")
    assert not world.has_room("alice")
    world.sessions.release("alice")
    assert world.has_room("alice")
    world.sessions.close("a")
    assert not world.sessions._held


def test_who_holds_too_many_makes_room_among_their_own_only() -> None:
    world = TimedTable(each=1)
    world.sessions.open("m", "m", "mallory", "mallory")
    world.now += SPARE
    world.open("a")
    assert not world.has_room("alice")
    world.now += SPARE
    assert world.has_room("alice")
    assert world.ended == ["a"]
