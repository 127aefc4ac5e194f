"""The straight paths of a call, stdio to stdio and HTTP to HTTP: a running sidecar on each, driven in the same way."""

from __future__ import annotations

import itertools
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

from tests.bench.contenders import SERVER
from tests.support import SIDECAR
from tests.support.listener import Listener
from tests.support.opa_tap import OpaTap
from tests.support.peer import Sidecar, kind, until
from tests.wire.http.client import Agent, Wire, call
from tests.wire.http.server import Upstream

Call: TypeAlias = tuple[str, dict[str, Any]]
"""A tool and its arguments."""

PATHS: Final = ("stdio", "http")


class Straight(ABC):
    """A sidecar between a client and a server that answers every call; what it keeps is in the folder `state`."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._ids = itertools.count(1)

    state: Path
    pid: int

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @abstractmethod
    def post(self, calls: Sequence[Call]) -> list[int]:
        """Make calls that arrive together, without waiting; their ids."""

    @abstractmethod
    def replies(self, ids: Sequence[int]) -> list[Any]:
        """The replies to what was posted last, in the order of the ids."""

    def together(self, calls: Sequence[Call]) -> list[Any]:
        """The replies to calls that arrive together, in the order of the calls."""
        return self.replies(self.post(calls))

    def post_and_wait(self, calls: Sequence[Call], tap: OpaTap) -> list[int]:
        """Make calls that arrive together, and wait until the sidecar has read them all; their ids.

        Questions must be held back, since one more call is made behind them: a tool that nobody asked about before.
        When its question comes, those before it have been read.
        """
        marker = f"marker-{next(self._ids)}"
        ids = self.post([*calls, (marker, {})])
        tap.wait_for(marker)
        return ids

    def call(self, tool: str, **arguments: Any) -> Any:
        """The reply to one call."""
        (reply,) = self.together([(tool, arguments)])
        return reply

    def passes(self, tool: str, **arguments: Any) -> None:
        """Make a call that must pass."""
        assert passed(reply := self.call(tool, **arguments)), reply

    def reads_of(self, calls: int) -> int:
        """In how many reads so many calls arrive that come together."""
        return calls

    @property
    def audit(self) -> list[dict[str, Any]]:
        """Its audit trail."""
        files = sorted((self.state / "events").glob("*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    def _numbered(self, calls: Sequence[Call]) -> tuple[list[int], list[Any]]:
        ids = [next(self._ids) for _ in calls]
        return ids, [call(tool, arguments, id_) for id_, (tool, arguments) in zip(ids, calls, strict=True)]

    def _wait_for_engine(self) -> None:
        # An OPA that somebody else started may come later than the sidecar.
        until(lambda: kind(self.call("free")) is None, what="the first call that passes")


class OverStdio(Straight):
    """Over pipes. `store` are options that say where counters are kept, instead of a folder."""

    def __init__(self, folder: Path, policy: str, *options: str, store: Sequence[str] | None = None) -> None:
        super().__init__()
        self._sidecar = self._stack.enter_context(Sidecar(folder, policy, *options, server=SERVER, store=store))
        self._sidecar.initialize()
        self._ids = itertools.count(100)
        self.state, self.pid = self._sidecar.state, self._sidecar.process.pid
        self._wait_for_engine()

    def post(self, calls: Sequence[Call]) -> list[int]:
        """Make calls in one write, which is one read on the other side while it fits into a page of a pipe."""
        ids, messages = self._numbered(calls)
        lines = [json.dumps(message, separators=(",", ":")).encode() + b"\n" for message in messages]
        self._sidecar.send_bytes(b"".join(lines))
        return ids

    def reads_of(self, calls: int) -> int:
        return 1

    def replies(self, ids: Sequence[int]) -> list[Any]:
        found = {reply["id"]: reply for reply in (self._sidecar.read() for _ in ids)}
        return [found[id_] for id_ in ids]


class OverHttp(Straight):
    """Over HTTP, to a server over HTTP; calls that arrive together come on connections of their own."""

    def __init__(self, folder: Path, policy: str, *options: str, store: Sequence[str] | None = None) -> None:
        super().__init__()
        self.state = folder / "intercept-sidecar"
        (folder / "policy.yaml").write_text(policy)
        upstream = self._stack.enter_context(Upstream())
        place = ["--state-dir", str(self.state)] if store is None else store
        command = [
            str(SIDECAR), "run", "-c", str(folder / "policy.yaml"), *place, "--telemetry", "127.0.0.1:0",
            "--transport", "http", "--port", "0", "--upstream", upstream.url, *options,
        ]  # fmt: skip
        self._listener = self._stack.enter_context(
            Listener(command, folder, {"XDG_STATE_HOME": str(folder)}, says="ready\n")
        )
        self.pid = self._listener.process.pid
        self._headers = Agent.with_session(self._listener.url).headers
        self._wires: list[Wire] = []
        self._wait_for_engine()

    def post(self, calls: Sequence[Call]) -> list[int]:
        """Make each call on a connection that was used before, so that the sidecar need not accept it first."""
        while len(self._wires) < len(calls):
            wire = self._stack.enter_context(Wire(self._listener.url))
            wire.ask({"jsonrpc": "2.0", "id": next(self._ids), "method": "ping"}, *self._headers)
            assert wire.answer().status == 200
            self._wires.append(wire)
        ids, messages = self._numbered(calls)
        for wire, message in zip(self._wires, messages, strict=False):
            wire.ask(message, *self._headers)
        return ids

    def replies(self, ids: Sequence[int]) -> list[Any]:
        found = [wire.answer().message for wire, _ in zip(self._wires, ids, strict=False)]
        assert [reply["id"] for reply in found] == list(ids)
        return found


def over(path: str, folder: Path, policy: str, *options: str, store: Sequence[str] | None = None) -> Straight:
    """A sidecar on one of `PATHS`."""
    way = {"stdio": OverStdio, "http": OverHttp}[path]
    return way(folder, policy, *options, store=store)


def passed(reply: Any) -> bool:
    """True for the server's own answer."""
    return "result" in reply and not reply["result"].get("isError")
