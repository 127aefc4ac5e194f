"""What happened, as values, for observers. Nothing here decides or stores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, get_args

from sidecar.events.approvals import (
    AnswerSeen,
    ApprovalChanged,
    ApprovalsCounted,
    ApprovalTried,
    NoticeSent,
)
from sidecar.events.calls import (
    Decided,
    Dropped,
    Judged,
    Listed,
    MethodDenied,
    Passed,
    Refused,
    Ruling,
    Settled,
)
from sidecar.events.policies import (
    BUNDLE_REFUSALS,
    CANDIDATE_GAPS,
    BundleFetched,
    BundleJudged,
    CandidateBegan,
    CandidateCompared,
    CandidateFailed,
    CandidateNotAsked,
    RecordingFailed,
    Reloaded,
)
from sidecar.events.running import (
    ENGINE_ERRORS,
    HTTP_REFUSALS,
    UPSTREAM_ERRORS,
    AuditFailed,
    Defect,
    EngineFailed,
    EngineReady,
    HttpRefused,
    SessionsOpen,
    SpansSent,
    Started,
    Stopped,
    StopReason,
    StoreFailed,
    UpstreamAnswered,
    UpstreamFailed,
)

__all__ = [
    "BUNDLE_REFUSALS",
    "CANDIDATE_GAPS",
    "ENGINE_ERRORS",
    "HTTP_REFUSALS",
    "UPSTREAM_ERRORS",
    "AnswerSeen",
    "ApprovalChanged",
    "ApprovalTried",
    "ApprovalsCounted",
    "AuditFailed",
    "BundleFetched",
    "BundleJudged",
    "CandidateBegan",
    "CandidateCompared",
    "CandidateFailed",
    "CandidateNotAsked",
    "Decided",
    "Defect",
    "Dropped",
    "Emit",
    "EngineFailed",
    "EngineReady",
    "Event",
    "Handlers",
    "HttpRefused",
    "Judged",
    "Listed",
    "MethodDenied",
    "NoticeSent",
    "Observer",
    "Passed",
    "RecordingFailed",
    "Refused",
    "Reloaded",
    "Ruling",
    "SessionsOpen",
    "Settled",
    "SpansSent",
    "Started",
    "StopReason",
    "Stopped",
    "StoreFailed",
    "UpstreamAnswered",
    "UpstreamFailed",
    "fan_out",
]

Event: TypeAlias = (
    Decided
    | Dropped
    | Judged
    | Listed
    | MethodDenied
    | Passed
    | Refused
    | Settled
    | AuditFailed
    | Defect
    | EngineFailed
    | EngineReady
    | HttpRefused
    | SessionsOpen
    | SpansSent
    | Started
    | Stopped
    | StoreFailed
    | UpstreamAnswered
    | UpstreamFailed
    | BundleFetched
    | BundleJudged
    | CandidateBegan
    | CandidateCompared
    | CandidateFailed
    | CandidateNotAsked
    | RecordingFailed
    | Reloaded
    | AnswerSeen
    | ApprovalChanged
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
