"""Events as an audit trail: one JSON line for each decision, with no argument value in it.

`arguments_hash` lets two lines about the same arguments be found; it is keyed with a secret of this installation,
because the bare hash of a PIN or a card number can be reversed.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import secrets
import time
from pathlib import Path
from typing import IO, Final

import msgspec

from sidecar.caller import Caller
from sidecar.events import Decided, Event, Refused
from sidecar.jsonrpc import encode
from sidecar.text import shown

log = logging.getLogger("sidecar")

KEY_FILE: Final = "audit.key"


class _Violation(msgspec.Struct, frozen=True, gc=False):
    rule: str
    kind: str
    monitor: bool


class _Head(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What every line begins with. `principal` is there where somebody authenticated."""

    time: str
    event: str = "decision"
    decision_id: str
    instance: str
    server: str
    session: str
    principal: str | msgspec.UnsetType = msgspec.UNSET


class _Decided(_Head, frozen=True, gc=False, kw_only=True):
    """A decision on a call."""

    tool: str
    decision: str
    kind: str
    rule: str
    reason: str
    violations: tuple[_Violation, ...]
    mode: str
    client: str
    arguments_hash: str
    revision: str
    serial: int
    engine_decision_id: str | None
    remembered: bool
    milliseconds: float


class _Refused(_Head, frozen=True, gc=False, kw_only=True):
    """A message that could not be read."""

    decision: str
    kind: str
    reason: str
    code: int


class Audit:
    """Writes to `stream`, unbuffered; `key` keys the hashes of arguments, `instance` names this sidecar."""

    def __init__(self, stream: IO[bytes], key: bytes, instance: str) -> None:
        self._stream = stream
        self._key = key
        self._instance = instance
        self._second = 0
        self._stamp = ""

    def hear(self, event: Event) -> None:
        """Write down a decision; other events are none."""
        if isinstance(event, Decided):
            self._write(self._decided(event))
        elif isinstance(event, Refused):
            self._write(
                _Refused(
                    time=self._now(), decision_id=event.decision_id, instance=self._instance, server=event.server,
                    session=event.caller.session, principal=_principal(event.caller), decision="deny",
                    kind="invalid_request", reason=event.reason, code=event.code,
                )
            )  # fmt: skip

    def _decided(self, event: Decided) -> _Decided:
        caller = event.caller
        return _Decided(
            time=self._now(),
            decision_id=event.decision_id,
            instance=self._instance,
            server=event.server,
            session=caller.session,
            principal=_principal(caller),
            tool=shown(event.call.tool),
            decision="allow" if event.allowed else "deny",
            kind=event.kind,
            rule=event.rule,
            reason=event.reason,
            violations=tuple(_Violation(item.rule, item.kind, item.monitor) for item in event.violations),
            mode=event.mode,
            client=caller.client,
            arguments_hash=hashlib.blake2b(encode(event.call.arguments), key=self._key, digest_size=16).hexdigest(),
            revision=event.revision,
            serial=event.serial,
            engine_decision_id=event.engine_id,
            remembered=event.remembered,
            milliseconds=round(event.seconds * 1000, 3),
        )

    def _now(self) -> str:
        """The time in UTC, to the millisecond; all but that is worked out once a second."""
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second, self._stamp = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._stamp}.{int(now % 1 * 1000):03d}Z"

    def _write(self, line: _Head) -> None:
        data = encode(line) + b"\n"
        try:
            self._stream.write(data)
        except OSError as error:
            # A full disk must not lose a decision: the operator's log gets it until the file takes lines again.
            log.error("cannot write the audit log: %s; the line is %s", error.strerror, data.decode().rstrip())


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
