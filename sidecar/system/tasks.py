"""Background tasks whose exceptions reach the event loop's exception handler."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import errno
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from sidecar.system import defects

LEAVE: Final = 1.0
"""Seconds that our exit waits for a thread whose result nobody wants any more, so that it can clean up."""
PAUSE: Final = 1.0
"""Seconds before a lasting task is started again after a defect."""

Result = TypeVar("Result")


def start(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run `work` as a task; what it raises reaches the event loop's exception handler at once.

    The caller has to keep a reference to the task: nothing else does.
    """
    task = asyncio.get_running_loop().create_task(work)
    task.add_done_callback(_ended)
    return task


async def pause(seconds: float | None, bell: asyncio.Event) -> bool:
    """Wait for so many seconds, without end for None, or until the bell rings: True if it does. It is silent then."""
    try:
        async with asyncio.timeout(seconds):
            await bell.wait()
    except TimeoutError:
        return False
    bell.clear()
    return True


async def in_thread(work: Callable[[], Result]) -> Result:
    """What `work` returns or raises, run in a thread of its own. Raises OSError if no thread can be started.

    Unlike a thread of `asyncio.to_thread` it does not delay our exit: it may wait for something that never comes.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[Result] = loop.create_future()

    def run() -> None:
        try:
            found = work()
        except Exception as error:  # noqa: BLE001 - it is raised where the result is awaited
            _call(loop, _fail, result, error)
        else:
            _call(loop, _succeed, result, found)

    thread = threading.Thread(target=run, daemon=True)
    try:
        thread.start()
    except RuntimeError:  # a limit on processes or memory, which may be temporary
        raise BlockingIOError(
            errno.EAGAIN, "no thread can be started: processes or memory are at their limit"
        ) from None
    try:
        return await result
    except asyncio.CancelledError:
        atexit.register(thread.join, LEAVE)
        raise


async def in_thread_if_can_be(work: Callable[[], Result]) -> Result:
    """The same, but without an error: where no thread can be started, the event loop waits for the work."""
    try:
        return await in_thread(work)
    except BlockingIOError:  # better late than never
        return work()


def lasting(work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
    """Run as a task what has to last: a defect that ends it is reported, and it starts again after a pause."""
    return start(_again_and_again(work))


class Group:
    """Background tasks that are awaited together in the end."""

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
        """Wait for the tasks that run now."""
        if self._tasks:
            await asyncio.wait(self._tasks)


async def _again_and_again(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    while True:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - it is reported, whatever it is
            defects.tell("a part that serves everybody ended, and begins again", error)
            await asyncio.sleep(PAUSE)
        else:
            return


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.result()


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: Any) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(function, *arguments)


def _succeed(result: asyncio.Future[Result], found: Result) -> None:
    if not result.done():
        result.set_result(found)


def _fail(result: asyncio.Future[Any], error: Exception) -> None:
    if not result.done():
        result.set_exception(error)
