"""Prometheus metrics of approvals: those in the store, what people decided, how uses ended, who was told."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from sidecar.events import AnswerSeen, ApprovalChanged, ApprovalsCounted, Handlers, NoticeSent
from sidecar.ledger.approvals import OPEN, Answer, Record
from sidecar.observe.metrics.instruments import OTHER, Instruments

MAX_SERVERS: Final = 100
"""Other servers of our store whose approvals have series here."""

_WAITING_BUCKETS = (5, 15, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 14_400, 28_800, 86_400)
_DECIDED: Final[Mapping[str, str]] = MappingProxyType({
    "approve": "approved", "deny": "denied", "revoke": "revoked", "committed": "committed", "failed": "failed",
})  # fmt: skip
"""What an answer that decides something is counted as; `expired` is counted beside them."""
_USES: Final[Mapping[str, str]] = MappingProxyType({
    "consumed": "consumed", "unknown": "unknown", "approved": "released",
})  # fmt: skip
"""What the end of a use is counted as, by the state that it left."""


class ApprovalMetrics:
    """The approvals of `server`, and of others in our store where we decide them."""

    def __init__(self, made: Instruments, server: str) -> None:
        self._server = server
        self._servers: set[str] = set()
        self._approvals = made.gauge(
            "approvals", "Approvals of this server in the store now, in each state that is not final.", "state"
        )
        self._oldest = made.gauge(
            "approvals_oldest_pending_seconds",
            "How long the oldest call has waited for a person, in seconds; 0 where none waits.",
        )
        self._answers = made.counter(
            "approvals_decided_total",
            "What people decided on approvals; expired where nobody answered in time or the call did not come back.",
            "result",
        )
        self._waits = made.histogram(
            "approval_wait_seconds",
            "Time from the question until a person approved or denied a call, in seconds.",
            _WAITING_BUCKETS,
        )
        self._uses = made.counter(
            "approval_uses_total",
            "How uses of approvals ended; standing is true where the approval is good for several calls.",
            "result",
            "standing",
        )
        self._deliveries = made.counter(
            "webhook_deliveries_total", "Attempts to tell the webhook of approvals, by what became of each.", "result"
        )
        self._begin_at_zero()
        self.handlers: Handlers = {
            ApprovalsCounted: self._approvals_counted, ApprovalChanged: self._approval_changed,
            AnswerSeen: self._answer_seen, NoticeSent: self._notice_sent,
        }  # fmt: skip

    def _begin_at_zero(self) -> None:
        for metric, values in (
            (self._approvals, sorted(OPEN)),
            (self._answers, (*_DECIDED.values(), "expired")),
            (self._deliveries, ("delivered", "failed", "given_up")),
        ):
            for value in values:
                metric.labels(self._server, value)
        for result in _USES.values():
            for standing in ("false", "true"):
                self._uses.labels(self._server, result, standing)
        self._oldest.labels(self._server)
        self._waits.labels(self._server)

    def _approvals_counted(self, event: ApprovalsCounted) -> None:
        for state in OPEN:
            self._approvals.labels(self._server, state).set(event.counts.states.get(state, 0))
        self._oldest.labels(self._server).set(event.waits)

    def _approval_changed(self, event: ApprovalChanged) -> None:
        record, by = event.record, event.by
        if by is not None:
            if by.verdict != "approve" or record.state != "pending":  # else more people are needed
                self._answered(event.server, record, by)
        elif record.state == "expired":
            self._answers.labels(self._sharing(event.server), "expired").inc()
        elif record.state in _USES:
            standing = "true" if record.grant else "false"
            self._uses.labels(self._sharing(event.server), _USES[record.state], standing).inc()

    def _answer_seen(self, event: AnswerSeen) -> None:
        self._answered(event.server, event.record, event.by)

    def _answered(self, server: str, record: Record, by: Answer) -> None:
        server = self._sharing(server)
        self._answers.labels(server, _DECIDED[by.verdict]).inc()
        if by.verdict in ("approve", "deny"):
            self._waits.labels(server).observe(max(0.0, by.at - record.created))

    def _sharing(self, server: str) -> str:
        """The label of a server whose approvals are in our store: whoever ends one counts it, whosoever it is."""
        if server == self._server or server in self._servers:
            return server
        if len(self._servers) < MAX_SERVERS:
            self._servers.add(server)
            return server
        return OTHER

    def _notice_sent(self, event: NoticeSent) -> None:
        result = "given_up" if event.given_up else "failed" if event.why else "delivered"
        self._deliveries.labels(self._server, result).inc()
