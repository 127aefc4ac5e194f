"""Everybody who hears of events, as the settings say: log, audit log, metrics, spans, a candidate, recordings."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sidecar.audit.key import installation_key
from sidecar.audit.records import Audit
from sidecar.engine import binary
from sidecar.errors import StartError
from sidecar.events import Emit, Event, Observer, fan_out
from sidecar.ledger.protocol import Ledger
from sidecar.observe.comparison import Comparison
from sidecar.observe.log.observer import Log
from sidecar.observe.policy_standing import PolicyStanding
from sidecar.observe.readiness import Readiness
from sidecar.serve import auditing
from sidecar.serve.recording import recorder_to
from sidecar.session.reading import Reader
from sidecar.settings import Settings
from sidecar.system import ownership
from sidecar.system.workload import workload

if TYPE_CHECKING:
    from sidecar.rehearsal.shadow.candidate import Candidate


@dataclass(frozen=True, slots=True)
class Observers:
    """Everybody who hears of events (`emit`), and our own name among all sidecars."""

    instance: str
    state_dir: Path
    emit: Emit
    reader: Reader
    exposition: Callable[[str], tuple[bytes, str]] | None
    follow: Callable[[Ledger], Coroutine[Any, Any, None]] | None
    """Looks without end where limits stand in the store, for the metrics; None without them."""
    trouble: Callable[[], str | None]
    notes: Callable[[], list[str]]
    standing: PolicyStanding
    candidate: Candidate | None
    reopen: Callable[[], None]
    """Goes on in another audit file where this one was moved away."""


def observers(settings: Settings, opa: Path, stack: AsyncExitStack) -> Observers:
    """Open the log, the audit log and the metrics. Raises `StartError`."""
    instance = secrets.token_hex(4)
    state_dir = state_folder(settings.state_dir)
    comparison = Comparison()
    standing = PolicyStanding(settings.mode, comparison)
    heard_by: list[Observer] = [comparison, Log(comparison), standing]
    reader = Reader()

    def tell(event: Event) -> None:
        emit(event)

    about = {"instance": instance, "server": settings.server}
    trail = auditing.trail(settings.audit, state_dir, about, tell, stack)
    audit = None
    if trail is not None:
        audit = Audit(trail, _key(state_dir), instance, asyncio.get_running_loop().call_later)
        stack.callback(audit.close)
        heard_by.append(audit)
        reader = Reader(audit.prepare)
    metrics = _metrics(settings, opa)
    readiness = Readiness(time.monotonic)
    if metrics is not None:
        heard_by += [metrics, readiness]
        if audit is not None:
            metrics.audit.written = audit.written
    candidate = _candidate(settings, opa)
    if candidate is not None:
        heard_by.append(candidate)
    if settings.otlp is not None:
        # Only here: nobody else needs it.
        from sidecar.serve import tracing  # noqa: PLC0415

        heard_by.append(tracing.spans_to(settings.otlp, settings.server, instance, tell, stack))
    if settings.recording is not None:
        recorder = recorder_to(settings.recording, settings.server, _key(state_dir), tell)
        stack.callback(recorder.close)
        heard_by.append(recorder)
    emit = fan_out(heard_by, needed=audit)
    exposition, follow = (metrics.exposition, metrics.follow) if metrics is not None else (None, None)
    return Observers(
        instance, state_dir, emit, reader, exposition, follow, readiness.trouble,
        lambda: [*standing.notes(), *readiness.notes()], standing, candidate,
        reopen=trail.reopen if trail is not None else _nothing,
    )  # fmt: skip


def _candidate(settings: Settings, opa: Path) -> Candidate | None:
    if settings.shadow is None:
        return None
    # Only here: what judges a candidate takes some milliseconds to import.
    from sidecar.rehearsal.shadow.candidate import Candidate  # noqa: PLC0415

    return Candidate(settings.shadow, opa, settings.server, workload(os.environ))


def _nothing() -> None:
    """There is no audit log to open anew."""


def state_folder(path: Path) -> Path:
    """The state folder, made where it is not there. Raises `StartError` unless it is ours to write."""
    try:
        _make(path)
        ownership.check(path, "the state folder (--state-dir)")
        _make(path / "events")
    except OSError as error:
        raise StartError(
            f"cannot write the state folder {path}: {error.strerror}; name another with --state-dir"
        ) from None
    return path


def _make(folder: Path) -> None:
    """Make a folder that is ours alone, and the folders that it is in, where they are not there."""
    if not folder.exists():
        _make(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _key(state_dir: Path) -> bytes:
    try:
        return installation_key(state_dir)
    except OSError as error:
        raise StartError(
            f"cannot write in {state_dir}: {error.strerror}; name another folder with --state-dir"
        ) from None


def _metrics(settings: Settings, opa: Path) -> Any:
    if settings.telemetry is None:
        return None
    # Only here: the library takes 60 ms to import, and nobody asked for metrics otherwise.
    from sidecar.observe.metrics import Chosen, Metrics  # noqa: PLC0415

    chose = Chosen(settings.mode, settings.remember, settings.fail_open)
    return Metrics(settings.server, binary.version_of(opa), chose=chose)
