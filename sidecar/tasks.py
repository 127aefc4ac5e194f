"""Tasks in the background whose defects are not lost."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


def start(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run `work` as a task; what it raises reaches the event loop's exception handler at once.

    The caller keeps the task: nothing else does.
    """
    task = asyncio.get_running_loop().create_task(work)
    task.add_done_callback(_ended)
    return task


class Group:
    """Work in the background that somebody waits for in the end."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` as a task of the group."""
        task = start(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def wait(self) -> None:
        """Wait for what is under way now."""
        if self._tasks:
            await asyncio.wait(self._tasks)


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.result()
