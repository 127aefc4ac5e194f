"""What happened, as values, for observers. Nothing here decides or stores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, Protocol, TypeAlias, get_args

import msgspec

from sidecar.auth.caller import Caller
from sidecar.decision.decision import Violation
from sidecar.ledger.approvals import Answer, Counts, Record
from sidecar.mcp.tool_call import Outcome, ToolCall
from sidecar.policy.model import Mode
from sidecar.policy.risks import UNKNOWN, Risk
from sidecar.policy.terms import Terms

ENGINE_ERRORS: Final = (
    "timeout", "connection", "reply", "shape", "undecided", "revision", "canary", "exit", "no_policy", "version",
    "unverified", "foreign",
)  # fmt: skip
"""The ways in which the engine can fail to give a usable answer."""


BUNDLE_REFUSALS: Final = (
    "unsigned", "signature", "older", "conflict", "format", "foreign", "broken", "too_large", "trial", "check",
    "unavailable",
)  # fmt: skip
"""Why a bundle is not put in force.

It has no signature, or none by a key that counts; its serial is below the highest that was admitted, or the same with
other content; its format is another; it holds what is not the policy's to say; it cannot be read; it is too large; the
canaries are answered wrongly on it; this sidecar cannot serve under it; or the engine, the store or the disk, which it
needs for that, cannot be used now.
"""


CANDIDATE_GAPS: Final = ("skipped", "failed", "no_policy")
"""Why there is nothing to compare of a call: too many waited for the candidate; it gave no usable answer; or no policy
decided the live call, because something failed."""


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
    share a ruling.
    """

    decision_id: str
    server: str
    caller: Caller
    call: ToolCall
    ruling: Ruling
    seconds: float
    engine_seconds: float | None
    left: tuple[tuple[str, float], ...]
    """What remains of each limit that was counted: rule and amount."""
    limited: bool
    """True when a limit is exhausted and refused the call."""
    approval: str = ""
    """The id of the approval that the call uses, or waits for."""


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
    """The server listed tools; `whole` means that these are all of its tools."""

    server: str
    tools: list[str]
    whole: bool


class Settled(msgspec.Struct, frozen=True, gc=False):
    """A forwarded call ended, `seconds` after it was sent; how many reservations it had, and how many were undone."""

    server: str
    tool: str
    outcome: Outcome
    reserved: int
    returned: int
    seconds: float


class EngineFailed(msgspec.Struct, frozen=True, gc=False):
    """The engine gave no usable answer, or ended; `kind` is one of `ENGINE_ERRORS`."""

    server: str
    kind: str
    text: str


class EngineReady(msgspec.Struct, frozen=True, gc=False):
    """The engine decides by this policy, and both canaries proved it: at the start, or again after a failure."""

    server: str
    revision: str
    serial: int
    terms: Terms
    commit: str = ""


class Reloaded(msgspec.Struct, frozen=True, gc=False):
    """The policy files changed: `accepted` or not; `text` says why not, or what it warns of."""

    server: str
    accepted: bool
    text: str


class BundleFetched(msgspec.Struct, frozen=True, gc=False):
    """A look at the source of bundles: `news` where it had another one. `trouble` says why it could not be had."""

    server: str
    news: bool
    trouble: str = ""


class BundleJudged(msgspec.Struct, frozen=True, gc=False):
    """A fetched bundle was put in force, or refused: then `refused` is one of `BUNDLE_REFUSALS`, and `text` says why.

    `serial` and `commit` are what it says of itself, 0 and empty where that could not be read.
    """

    server: str
    serial: int
    commit: str
    refused: str = ""
    text: str = ""


class CandidateBegan(msgspec.Struct, frozen=True, gc=False):
    """A candidate policy is asked about the same calls from now on, by this revision; it decides nothing.

    `facts` are those of its bundle, from which its terms can be read; empty where they are very long.
    """

    server: str
    revision: str
    facts: str = ""


class CandidateFailed(msgspec.Struct, frozen=True, gc=False):
    """The candidate cannot be asked, or a changed one is not used; `text` says why. Live calls do not notice."""

    server: str
    text: str


