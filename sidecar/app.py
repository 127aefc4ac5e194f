"""Builds everything from the settings and runs it: the engine, the store, the listeners, one client and its server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import IO, Any, Final

import uvloop

from sidecar import tasks
from sidecar.caller import Caller
from sidecar.downstream.stdio import StdioClient
from sidecar.enforce import Gate
from sidecar.engine import binary
from sidecar.engine.engine import Engine
from sidecar.engine.local import LocalEngine, local_engine
from sidecar.engine.remote import remote_engine
from sidecar.errors import StartError, StoreUnavailable
from sidecar.events import Emit, Listener, fan_out
from sidecar.ledger.sqlite import SqliteLedger
from sidecar.ledger.values import Ledger
from sidecar.listener import Listener as HttpListener
from sidecar.observe.audit import Audit, installation_key
from sidecar.observe.log import Log
from sidecar.policy.bundle import Bundle
from sidecar.reload import Reloader
from sidecar.session import Route, Session
from sidecar.settings import Address, Settings
from sidecar.telemetry import telemetry
from sidecar.text import visible
from sidecar.upstream.child import ChildServer

log = logging.getLogger("sidecar")
state = logging.getLogger("sidecar.state")

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
JUDGE_SECONDS: Final = 0.3
"""How long calls that are being judged when the client goes may still take."""
FLUSH_SECONDS: Final = 0.5
"""How long what waits for the client may take to be written at the end."""


def run(settings: Settings, bundle: Bundle, opa: Path) -> int:
    """Serve one client on standard input and output until it or the server ends; the exit status.

    Raises `StartError` when the surroundings do not allow it.
    """
    stopped_by: list[int] = []
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            return runner.run(_run(settings, bundle, opa, stopped_by))
        except asyncio.CancelledError:
            if not stopped_by:
                raise
            return 128 + stopped_by[0]


async def _run(settings: Settings, bundle: Bundle, opa: Path, stopped_by: list[int]) -> int:
    _stop_while_starting(stopped_by)
    _check_scopes(bundle)
    instance = secrets.token_hex(4)
    async with AsyncExitStack() as stack:
        state_dir = _state_dir(settings.state_dir)
        listeners: list[Listener] = [Log().hear]
        stream = _audit_stream(settings.audit, state_dir, instance)
        if stream is not None:
            stack.callback(stream.close)
            listeners.append(Audit(stream, _key(state_dir), instance).hear)
        metrics = _metrics(settings, opa)
        if metrics is not None:
            listeners.append(metrics.hear)
        emit = fan_out(listeners)
        ledger = await _ledger(settings, state_dir)
        stack.push_async_callback(ledger.close)
        server = await ChildServer.start(settings.command, settings.max_message)
        stack.callback(server.close)
        local = await stack.enter_async_context(_engine(settings, opa, bundle, emit))
        if metrics is not None and settings.telemetry is not None:
            await stack.enter_async_context(_telemetry(settings.telemetry, metrics.exposition, local.engine))
        gate = Gate(
            server=settings.server, instance=instance, engine=local.engine, ledger=ledger, emit=emit,
            mode=settings.mode, fail_open=settings.fail_open,
        )  # fmt: skip
        _say_exceptions(settings, bundle)
        status = await _relay(settings, opa, local, gate, server, emit, instance)
        await gate.finish()
        return status


async def _relay(
    settings: Settings, opa: Path, local: LocalEngine, gate: Gate, server: ChildServer, emit: Emit, session_id: str
) -> int:
    """Pass messages until the client goes, the server ends, or a signal comes; then end all in good order."""
    loop = asyncio.get_running_loop()
    asked_to_stop, client_gone = asyncio.Event(), asyncio.Event()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, asked_to_stop.set)
    failed = _stop_on_defect(loop, asked_to_stop)

    # Whoever cannot keep up stops the other, so nothing is heaped up here; our refusals fill the client's pipe too.
    full: set[str] = set()

    def client_is_full(now: bool) -> None:
        (full.add if now else full.discard)("client")
        server.pause(now)
        client.pause(bool(full))

    def server_is_full(now: bool) -> None:
        (full.add if now else full.discard)("server")
        client.pause(bool(full))

    client = StdioClient(settings.max_message, full=client_is_full, gone=client_gone.set)
    session = Session(
        server=settings.server, caller=Caller(session_id), gate=gate, emit=emit,
        route=Route(client.send, server.send),
    )  # fmt: skip
    server.begin(session.from_server, full=server_is_full)
    await client.open(sys.stdin.buffer, sys.stdout.buffer, session.from_client)
    state.info("ready")

    def changed(old: Bundle, new: Bundle) -> None:
        if gate.hidden_by(old) != gate.hidden_by(new):
            session.tools_changed()
        if old.terms.monitor != new.terms.monitor:
            _say_mode(settings, new)

    reloader = Reloader(
        settings.policies, opa, settings.server, settings.policies_seen, local, emit, _check_scopes, changed
    )
    watching = tasks.start(reloader.watch()) if settings.watch else None
    ended = asyncio.create_task(server.ended())
    waits = [ended, *(asyncio.create_task(event.wait()) for event in (asked_to_stop, client_gone))]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    if client_gone.is_set() and not asked_to_stop.is_set():
        # What came before the end of the input is judged, and forwarded or answered.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(JUDGE_SECONDS):
                await gate.finish()
    status = ended.result() if ended.done() else await server.stop(ask=asked_to_stop.is_set())
    for task in (*waits, *([watching] if watching else [])):
        task.cancel()
    session.server_ended()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(JUDGE_SECONDS):
            await gate.finish()  # lists that are being filtered, refusals that are being made
    await client.close(FLUSH_SECONDS)
    return 1 if failed() else status


def _stop_while_starting(stopped_by: list[int]) -> None:
    """Let a signal undo what was started so far; which one it was is noted."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def stop(number: int) -> None:
        stopped_by.append(number)
        task.cancel()

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop, number)


