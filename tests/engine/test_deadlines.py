"""What waits too long is found in the order of the deadlines, whatever the order in which it came."""

from __future__ import annotations

import asyncio
from time import monotonic

import uvloop

from sidecar.engine.deadlines import Deadlines
from tests.engine.asking import soon


class Waits:
    """Something that waits for so many seconds."""

    def __init__(self, name: str, seconds: float) -> None:
        self.name = name
        self.deadline = monotonic() + seconds
        self.is_open = True


def test_what_comes_later_and_is_late_earlier_is_found_in_time() -> None:
    async def test() -> None:
        late: list[str] = []
        watched = Deadlines[Waits](lambda item: late.append(item.name))
        for item in (Waits("third", 3600), Waits("second", 0.02), Waits("first", 0.01), Waits("last", 7200)):
            watched.add(item)
        await soon(lambda: len(late) == 2)
        assert late == ["first", "second"]
        assert [item.name for item in watched._waiting] == ["third", "last"]
        watched.close()

    asyncio.run(test())
    uvloop.run(test())
