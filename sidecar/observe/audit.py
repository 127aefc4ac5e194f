"""Events as an audit trail: one JSON line for each decision, with no argument value in it.

`arguments_hash` lets two lines about the same arguments be found; it is keyed with a secret of this installation,
because the bare hash of a PIN or a card number can be reversed.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import logging
import os
import secrets
import time
from pathlib import Path
from typing import IO, Any, Final

from sidecar.caller import Caller
from sidecar.events import Decided, Event, Refused
from sidecar.jsonrpc import encode
from sidecar.text import shown

log = logging.getLogger("sidecar")

KEY_FILE: Final = "audit.key"


class Audit:
    """Writes to `stream`, unbuffered; `key` keys the hashes of arguments, `instance` names this sidecar."""

    def __init__(self, stream: IO[bytes], key: bytes, instance: str) -> None:
        self._stream = stream
        self._key = key
        self._instance = instance

    def hear(self, event: Event) -> None:
        """Write down a decision; other events are none."""
        match event:
            case Decided():
                self._write(event.decision_id, event.server, event.caller, self._decided(event))
            case Refused():
                what = {"decision": "deny", "kind": "invalid_request", "reason": event.reason, "code": event.code}
                self._write(event.decision_id, event.server, event.caller, what)
            case _:
                pass

    def _decided(self, event: Decided) -> dict[str, Any]:
        arguments = encode(event.call.arguments)
        return {
            "tool": shown(event.call.tool),
            "decision": "allow" if event.allowed else "deny",
            "kind": event.kind,
            "rule": event.rule,
            "reason": event.reason,
            "violations": [
                {"rule": item.rule, "kind": item.kind, "monitor": item.monitor} for item in event.violations
            ],
            "mode": event.mode,
            "client": event.caller.client,
            "arguments_hash": hmac.new(self._key, arguments, hashlib.sha256).hexdigest()[:32],
            "revision": event.revision,
            "serial": event.serial,
            "engine_decision_id": event.engine_id,
            "remembered": event.remembered,
            "milliseconds": round(event.seconds * 1000, 3),
        }

    def _write(self, decision_id: str, server: str, caller: Caller, what: dict[str, Any]) -> None:
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
        head = {
            "time": stamp, "event": "decision", "decision_id": decision_id, "instance": self._instance,
            "server": server, "session": caller.session,
        }  # fmt: skip
        if caller.principal is not None:
            head["principal"] = shown(caller.principal.subject)
        line = encode(head | what) + b"\n"
        try:
            self._stream.write(line)
        except OSError as error:
            # A full disk must not lose a decision: the operator's log gets it until the file takes lines again.
            log.error("cannot write the audit log: %s; the line is %s", error.strerror, line.decode().rstrip())


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
