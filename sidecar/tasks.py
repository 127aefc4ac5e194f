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


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.result()
