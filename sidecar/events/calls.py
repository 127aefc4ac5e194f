"""Calls and other messages: what was decided on them, and what became of them."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from sidecar.auth.caller import Caller
from sidecar.decision.decision import Reserve, Violation
from sidecar.ledger.protocol import Claim
from sidecar.ledger.values import Entry, subtract
from sidecar.mcp.tool_call import Outcome, ToolCall
from sidecar.policy.model import Mode
from sidecar.policy.risks import UNKNOWN, Risk


class Ruling(msgspec.Struct, frozen=True, gc=False):
    """What was decided. `kind` is `allow`, or the kind of refusal; `remembered` means by a cached answer of the engine.

    `risk` is what policy says of the tool's class and severity.
    In mode `monitor` the call was forwarded even if it was not `allowed`.
    """

    allowed: bool
    mode: Mode
    kind: str
    rule: str
    reason: str
    violations: tuple[Violation, ...]
    revision: str
    serial: int
    engine_id: str | None
    remembered: bool
    risk: Risk = UNKNOWN


class Decided(msgspec.Struct, frozen=True, gc=False):
    """A call was judged, which took `seconds`.

    `engine_seconds` is the part of it that the engine took, or None if it was not asked. Calls that say the same may
    share a ruling. `reserve` and `claim` say what the call counted: for each item of the one an entry and a total of
    the other. They are the values that the gate went by, so telling costs no copy.
    """

    decision_id: str
    server: str
    caller: Caller
    call: ToolCall
    ruling: Ruling
    seconds: float
    engine_seconds: float | None
    reserve: tuple[Reserve, ...]
    """What was taken from counters, empty where nothing was."""
    limited: bool
    """True when a limit is exhausted and refused the call."""
    approval: str = ""
    """The id of the approval that the call uses, or waits for."""
    answered: float = 0.0
    """How many of the `seconds` had passed when the engine's answer was there; 0 where it was not asked."""
    claim: Claim | None = None
    """What became of `reserve`: which windows it was taken from, and the totals after it. None where that is empty."""

    @property
    def left(self) -> tuple[tuple[str, float], ...]:
        """What remains of each limit that was counted: rule and amount."""
        totals = self.claim.totals if self.claim is not None else ()
        counted = zip(self.reserve, totals, strict=True)
        return tuple([(one.rule, float(subtract(one.limit, total))) for one, total in counted if one.limit is not None])


class Judged(msgspec.Struct, frozen=True, gc=False):
    """End of a batch: all its decisions were emitted; allowed calls are forwarded after this event."""


class Refused(msgspec.Struct, frozen=True, gc=False):
    """A message of the client was refused: it cannot be read strictly, or not be accepted where it stands."""

    decision_id: str
    server: str
    caller: Caller
    code: int
    reason: str


class MethodDenied(msgspec.Struct, frozen=True, gc=False):
    """Policy does not permit the method of a client's message. In mode `monitor` it was forwarded all the same."""

    decision_id: str
    server: str
    caller: Caller
    method: str
    mode: Mode


class Dropped(msgspec.Struct, frozen=True, gc=False):
    """A message of either side was dropped; `reason` says why, without its content."""

    server: str
    sender: Literal["client", "server"]
    reason: str


class Passed(msgspec.Struct, frozen=True, gc=False):
    """A request or notification of the client that is no call was forwarded."""

    server: str
    method: str


class Listed(msgspec.Struct, frozen=True, gc=False):
    """The server listed tools that can be called; `whole` means that these are all of its tools.

    `walk` is the number of a list whose pages one client got one after the other, each with the cursor of the page
    before, and `page` says which of them this is, from 1; both are 0 where that cannot be said, and for a whole list.
    After the `last` one there is no other. `definitions` are the tools as the server wrote them, whatever it wrote.
    """

    server: str
    tools: list[str]
    whole: bool
    walk: int = 0
    page: int = 0
    last: bool = False
    definitions: list[Any] = []


class Settled(msgspec.Struct, frozen=True, gc=False):
    """A forwarded call ended, `seconds` after it was sent; how many reservations it had, and how many were undone.

    `cause` says why the server did not answer it: one of `UPSTREAM_ERRORS`, with the `status` of HTTP where that is the
    cause; `given_up` where nobody waited for the answer any more; `defect` where one of ours ended it. It is empty
    where the server answered.
    """

    server: str
    decision_id: str
    tool: str
    outcome: Outcome
    reserved: int
    returned: int
    seconds: float
    cause: str = ""
    status: int = 0
    undone: tuple[Entry, ...] = ()
    """The reservations that were undone, each in its own window."""
