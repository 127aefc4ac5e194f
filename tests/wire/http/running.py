"""Hostile clients and hostile servers on raw sockets, and between them the sidecar as it is run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from tests.support import STUB
from tests.support.listener import Listener, sidecar
from tests.wire.http.client import Agent
from tests.wire.http.server import HIDDEN, Upstream, raw, stream

POLICY: Final = f"""
hide: [{HIDDEN}]
tools:
  forbidden:
    rules:
      - {{action: deny, reason: never}}
  careful:
    rules:
      - name: small
        conditions: [{{path: args.amount, op: lte, value: 5}}]
  once:
    rules:
      - {{name: once, rate_limit: 1/day}}
"""


def running(folder: Path, *options: str, policy: str = POLICY, transport: str = "http", stub: tuple[str, ...] = (),
            env: dict[str, str] | None = None) -> Listener:  # fmt: skip
    """A sidecar that listens: in front of `--upstream`, or else of the stub, which keeps the calls it got."""
    command: list[str] = []
    if "--upstream" not in options:
        log = ("--log", str(folder / "received.jsonl"), "--tools", f"shown,{HIDDEN}", "--announce")
        command = ["--", sys.executable, "-S", "-E", str(STUB), *log, *stub]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "received.jsonl").touch()
    where = ("--transport", transport, "--port", "0")
    return Listener(sidecar(folder, policy, *where, *options, *command), folder, env, says="ready\n")


def resuming(agent: Agent, upstream: Upstream, id_: str = "e1") -> str:
    """The header by which an agent comes back for what follows an event, which it is shown for that."""
    before = upstream.says.get("GET")
    upstream.says["GET"] = raw(stream(f"id: {id_}\ndata: \n\n".encode()))
    with agent.listen() as wire:
        place = wire.event()["id"]
    if before is None:
        del upstream.says["GET"]
    else:
        upstream.says["GET"] = before
    return f"Last-Event-ID: {place}"


def received(folder: Path) -> list[Any]:
    """The calls that the stub of a folder's sidecar got."""
    whole = (folder / "received.jsonl").read_text().split("\n")[:-1]
    return [json.loads(json.loads(line)["line"]) for line in whole]
