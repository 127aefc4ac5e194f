"""A client, the sidecar, OPA and a server, as real programs. Shared here: a sidecar that keeps every line it sent."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.support import STUB
from tests.support.peer import Sidecar, until

MARKER = "s3cret-marker"
"""An argument value that must be found nowhere but at the server."""

POLICY = """
tools:
  cancel_order:
    rules:
      - {action: deny, reason: Requires human approval}
  pay:
    rules:
      - name: not seven
        conditions: [{path: args.amount, op: neq, value: 7}]
  transfer:
    rules:
      - name: named
        conditions: [{path: args.order, op: exists, value: true}]
      - name: small
        conditions: [{path: args.order.amount, op: lte, value: 100}]
"""


class Tapped(Sidecar):
    """A sidecar in front of the stub server; all that it sends to the server is in `sent`."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._tap = folder / "sent"
        self._tap.touch()
        self.log = folder / "received.jsonl"
        # tee writes to its files in their order, so a line is kept before the server can answer it.
        stub = 'tee "$0" /dev/fd/3 3>&1 >/dev/null | exec "$1" -S -E "$2" --log "$3"'
        server = ["sh", "-c", stub, str(self._tap), sys.executable, str(STUB), str(self.log)]
        super().__init__(folder, POLICY, "--server", "stub", *options, server=server)

    @property
    def sent(self) -> list[str]:
        """The lines that the server got."""
        return self._tap.read_bytes().decode().split("\n")[:-1]

    def wait_for_sent(self, count: int) -> list[str]:
        """The lines that the server got, once there are so many."""
        until(lambda: len(self.sent) >= count, what=f"line {count} at the server")
        return self.sent

    @property
    def written(self) -> str:
        """All that it wrote on its error stream and in its state folder, but for the secret key."""
        files = [path for path in self.state.rglob("*") if path.is_file() and path.suffix != ".key"]
        return self.errors + "".join(path.read_bytes().decode("latin-1") for path in files)


def encoded(**members: Any) -> bytes:
    """A message as a client would write it."""
    return json.dumps({"jsonrpc": "2.0", **members}, separators=(",", ":"), ensure_ascii=False).encode()


def tool_call(id_: Any, tool: str, arguments: Any, **params: Any) -> bytes:
    """A call as a client would write it."""
    return encoded(id=id_, method="tools/call", params={"name": tool, "arguments": arguments, **params})
