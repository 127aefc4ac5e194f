"""Builds everything from the settings and runs it: the engine, the store, the listeners, one client and its server."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import secrets
import signal
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import uvloop

from sidecar.events import Defect, Emit
from sidecar.policy.bundle import Bundle
from sidecar.policy.nothing import nothing
from sidecar.serve import approving, hangup, observing, runtime, stdio
from sidecar.serve.ending import End, Life
from sidecar.settings import Listen, Settings
from sidecar.system import defects
from sidecar.system.memory import memory, room_for
from sidecar.system.taken_secrets import TakenSecrets
from sidecar.upstream.connect import connector
from sidecar.upstream.failure import teller

Serve: TypeAlias = Callable[[runtime.Runtime, asyncio.Event], Coroutine[Any, Any, End]]
"""Serves until the end, or until it is asked to stop."""
Begin: TypeAlias = Callable[[AsyncExitStack, Emit], Coroutine[Any, Any, Serve]]
"""Starts what serving needs beside the engine. What it leaves on the stack is undone at the end."""

STDERR: Final = 2
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class Way:
    """A way to serve: `accepts` raises `StartError` for a policy that cannot be served under so."""

    accepts: Callable[[Bundle], None]
    begin: Begin


def run(settings: Settings, bundle: Bundle | None, opa: Path) -> int:
    """Run the sidecar on standard input and output, or as a listener, until it ends or is stopped; the exit status.

    Without a `bundle` the settings name a source of them. Raises `StartError` when the surroundings do not allow it.
    """
    # Or a signal of the kernel's, as SIGBUS where an index in shared memory was cut short, would end us without a word.
    faulthandler.enable(STDERR)
    stopped_by: list[int] = []
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            return runner.run(_run(settings, bundle, opa, stopped_by))
        except asyncio.CancelledError:
            if not stopped_by:
                raise
            return 128 + stopped_by[0]


async def _run(settings: Settings, bundle: Bundle | None, opa: Path, stopped_by: list[int]) -> int:
    _stop_while_starting(stopped_by)
    way = _on_stdio(settings) if settings.listen is None else _listening(settings.listen, settings)
    taken, server_runs = TakenSecrets(), False

    def accepts(bundle: Bundle) -> None:
        way.accepts(bundle)
        approving.check(bundle, taken, server_runs=server_runs)

    # Before the server is started: who has the webhook's secret can speak in our name.
    if bundle is not None:
        accepts(bundle)
    async with AsyncExitStack() as stack:
        observers = observing.observers(settings, opa, stack)
        life = Life(settings.server, observers.emit, stopped_by)
        stack.callback(life.over)
        _contain_defects(asyncio.get_running_loop(), settings.server, observers.emit)
        ledger = await runtime.ledger(settings, observers.state_dir, stack)
        feed = None
        if bundle is None:
            # Only here: what fetches and admits bundles takes long to import.
            from sidecar.serve import feeding  # noqa: PLC0415

            feed = feeding.feed(settings, opa, ledger, accepts, observers, stack)
            bundle = await feed.first() or nothing()
        # Before the engine, so that both begin at once.
        serve = await way.begin(stack, observers.emit)
        server_runs = bool(settings.command)
        policy = runtime.Policy(bundle, accepts, feed)
        built = await runtime.start(settings, policy, opa, observers, ledger, taken, stack)
        asked_to_stop = _asked_to_stop(stopped_by, built.asked_to_reload, observers.reopen)
        # What was made until now stays: looking through it again and again would hold up calls.
        gc.freeze()
        life.end = await serve(built, asked_to_stop)
        await built.gate.finish()
        built.gate.close()
        return life.end.status


def _on_stdio(settings: Settings) -> Way:
    room = room_for(settings.max_message, memory())
    connector(settings)  # says what cannot work before anything is started

    async def begin(stack: AsyncExitStack, emit: Emit) -> Serve:
        server = await connector(settings, room, teller(settings.server, emit))()
        stack.callback(server.close)
        return lambda built, asked_to_stop: stdio.serve(built, server, room, asked_to_stop)

    return Way(stdio.check_scopes, begin)


def _listening(listen: Listen, settings: Settings) -> Way:
    # Only here: on stdio nobody needs it, and it takes 40 ms to import.
    from sidecar.serve import listener  # noqa: PLC0415

    who = listener.who_calls(listen)
    connector(settings)  # says what cannot work before anything is started

    async def begin(stack: AsyncExitStack, _: Emit) -> Serve:
        await who.start()
        stack.push_async_callback(who.close)
        return lambda built, asked_to_stop: listener.serve(built, who, asked_to_stop)

    return Way(lambda bundle: listener.check_scopes(bundle, who), begin)


def _asked_to_stop(
    stopped_by: list[int], asked_to_reload: asyncio.Event, reopen: Callable[[], None]
) -> asyncio.Event:  # fmt: skip
    """Set when a signal asks us to end in good order; which one it was is noted. SIGHUP asks for something else."""
    loop, asked = asyncio.get_running_loop(), asyncio.Event()

    def stop(number: int) -> None:
        stopped_by.append(number)
        asked.set()

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop, number)
    hangup.listen_for(asked_to_reload, reopen, stop)
    return asked


def _stop_while_starting(stopped_by: list[int]) -> None:
    """Let a signal undo what was started so far; which one it was is noted."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def stop(number: int) -> None:
        stopped_by.append(number)
        task.cancel()

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop, number)


def _contain_defects(loop: asyncio.AbstractEventLoop, server: str, emit: Emit) -> None:
    """Have every defect of ours told and counted, whatever met it, and nothing ended but that."""

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error, trace = context.get("exception"), context.get(defects.TRACE)
        # A callback's name may hold what it was called with; where an error was raised is told anyway.
        what = context["message"] if trace or error is None else "in a callback of the event loop"
        emit(Defect(server, trace or secrets.token_hex(6), what, error))

    loop.set_exception_handler(handle)
