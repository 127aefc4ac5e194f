"""Which pages of lists of tools belong together: only those that were asked for one after the other."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.events import Listed
from sidecar.session.pages import MAX_CURSOR
from tests.session.fakes import ObservedSession, encoded


def page(world: ObservedSession, id_: int, cursor: Any = None, following: Any = None) -> Listed:
    """Ask for a page and get it: what is told of it. The one tool on it has the name of its cursor."""
    ask(world, id_, cursor)
    return answer(world, id_, str(cursor), following)


def ask(world: ObservedSession, id_: int, cursor: Any = None) -> None:
    world.ask(id_, "tools/list", **({} if cursor is None else {"cursor": cursor}))


def answer(world: ObservedSession, id_: int, tool: str, following: Any = None) -> Listed:
    more = {} if following is None else {"nextCursor": following}
    world.answer(id_, result={"tools": [{"name": tool}], **more})
    event = world.events[-1]
    assert isinstance(event, Listed)
    return event


def belong(*pages: Listed) -> bool:
    """True where these are one whole list."""
    numbers = {one.walk for one in pages}
    return (
        numbers != {0}
        and len(numbers) == 1
        and [one.page for one in pages] == list(range(1, len(pages) + 1))
        and [one.last for one in pages] == [False] * (len(pages) - 1) + [True]
    )


def test_pages_that_were_asked_for_one_after_the_other_are_a_list() -> None:
    world = ObservedSession()
    for at in (0, 10):  # each list is another one
        pages = [page(world, at, None, "2"), page(world, at + 1, "2", "3"), page(world, at + 2, "3")]
        assert belong(*pages)
    assert not any(one.whole for one in pages)


def test_a_list_on_one_page_is_whole() -> None:
    assert page(ObservedSession(), 1) == Listed("stub", ["None"], whole=True, definitions=[{"name": "None"}])


def test_a_page_that_was_asked_for_by_another_cursor_belongs_to_none() -> None:
    world = ObservedSession()
    first = page(world, 1, None, "2")
    assert page(world, 2, "9").walk == 0
    assert belong(first, page(world, 3, "2"))
    assert page(world, 4, "2").walk == 0  # once more, perhaps of a list that changed meanwhile


def test_a_page_that_was_asked_for_before_its_cursor_was_known_belongs_to_none() -> None:
    world = ObservedSession()
    ask(world, 1)
    ask(world, 2, "2")
    answer(world, 1, "a", "2")
    assert answer(world, 2, "b").walk == 0


def test_two_lists_at_once_are_not_mixed() -> None:
    world = ObservedSession()
    ask(world, 1)
    ask(world, 2)
    assert answer(world, 1, "a", "2").walk == 0
    second = answer(world, 2, "b", "2")
    assert belong(second, page(world, 3, "2"))


def test_two_sessions_with_the_same_cursors_are_not_mixed() -> None:
    one, other = ObservedSession(), ObservedSession()
    first, begun = page(one, 1, None, "2"), page(other, 1, None, "2")
    assert belong(begun, page(other, 2, "2"))
    assert belong(first, page(one, 2, "2"))
    assert first.walk != begun.walk


@pytest.mark.parametrize("cursor", [2, True, {}, [], "", "x" * (MAX_CURSOR + 1)], ids=lambda value: str(value)[:4])
def test_a_list_whose_next_cursor_nobody_could_follow_with_certainty_has_no_end(cursor: Any) -> None:
    world = ObservedSession()
    first = page(world, 1, None, cursor)
    assert (first.whole, first.last) == (False, False)
    assert not belong(first, page(world, 2, cursor))


def test_a_change_that_the_server_tells_between_two_pages_ends_the_list() -> None:
    changed = encoded(method="notifications/tools/list_changed")
    world = ObservedSession()
    first = page(world, 1, None, "2")
    world.session.from_server(changed)
    assert page(world, 2, "2").walk == 0
    first = page(world, 3, None, "2")
    ask(world, 4, "2")
    world.session.from_server(changed)
    assert not belong(first, answer(world, 4, "b"))
    assert belong(page(world, 5, None, "2"), page(world, 6, "2"))


@pytest.mark.parametrize("result", [{}, {"tools": {}}, {"tools": None}, []])
def test_an_answer_without_a_list_is_neither_whole_nor_the_end_of_one(result: Any) -> None:
    world = ObservedSession()
    for cursor in ({}, {"cursor": "2"}):
        if cursor:
            page(world, 1, None, "2")
        world.ask(2, "tools/list", **cursor)
        world.answer(2, result=result)
        assert world.events[-1] == Listed("stub", [], whole=False)
