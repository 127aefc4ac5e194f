"""The audit log as the settings have it: opened, kept up while the sidecar runs, closed."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from sidecar.audit import retention, streams
from sidecar.audit.files import AuditFile, InUse, is_file
from sidecar.audit.forms.form import form_of
from sidecar.audit.retention import Retention
from sidecar.audit.trail import Trail
from sidecar.errors import StartError
from sidecar.events import AuditFailed, Emit
from sidecar.settings import AuditLog
from sidecar.system import tasks
from sidecar.system.operator_log import fields, log
from sidecar.text import of_system

LOOK: Final = 1.0
"""Seconds between two looks whether the file was moved, and whether what is lost can be noted."""
SWEEP: Final = 3_600.0
"""Seconds between two sweeps, where no file is put aside earlier."""
PATIENCE: Final = 1.0
"""Seconds that a start waits for the sidecar before it, which may be about to end."""


def trail(
    settings: AuditLog, state_dir: Path, about: Mapping[str, str], emit: Emit, stack: AsyncExitStack
) -> Trail | None:
    """Open the audit log, and keep it up until the end; None where none is wanted. Raises `StartError`.

    `about` names this sidecar: its `instance` and its `server`.
    """
    if settings.to == "off":
        return None
    target, rule = _target(settings, state_dir, about["instance"])
    full = asyncio.Event()

    def failed(lost: int, text: str) -> None:
        emit(AuditFailed(about["server"], lost, text))

    opened = Trail(target, form_of(settings.form), about, failed, full.set)
    stack.callback(opened.close)
    work = [tasks.lasting(lambda: _look(opened))]
    if rule is not None:
        work.append(tasks.lasting(lambda: _sweep(rule, full)))
    for task in work:
        stack.callback(task.cancel)
    return opened


def _target(settings: AuditLog, state_dir: Path, instance: str) -> tuple[AuditFile | streams.Stream, Retention | None]:
    """Where lines go, and what is swept there. Raises `StartError`."""
    if settings.to in ("stderr", "stdout"):
        return streams.standard((sys.stderr if settings.to == "stderr" else sys.stdout).fileno()), None
    form, keep, total = form_of(settings.form), settings.keep, settings.total
    folder = state_dir / "events"
    path = Path(settings.to) if settings.to else folder / f"{instance}{retention.SUFFIXES[settings.form]}"
    try:
        if not is_file(path):
            return streams.pipe(path), None
        file = AuditFile(path, form, settings.size, PATIENCE)
    except InUse as error:
        raise StartError(
            f"cannot write the audit log {of_system(str(path))}: {error.strerror}, and a file has one writer; "
            "stop that sidecar, or name another file with --audit"
        ) from None
    except OSError as error:
        raise StartError(
            f"cannot write the audit log {of_system(str(path))}: {error.strerror}; name another with --audit"
        ) from None
    rule = retention.of_file(file.path, keep, total) if settings.to else retention.of_runs(folder, keep, total)
    return file, rule


async def _look(opened: Trail) -> None:
    while True:
        await asyncio.sleep(LOOK)
        opened.reopen()


async def _sweep(rule: Retention, full: asyncio.Event) -> None:
    """Sweep at once, whenever a file was put aside, and every hour."""
    while True:
        full.clear()
        try:
            removed = await tasks.in_thread(lambda: retention.sweep(rule, time.time()))
        except OSError as error:
            log.warning(
                "cannot sweep the audit files in %s: %s", of_system(str(rule.folder)), error.strerror,
                extra=fields("audit_not_swept", cause=error.strerror),
            )  # fmt: skip
        else:
            for path in removed:
                name = of_system(str(path))
                log.info("removed the audit file %s", name, extra=fields("audit_file_removed", file=name))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(full.wait(), SWEEP)
