"""The whole list of the server's tools, put together from the pages that it comes in. Bounded in all that is kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple

from sidecar.events import Listed

MOST_TOOLS: Final = 10_000
"""Tools of a list that are kept."""
MOST_CHARACTERS: Final = 512 << 10
"""Characters of their names that are kept."""
MOST_OPEN: Final = 100
"""Lists that may lack pages at once."""


class WholeList(NamedTuple):
    """All tools that the server listed; none is kept of a list that is `too_long`."""

    tools: frozenset[str]
    too_long: bool


class _Walk(NamedTuple):
    """The pages of a list that came so far; none of their tools where the list is too long."""

    page: int
    tools: tuple[str, ...]
    characters: int
    too_long: bool


class Pages:
    """Puts pages together. The lists that still lack pages have together the bounds of one, and the oldest goes first.

    A server can page for ever, and a client can stop at any page.
    """

    def __init__(self) -> None:
        self._open: OrderedDict[int, _Walk] = OrderedDict()
        self._tools = 0
        self._characters = 0

    def whole(self, event: Listed) -> WholeList | None:
        """The list that is whole with this page; None where it is not, or a page of it is not known any more."""
        if event.whole:
            return _whole(_walk(1, event.tools))
        before = self._take(event.walk) if event.page > 1 else _NOTHING
        if not event.walk or before is None or before.page + 1 != event.page:
            return None
        walk = _walk(event.page, (*before.tools, *event.tools), too_long=before.too_long)
        if event.last:
            return _whole(walk)
        self._keep(event.walk, walk)
        return None

    def _take(self, number: int) -> _Walk | None:
        walk = self._open.pop(number, None)
        if walk is not None:
            self._tools -= len(walk.tools)
            self._characters -= walk.characters
        return walk

    def _keep(self, number: int, walk: _Walk) -> None:
        self._open[number] = walk
        self._tools += len(walk.tools)
        self._characters += walk.characters
        while len(self._open) > MOST_OPEN or self._tools > MOST_TOOLS or self._characters > MOST_CHARACTERS:
            self._take(next(iter(self._open)))


_NOTHING: Final = _Walk(0, (), 0, too_long=False)


def _walk(page: int, tools: Sequence[str], *, too_long: bool = False) -> _Walk:
    characters = sum(map(len, tools))
    if too_long or len(tools) > MOST_TOOLS or characters > MOST_CHARACTERS:
        return _Walk(page, (), 0, too_long=True)
    return _Walk(page, tuple(tools), characters, too_long=False)


def _whole(walk: _Walk) -> WholeList:
    return WholeList(frozenset(walk.tools), walk.too_long)
