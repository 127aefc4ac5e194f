"""The straight paths of a call, stdio to stdio and HTTP to HTTP: a running sidecar on each, driven in the same way."""

from __future__ import annotations

import fcntl
import itertools
import json
import struct
import termios
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

from tests.support import SIDECAR
from tests.support.audit_lines import decided_lines
from tests.support.listener import Listener
from tests.support.opa_tap import OpaTap
from tests.support.peer import PATIENT, TELEMETRY, Peer, Sidecar, kind, until
from tests.wire.http.client import Agent, Wire, call
from tests.wire.http.server import Upstream

Call: TypeAlias = tuple[str, dict[str, Any]]
"""A tool and its arguments."""

PATHS: Final = ("stdio", "http")
PORTION: Final = 16
"""So many calls that come together are passed on together."""


class Straight(ABC):
    """A sidecar between a client and a server that answers every call; what it keeps is in the folder `state`."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._ids = itertools.count(1)

    state: Path
    program: Peer
    policy: Path

    @property
    def pid(self) -> int:
        """The process id of the sidecar."""
        return self.program.process.pid

    @property
    @abstractmethod
    def arrived(self) -> list[int]:
        """The ids of the calls that came to the server, but for those of the tools `free` and `marker`."""

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
        """The replies to calls that were posted, in the order of the ids; nothing else may come before them."""

    @abstractmethod
    def cancel(self, id_: int) -> None:
        """Give a call up, and wait until the sidecar knows."""

    def together(self, calls: Sequence[Call]) -> list[Any]:
        """The replies to calls that arrive together, in the order of the calls."""
        return self.replies(self.post(calls))

    def post_and_wait(self, calls: Sequence[Call], tap: OpaTap) -> list[int]:
        """Make calls that arrive together, and wait until the sidecar has read them all; their ids.

        Questions must be held back, since one more call is made behind them: a tool that nobody asked about before.
        When its question comes, those before it have been read.
        """
        marker = f"marker-{next(self._ids)}"
        ids = [*self.post(calls), *self.post([(marker, {})])]
        tap.wait_for(marker)
        return ids

    def call(self, tool: str, **arguments: Any) -> Any:
        """The reply to one call."""
        (reply,) = self.together([(tool, arguments)])
        return reply

    def passes(self, tool: str, **arguments: Any) -> None:
        """Make a call that must pass."""
        assert passed(reply := self.call(tool, **arguments)), reply

    def portions_of(self, calls: int) -> int:
        """In how many portions so many calls are passed on that come together."""
        return calls

    @property
    def audit(self) -> list[dict[str, Any]]:
        """What it decided, by its audit trail."""
        return decided_lines(self.state)

    def _numbered(self, calls: Sequence[Call]) -> tuple[list[int], list[Any]]:
        ids = [next(self._ids) for _ in calls]
        return ids, [call(tool, arguments, id_) for id_, (tool, arguments) in zip(ids, calls, strict=True)]

    def _wait_for_engine(self) -> None:
        # An OPA that somebody else started may come later than the sidecar.
        until(lambda: kind(self.call("free")) is None, what="the first call that passes")


class OverStdio(Straight):
    """Over pipes to the program `server`, by default the stub.

    `store` are options that say where counters are kept, instead of a folder.
    """

    def __init__(
        self, folder: Path, policy: str, *options: str, store: Sequence[str] | None = None,
        server: Sequence[str] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self._sidecar = Sidecar(folder, policy, *options, server=server, store=store)
        self.program, self.state, self.policy = self._sidecar, self._sidecar.state, folder / "policy.yaml"
        self._stack.enter_context(self._sidecar)
        self._sidecar.initialize()
        self._ids = itertools.count(1000)  # those of the peer are below
        self._wait_for_engine()

    @property
    def arrived(self) -> list[int]:
        return _ids_of(map(json.loads, self._sidecar.received))

    def post(self, calls: Sequence[Call]) -> list[int]:
        """Make calls in one write, which is one read on the other side while it fits into a page of a pipe."""
        ids, messages = self._numbered(calls)
        lines = [json.dumps(message, separators=(",", ":")).encode() + b"\n" for message in messages]
        self._sidecar.send_bytes(b"".join(lines))
        return ids

    def portions_of(self, calls: int) -> int:
        return -(-calls // PORTION)

    def replies(self, ids: Sequence[int]) -> list[Any]:
        found = {reply["id"]: reply for reply in (self._sidecar.read() for _ in ids)}
        return [found[id_] for id_ in ids]

    def cancel(self, id_: int) -> None:
        self._sidecar.send(_cancelled(id_))
        # Messages are read in their order, and the answer to this one comes from the server.
        assert self._sidecar.until_ping() == []


class OverHttp(Straight):
    """Over HTTP, to a server over HTTP; calls that arrive together come on connections of their own."""

    def __init__(self, folder: Path, policy: str, *options: str, store: Sequence[str] | None = None) -> None:
        super().__init__()
        self.state, self.policy = folder / "intercept-sidecar", folder / "policy.yaml"
        self.policy.write_text(policy)
        self._upstream = self._stack.enter_context(Upstream())
        place = ["--state-dir", str(self.state)] if store is None else store
        command = [
            str(SIDECAR), "run", "-c", str(self.policy), *place, *PATIENT, *TELEMETRY,
            "--transport", "http", "--port", "0", "--upstream", self._upstream.url, *options,
        ]  # fmt: skip
        listener = Listener(command, folder, {"XDG_STATE_HOME": str(folder)}, says="ready\n")
        self.program = self._stack.enter_context(listener)
        self._agent = Agent.with_session(listener.url)
        self._idle: list[Wire] = []
        self._busy: dict[int, Wire] = {}
        self._wait_for_engine()

    @property
    def arrived(self) -> list[int]:
        return _ids_of(asked.message for asked in self._upstream.calls)

    def post(self, calls: Sequence[Call]) -> list[int]:
        """Make each call on a connection that was used before, so that the sidecar need not accept it first."""
        while len(self._idle) < len(calls):
            wire = self._stack.enter_context(Wire(self._agent.url))
            wire.ask({"jsonrpc": "2.0", "id": next(self._ids), "method": "ping"}, *self._agent.headers)
            assert wire.answer().status == 200
            self._idle.append(wire)
        ids, messages = self._numbered(calls)
        self._busy |= {id_: self._idle.pop() for id_ in ids}
        for id_, message in zip(ids, messages, strict=True):
            self._busy[id_].ask(message, *self._agent.headers)
        # What was sent on one connection may be delivered before what was sent on another ahead of it.
        until(lambda: not any(map(_on_the_way, self._busy.values())), what="the delivery of every request")
        return ids

    def replies(self, ids: Sequence[int]) -> list[Any]:
        found: list[Any] = []
        for id_ in ids:
            wire = self._busy.pop(id_)
            found.append(wire.answer().message)
            self._idle.append(wire)
        assert [reply["id"] for reply in found] == list(ids)
        return found

    def cancel(self, id_: int) -> None:
        self._agent.post(_cancelled(id_))


def _ids_of(messages: Iterable[Any]) -> list[int]:
    calls = [message for message in messages if message["params"]["name"].partition("-")[0] not in ("free", "marker")]
    return sorted(message["id"] for message in calls)


def _on_the_way(wire: Wire) -> int:
    """Bytes that were sent and that the other side's kernel has not acknowledged."""
    (count,) = struct.unpack("i", fcntl.ioctl(wire._socket, termios.TIOCOUTQ, bytes(4)))
    return int(count)


def _cancelled(id_: int) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id_}}


def over(
    path: str, folder: Path, policy: str, *options: str, store: Sequence[str] | None = None,
    server: Sequence[str] | None = None,
) -> Straight:  # fmt: skip
    """A sidecar on one of `PATHS`; `server` is the program on stdio."""
    if path == "http":
        return OverHttp(folder, policy, *options, store=store)
    return OverStdio(folder, policy, *options, store=store, server=server)


def passed(reply: Any) -> bool:
    """True for the server's own answer."""
    return "result" in reply and not reply["result"].get("isError")
