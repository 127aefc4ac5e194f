"""A session with a gate that decides when the test says so, and what came out of it at either side."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sidecar.auth.caller import Caller
from sidecar.enforce.call_cache import CallCache
from sidecar.enforce.verdict import Forward, Hold, Reply, Verdict
from sidecar.errors import InvalidMessage
from sidecar.events import Dropped, Event
from sidecar.mcp import jsonrpc
from sidecar.mcp.jsonrpc import Batch, Joined, Outgoing
from sidecar.mcp.tool_call import Outcome, ToolCall
from sidecar.policy.bundle import Bundle
from sidecar.session.judge import Judge
from sidecar.session.reading import Reader
from sidecar.session.route import Route
from sidecar.session.session import Session
from tests.engine.asking import NOTHING

BUNDLE = Bundle("abc", 1, {}, NOTHING)
MARKER = "s3cret"


@dataclass(slots=True)
class SlowTrial:
    """A call that waits for its verdict."""

    call: ToolCall
    caller: Caller
    deliver: Callable[[Verdict], None]
    may_hold: bool = True
    dropped: bool = False

    def drop(self) -> None:
        self.dropped = True


class SlowGate:
    """Judges a call when told to; a call of the tool `quick` is allowed at once, one of `odd` cannot be asked about."""

    def __init__(self) -> None:
        self.known = CallCache()
        self.trials: list[SlowTrial] = []
        self.doubted: list[Any] = []
        self.wanted: set[str] = set()
        self.definitions: dict[str, str] = {}
        self.settled: list[tuple[Any, Outcome]] = []
        self.causes: list[tuple[str, int]] = []
        self.lists: list[tuple[list[str], Callable[[frozenset[str] | None], None]]] = []

    @property
    def filters(self) -> bool:
        return True

    def next_id(self) -> str:
        return "d-1"

    def permits(self, method: str, caller: Caller) -> bool:
        return method != "denied/method"

    def judge(
        self, call: ToolCall, caller: Caller, deliver: Callable[[Verdict], None], *, may_hold: bool = True
    ) -> SlowTrial:  # fmt: skip
        if call.tool == "odd":
            raise InvalidMessage(-32602, "odd", call.id)
        trial = SlowTrial(call, caller, deliver, may_hold)
        if call.tool == "quick":
            deliver(Forward(call.id, "d", call.tool, (), (), 0.0))
        else:
            self.trials.append(trial)
        return trial

    def conclude(self) -> None:
        pass

    def allow(self) -> None:
        """Allow the call that waits longest."""
        trial = self.trials.pop(0)
        trial.deliver(Forward(trial.call.id, "d", trial.call.tool, (), (), 0.0))

    def deny(self) -> None:
        """Refuse the call that waits longest."""
        trial = self.trials.pop(0)
        trial.deliver(Reply(jsonrpc.result(trial.call.id, "denied")))

    def hold(self, hold: Hold) -> None:
        """Hold the call that waits longest."""
        self.trials[0].deliver(hold)

    def wants_definition(self, tool: str) -> bool:
        return tool in self.wanted

    def saw(self, tool: str, digest: str) -> None:
        self.definitions[tool] = digest

    def filter(self, tools: Sequence[str], deliver: Callable[[frozenset[str] | None], None]) -> None:
        self.lists.append((list(tools), deliver))

    def hide(self, *tools: str) -> None:
        """Hide tools from the list that waits longest."""
        self.lists.pop(0)[1](frozenset(tools))

    def given_up(self, forward: Forward) -> None:
        self.doubted.append(forward.id)

    def settle(
        self, forward: Forward, outcome: Outcome, done: Callable[[], None] = lambda: None, cause: str = "",
        status: int = 0,
    ) -> None:  # fmt: skip
        self.settled.append((forward.id, outcome))
        self.causes.append((cause, status))
        done()


class ObservedSession:
    """A session, and what came out of it at either side."""

    def __init__(
        self, gate: Judge | None = None, *, resumable: bool = False, revision: str = "", reader: Reader | None = None,
        caller: Caller | None = None,
    ) -> None:  # fmt: skip
        self.gate = SlowGate()
        self.client: list[bytes] = []
        self.server: list[bytes] = []
        self.events: list[Event] = []
        self.session = Session(
            server="stub", caller=caller or Caller("s"), gate=gate or self.gate, emit=self.events.append,
            resumable=resumable, revision=revision, reader=reader,
            route=Route(
                lambda message: self.client.append(message.raw), lambda message: self.server.append(message.raw)
            ),
        )  # fmt: skip

    def ask(self, id_: int | str, method: str = "ping", **params: Any) -> bytes:
        """A request of the client, which this returns as it is sent on."""
        line = encoded(id=id_, method=method, params=params)
        self.session.from_client(line)
        return line

    def call(self, id_: int | str, tool: str) -> bytes:
        return self.ask(id_, "tools/call", name=tool, arguments={"pin": MARKER})

    def cancel(self, id_: int | str) -> bytes:
        line = encoded(method="notifications/cancelled", params={"requestId": id_})
        self.session.from_client(line)
        return line

    def answer(self, id_: Any, **members: Any) -> bytes:
        """A response of the server, by default with an empty result."""
        line = encoded(id=id_, **(members or {"result": {}}))
        self.session.from_server(line)
        return line

    @property
    def last_to_client(self) -> Any:
        return json.loads(self.client[-1])

    @property
    def dropped(self) -> list[str]:
        """Whose messages went nowhere."""
        return [event.sender for event in self.events if isinstance(event, Dropped)]


def encoded(**members: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **members}, separators=(",", ":")).encode()


def outgoing(line: bytes) -> Outgoing:
    """What a line is sent on as, where all of it is."""
    read = jsonrpc.read(line)
    if not isinstance(read, Batch):
        return read
    return Joined(tuple(one for one in read.elements if not isinstance(one, InvalidMessage)))


def batch(*lines: bytes) -> bytes:
    """The line of a batch."""
    return b"[%b]" % b",".join(lines)


class Came(list[bytes | None]):
    """What was delivered, as bytes."""

    def deliver(self, message: Outgoing | None) -> None:
        self.append(message.raw if message is not None else None)
