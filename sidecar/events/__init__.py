"""What happened, as values, for observers. Nothing here decides or stores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias, get_args

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
    Unchanged,
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
from sidecar.system import defects

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
    "Unchanged",
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
    | Unchanged
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


_BEFOREHAND: Final = (Decided, Judged, MethodDenied)
"""Told before what they are about goes on: who has to note them can still refuse it."""


def fan_out(observers: Sequence[Observer], needed: Observer | None = None) -> Emit:
    """One function that passes each event to every observer with a handler for it.

    What an observer raises is told as a defect, and harms neither what the event is about nor other observers. Only
    where `needed` could not note what is still to go on is its error raised, once all have heard: then it must not.
    """
    heard: dict[type[Event], list[Callable[[Any], None]]] = {
        kind: [observer.handlers[kind] for observer in observers if kind in observer.handlers]
        for kind in get_args(Event)
    }
    must: dict[type[Event], Callable[[Any], None]] = {
        kind: needed.handlers[kind] for kind in _BEFOREHAND if needed is not None and kind in needed.handlers
    }

    def emit(event: Event) -> None:
        unnoted: Exception | None = None
        for hear in heard[type(event)]:
            try:
                hear(event)
            except Exception as error:  # noqa: BLE001 - it is told, whatever it is
                if hear == must.get(type(event)):
                    unnoted = error
                elif type(event) is not Defect:  # else it would be told without end
                    defects.tell("an observer did not take an event", error)
        if unnoted is not None:
            raise unnoted

    return emit
