"""Which pages of lists of tools follow one another in a session, so that together they are one whole list."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Final

MAX_CURSOR: Final = 4_096
"""Characters of a cursor that is kept: a server chooses how long it is."""
_WALKS: Final = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a page: which page of which walk, each from 1. No two walks of this process have one number."""

    walk: int
    page: int


class Pages:
    """The walk of a session's client through the newest list: from its first page, each page by the cursor before it.

    Only a page that was asked for with the cursor of the answer before it goes on with the walk. Two lists that are
    asked for at once are not mixed by that: the first is no walk any more once the second is asked for.
    """

    __slots__ = ("_next", "_place")

    def __init__(self) -> None:
        self._place: Place | None = None
        self._next = ""

    def asked(self, cursor: Any) -> Place | None:
        """The place of the page that is asked for now; None where nobody can say what it goes on with."""
        if not cursor:
            self._place = Place(next(_WALKS), 1)
        elif self._place is not None and type(cursor) is str and cursor == self._next:
            self._place = Place(self._place.walk, self._place.page + 1)
        else:
            return None
        self._next = ""
        return self._place

    def answered(self, place: Place | None, cursor: Any) -> Place | None:
        """The place, where the answer, with the `cursor` of the next page, still belongs to the walk; else None."""
        if place is None or place != self._place:
            return None
        if type(cursor) is str and len(cursor) <= MAX_CURSOR:
            self._next = cursor
        return place

    def changed(self) -> None:
        """The server says that its tools changed: pages from before and after are not one list."""
        self._place = None