class CandidateCompared(msgspec.Struct, frozen=True, gc=False):
    """What the policy in force and the candidate said of `count` calls: allow, deny, or approval (a person is asked).

    `live_rule` and `rule` are the rules that decided, with their places as `file:line`, empty where no rule did. The
    first of the calls is `decision_id`, of `tool`.
    """

    server: str
    tool: str
    live: str
    candidate: str
    live_rule: str
    live_place: str
    rule: str
    place: str
    decision_id: str
    count: int


class CandidateNotAsked(msgspec.Struct, frozen=True, gc=False):
    """Calls that the candidate did not judge; `reason` is one of `CANDIDATE_GAPS`."""

    server: str
    reason: str
    count: int


class RecordingFailed(msgspec.Struct, frozen=True, gc=False):
    """`lost` decided calls could not be recorded; `text` says why, empty once calls are recorded again."""

    server: str
    lost: int
    text: str


class StoreFailed(msgspec.Struct, frozen=True, gc=False):
    """The store of counters could not be used; `text` says what failed, and what did not happen because of that."""

    server: str
    text: str


class ApprovalChanged(msgspec.Struct, frozen=True, gc=False):
    """An approval came into another state, or was asked for: `record` as it is now.

    `by` is the answer that did it; None where a call, the time or the end of an instance did.
    """

    server: str
    record: Record
    by: Answer | None = None


class AnswerSeen(msgspec.Struct, frozen=True, gc=False):
    """An answer that a person gave elsewhere, by the CLI, was found in the store. Who took it has recorded it."""

    server: str
    record: Record
    by: Answer


class ApprovalTried(msgspec.Struct, frozen=True, gc=False):
    """Somebody tried to see or to answer approvals and was refused: `who` as far as known, `status` of HTTP or 0."""

    server: str
    who: str
    via: str
    origin: str
    what: str
    approval: str
    status: int
    why: str


class ApprovalsCounted(msgspec.Struct, frozen=True, gc=False):
    """How many approvals of the server are in each open state; `waits` is how long the oldest pending one does."""

    server: str
    counts: Counts
    waits: float


class NoticeSent(msgspec.Struct, frozen=True, gc=False):
    """A webhook was told of an approval, or could not be: `why` is empty where it took it."""

    server: str
    approval: str
    event: str
    attempts: int
    why: str
    given_up: bool


class SessionsOpen(msgspec.Struct, frozen=True, gc=False):
    """How many sessions a listener has open now."""

    server: str
    count: int


class Defect(msgspec.Struct, frozen=True, gc=False):
    """A defect of ours ended one message or connection: `what` failed; `trace` is its id in the log."""

    server: str
    trace: str
    what: str
    error: BaseException | None


Event: TypeAlias = (
    SessionsOpen
    | Defect
    | Decided
    | Judged
    | Refused
    | MethodDenied
    | Dropped
    | Passed
    | Listed
    | Settled
    | EngineFailed
    | EngineReady
    | Reloaded
    | BundleFetched
    | BundleJudged
    | CandidateBegan
    | CandidateFailed
    | CandidateCompared
    | CandidateNotAsked
    | RecordingFailed
    | StoreFailed
    | ApprovalChanged
    | AnswerSeen
    | ApprovalTried
    | ApprovalsCounted
    | NoticeSent
)
Emit: TypeAlias = Callable[[Event], None]


Handlers: TypeAlias = Mapping[type[Event], Callable[[Any], None]]
"""The handlers of an observer, by kind of event."""


class Observer(Protocol):
    """Hears of some kinds of events."""

    @property
    def handlers(self) -> Handlers:
        """Its handlers by kind of event; it hears of no other kind."""


def fan_out(observers: Sequence[Observer]) -> Emit:
    """One function that passes each event to every observer with a handler for it."""
    heard: dict[type[Event], list[Callable[[Any], None]]] = {
        kind: [observer.handlers[kind] for observer in observers if kind in observer.handlers]
        for kind in get_args(Event)
    }

    def emit(event: Event) -> None:
        for hear in heard[type(event)]:
            hear(event)

    return emit
