"""The telemetry listener of a sidecar that runs, and where it can be found: the file of this instance."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from sidecar import __version__
from sidecar.audit.retention import SUFFIXES
from sidecar.errors import StartError
from sidecar.events import Emit
from sidecar.http.endpoint import GetHandler
from sidecar.http.server import HttpServer
from sidecar.observe.endpoint import serve, telemetry
from sidecar.observe.policy_standing import PolicyStanding
from sidecar.serve.refusals import refusals
from sidecar.settings import Address, Settings, UnixSocket
from sidecar.system import instances, unix_socket
from sidecar.system.operator_log import fields, log, state

MOST_SAID: Final = 4_000
"""Characters that the file of an instance has of how its policy stands."""


async def listen(
    settings: Settings, instance: str, exposition: Callable[[str], tuple[bytes, str]],
    trouble: Callable[[], str | None], notes: Callable[[], list[str]], emit: Emit, stack: AsyncExitStack,
) -> str:  # fmt: skip
    """Serve telemetry until the stack is undone; its address as `http://HOST:PORT` or `unix:PATH`, empty for none.

    Many sidecars may run on one machine, and an address that is taken must not keep an agent from its tools: another
    one is used then. Raises `StartError` where the operator named the address of a listener.
    """
    wanted = settings.telemetry
    assert wanted is not None  # otherwise there is nothing to expose
    answer = telemetry(exposition, trouble, notes)
    allow_hosts = settings.listen.allow_hosts if settings.listen is not None else ()
    try:
        address, server = await _served(wanted, answer, allow_hosts)
    except OSError as error:
        if settings.telemetry_must:
            raise StartError(f"cannot listen on {wanted}: {error.strerror}; give another --telemetry") from None
        if error.errno != errno.EADDRINUSE:
            _say_none(wanted, error)
            return ""
        try:
            address, server = await _served(_beside(wanted, instance), answer, allow_hosts)
        except OSError as second:
            _say_none(wanted, second)
            return ""
        log.warning(
            "cannot listen on %s: %s; telemetry has another address: %s", wanted, error.strerror, address,
            extra=fields("telemetry_moved", address=address, cause=error.strerror),
        )  # fmt: skip
    server.turned_away = refusals(settings.server, "telemetry", emit)
    stack.push_async_callback(server.close)
    if isinstance(wanted, UnixSocket):
        stack.callback(unix_socket.removal(Path(address.removeprefix(instances.UNIX))))
    state.info(
        "telemetry on %s%s", address, "/metrics" if address.startswith("http") else "",
        extra=fields("telemetry", address=address),
    )  # fmt: skip
    return address


def note(settings: Settings, instance: str, telemetry: str, standing: PolicyStanding, stack: AsyncExitStack) -> None:
    """Write down that this sidecar runs, and how its policy stands, until the stack is undone.

    A folder that takes no file is a warning.
    """
    audit = settings.audit.to or str(settings.state_dir / "events" / f"{instance}{SUFFIXES[settings.audit.form]}")
    remote = settings.upstream
    one = instances.Instance(
        instance=instance, pid=os.getpid(), server=settings.server, version=__version__,
        started=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        transport=settings.listen.transport if settings.listen is not None else "stdio",
        upstream="stdio" if remote is None else "sse" if remote.legacy else "http",
        telemetry=telemetry, mode=standing.mode, says=_said(standing),
        audit=audit if audit in ("off", "stderr", "stdout") else str(Path(audit).absolute()),
    )  # fmt: skip
    try:
        noted = instances.note(str(settings.state_dir), one)
    except OSError as error:
        log.warning(
            "`sidecar health` and `sidecar status` cannot find this sidecar: cannot write in %s: %s",
            settings.state_dir / instances.FOLDER, error.strerror,
            extra=fields("instance_not_noted", cause=error.strerror),
        )  # fmt: skip
        return
    stack.callback(noted.close)

    def changed() -> None:
        try:
            noted.renew(one._replace(mode=standing.mode, says=_said(standing)))
        except OSError as error:
            log.warning(
                "`sidecar status` does not show what changed, and the mode is %s: cannot write in %s: %s",
                standing.mode, settings.state_dir / instances.FOLDER, error.strerror,
                extra=fields("instance_not_noted", cause=error.strerror),
            )  # fmt: skip

    standing.changed = changed
    stack.callback(standing.mute)


def _said(standing: PolicyStanding) -> str:
    return "\n".join(standing.notes())[:MOST_SAID]


def _say_none(wanted: Address | UnixSocket, error: OSError) -> None:
    log.warning(
        "no telemetry: cannot listen on %s: %s", wanted, error.strerror,
        extra=fields("telemetry_off", address=str(wanted), cause=error.strerror),
    )  # fmt: skip


async def _served(
    where: Address | UnixSocket, answer: GetHandler, allow_hosts: tuple[str, ...]
) -> tuple[str, HttpServer]:  # fmt: skip
    server = await serve(where, answer, allow_hosts)
    if isinstance(where, UnixSocket):
        return str(where), server
    host = f"[{where.host}]" if ":" in where.host else where.host
    return f"http://{host}:{server.port}", server


def _beside(taken: Address | UnixSocket, instance: str) -> Address | UnixSocket:
    """Another address of the same kind."""
    if isinstance(taken, UnixSocket):
        return UnixSocket(taken.path.with_name(f"{taken.path.name}.{instance}"))
    return Address(taken.host, 0)
