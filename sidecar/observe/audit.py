"""Events as an audit trail: one JSON line for each decision, with no argument value in it.

`arguments_hash` lets two lines about the same arguments be found; it is keyed with a secret of this installation,
because the bare hash of a PIN or a card number can be reversed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import secrets
import time
from pathlib import Path
from typing import IO, Final

import msgspec

from sidecar.caller import Caller
from sidecar.events import Decided, Event, Judged, Refused
from sidecar.jsonrpc import encode
from sidecar.text import shown

log = logging.getLogger("sidecar")

KEY_FILE: Final = "audit.key"


class _Violation(msgspec.Struct, frozen=True, gc=False):
    rule: str
    kind: str
    monitor: bool


class _Head(msgspec.Struct, frozen=True, gc=False):
    """What every line begins with. `principal` is there where somebody authenticated."""

    time: str
    event: str
    decision_id: str
    instance: str
    server: str
    session: str
    principal: str | msgspec.UnsetType


class _Decided(_Head, frozen=True, gc=False):
    """A decision on a call."""

    tool: str
    decision: str
    kind: str
    rule: str
    reason: str
    violations: list[_Violation]
    mode: str
    client: str
    arguments_hash: str
    revision: str
    serial: int
    engine_decision_id: str | None
    remembered: bool
    milliseconds: float


class _Refused(_Head, frozen=True, gc=False):
    """A message that could not be read."""

    decision: str
    kind: str
    reason: str
    code: int


class Audit:
    """Writes to `stream`, unbuffered; `key` keys the hashes of arguments, `instance` names this sidecar.

    Decisions that are made together are written together, and before any of their calls is forwarded.
    """

    hears = (Decided, Judged, Refused)

    def __init__(self, stream: IO[bytes], key: bytes, instance: str) -> None:
        self._stream = stream
        self._keyed = hashlib.blake2b(key=key, digest_size=16)
        self._instance = instance
        self._moment = 0
        self._stamp = ""
        self._lines: list[bytes] = []

    def hear(self, event: Event) -> None:
        """Write down a decision; other events are none."""
        if isinstance(event, Decided):
            self._lines.append(encode(self._decided(event)))
        elif isinstance(event, Judged):
            self._write()
        elif isinstance(event, Refused):
            line = _Refused(
                self._now(), "decision", event.decision_id, self._instance, event.server, event.caller.session,
                _principal(event.caller), "deny", "invalid_request", event.reason, event.code,
            )  # fmt: skip
            self._lines.append(encode(line))
            self._write()

    def _decided(self, event: Decided) -> _Decided:
        caller, call = event.caller, event.call
        hashed = self._keyed.copy()
        hashed.update(encode(call.arguments))
        # By position: of so many fields names would cost more than all else here.
        return _Decided(
            self._now(), "decision", event.decision_id, self._instance, event.server, caller.session,
            _principal(caller), shown(call.tool), "allow" if event.allowed else "deny", event.kind, event.rule,
            event.reason, [_Violation(item.rule, item.kind, item.monitor) for item in event.violations], event.mode,
            caller.client, hashed.hexdigest(), event.revision, event.serial, event.engine_id, event.remembered,
            round(event.seconds * 1000, 3),
        )  # fmt: skip

    def _now(self) -> str:
        """The time in UTC, to the millisecond; the same text for all of one millisecond."""
        moment = int(time.time() * 1000)
        if moment != self._moment:
            second, rest = divmod(moment, 1000)
            self._moment = moment
            self._stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))}.{rest:03d}Z"
        return self._stamp

    def _write(self) -> None:
        if not self._lines:
            return
        data = b"\n".join((*self._lines, b""))
        self._lines.clear()
        try:
            while data:
                # A pipe or a disk that is nearly full may take a part.
                data = data[self._written(data) :]
        except OSError as error:
            # A full disk must not lose a decision: the operator's log gets it until the file takes lines again.
            for line in data.decode(errors="replace").splitlines():
                log.error("cannot write the audit log: %s; the line is %s", error.strerror, line)

    def _written(self, data: bytes) -> int:
        """How much of it was written. Raises OSError when that is nothing."""
        written = self._stream.write(data)
        if not written:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return written


def _principal(caller: Caller) -> str | msgspec.UnsetType:
    return shown(caller.principal.subject) if caller.principal is not None else msgspec.UNSET


def installation_key(state_dir: Path) -> bytes:
    """The secret of this installation, made when first needed. Raises OSError when it cannot be kept."""
    path = state_dir / KEY_FILE
    if not path.exists():
        # Under another name first, then linked: of two sidecars that start at once, both use the key of the faster.
        draft = path.with_suffix(f".{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_bytes()