def _stop_on_defect(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> Callable[[], bool]:
    """Let a defect of ours end everything rather than leave a part out; the result tells whether one did."""
    seen: list[str] = []

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        seen.append(context["message"])
        log.critical("internal error, stopping: %s", context["message"], exc_info=context.get("exception"))
        stop.set()

    loop.set_exception_handler(handle)
    return lambda: bool(seen)


# Parts.


def _say_mode(settings: Settings, bundle: Bundle) -> None:
    if (settings.mode or ("monitor" if bundle.terms.monitor else "enforce")) == "monitor":
        log.warning("monitor mode: every call is forwarded, whatever policy says of it")


def _check_scopes(bundle: Bundle) -> None:
    if "principal" in bundle.terms.scopes:
        raise StartError(
            "scope: principal needs callers that authenticate themselves: write session or global on stdio"
        )


def _say_exceptions(settings: Settings, bundle: Bundle) -> None:
    """What the operator chose that lets calls pass."""
    _say_mode(settings, bundle)
    if settings.fail_open:
        log.warning("--state-fail-mode open: calls pass uncounted while the store cannot be used")


def _state_dir(path: Path) -> Path:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        (path / "events").mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StartError(
            f"cannot write the state folder {path}: {error.strerror}; name another with --state-dir"
        ) from None
    return path


def _audit_stream(audit: str | None, state_dir: Path, instance: str) -> IO[bytes] | None:
    if audit == "off":
        return None
    if audit == "stderr":
        return open(sys.stderr.fileno(), "wb", buffering=0, closefd=False)
    path = Path(audit) if audit else state_dir / "events" / f"{instance}.jsonl"
    try:
        return path.open("ab", buffering=0)
    except OSError as error:
        raise StartError(f"cannot write the audit log {path}: {error.strerror}; name another with --audit") from None


def _key(state_dir: Path) -> bytes:
    try:
        return installation_key(state_dir)
    except OSError as error:
        raise StartError(
            f"cannot write in {state_dir}: {error.strerror}; name another folder with --state-dir"
        ) from None


async def _ledger(settings: Settings, state_dir: Path) -> Ledger:
    if settings.state_dsn is None:
        try:
            return SqliteLedger(state_dir / "counters.db", time.time)
        except StoreUnavailable as error:
            raise StartError(f"{error}; choose another folder with --state-dir") from None
    # Only here: the library takes 130 ms to import.
    from sidecar.ledger.redis import RedisLedger  # noqa: PLC0415

    try:
        ledger = RedisLedger(settings.state_dsn, settings.state_prefix, time.time)
        await ledger.check()
    except StoreUnavailable as error:
        raise StartError(f"--state-dsn: {error}") from None
    return ledger


def _engine(settings: Settings, opa: Path, bundle: Bundle, emit: Emit) -> AbstractAsyncContextManager[LocalEngine]:
    """The engine that decides: an OPA of our own, or the one that somebody else started."""
    if settings.remote_opa is not None:
        return remote_engine(
            settings.remote_opa, bundle, server=settings.server, timeout=settings.opa_timeout,
            remember=settings.remember, emit=emit,
        )  # fmt: skip
    return local_engine(
        opa, bundle, server=settings.server, timeout=settings.opa_timeout, remember=settings.remember,
        emit=emit, said=lambda line: log.warning("opa: %s", visible(line)),
    )  # fmt: skip


def _metrics(settings: Settings, opa: Path) -> Any:
    if settings.telemetry is None:
        return None
    # Only here: the library takes 60 ms to import, and nobody asked for metrics otherwise.
    from sidecar.observe.metrics import Metrics  # noqa: PLC0415

    return Metrics(settings.server, binary.version_of(opa))


@asynccontextmanager
async def _telemetry(
    address: Address, exposition: Callable[[str], tuple[bytes, str]], engine: Engine
) -> AsyncIterator[None]:  # fmt: skip
    handler = telemetry(exposition, lambda: engine.trouble)
    try:
        listener = await HttpListener.start(address.host, address.port, handler)
    except OSError as error:
        # On stdio many sidecars run on one machine; a port that is taken must not keep an agent from its tools.
        log.warning("no telemetry: cannot listen on %s: %s", address, error.strerror)
        yield
        return
    state.info("telemetry on http://%s:%d/metrics", address.host, listener.port)
    try:
        yield
    finally:
        await listener.close()
