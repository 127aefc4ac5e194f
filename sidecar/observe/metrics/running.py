"""Prometheus metrics of the sidecar itself: sessions, refused requests, defects, what was recorded and sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from sidecar.events import HTTP_REFUSALS, AuditFailed, Defect, Handlers, HttpRefused, SessionsOpen, SpansSent
from sidecar.observe.metrics.instruments import OTHER, Instruments

STATUSES: Final = frozenset({
    "400", "401", "403", "404", "405", "406", "408", "409", "411", "413", "415", "421", "429", "431", "500", "501",
    "503", "505",
})  # fmt: skip
"""Statuses with which a listener of ours refuses; any other is counted as `_other`."""
AUDIT_EVENTS: Final = (
    "decision", "outcome", "approval", "approval_refused", "start", "stop", "policy", "sign_in_failed", "lost",
)  # fmt: skip
"""What a line of the audit log may be about."""


class RunningMetrics:
    """The sidecar of `server`."""

    def __init__(self, made: Instruments, server: str) -> None:
        self._server = server
        self._sessions = made.gauge("sessions", "Sessions of clients that are open now.")
        self._sessions.labels(server).set(1)
        self._defects = made.counter(
            "internal_errors_total", "Defects of the sidecar, each of which ended one message or connection at most."
        )
        self._refusals = made.counter(
            "http_refusals_total",
            "HTTP requests that a listener of ours refused before anybody looked at their message.",
            "status",
            "reason",
        )
        self._lost = made.counter("audit_lost_lines_total", "Lines that could not be written to the audit log.")
        self._spans = made.counter("otlp_spans_total", "Spans of calls that --otlp sent, or lost.", "result")
        self.audit = AuditLines(made.name("audit_lines"), server)
        made.registered(self.audit)
        self._begin_at_zero()
        self.handlers: Handlers = {
            SessionsOpen: self._sessions_open, Defect: self._defect, HttpRefused: self._http_refused,
            AuditFailed: self._audit_failed, SpansSent: self._spans_sent,
        }  # fmt: skip

    def _begin_at_zero(self) -> None:
        self._defects.labels(self._server)
        self._lost.labels(self._server)
        for result in ("sent", "lost"):
            self._spans.labels(self._server, result)
        for status, reason in _USUAL:
            self._refusals.labels(self._server, status, reason)

    def _sessions_open(self, event: SessionsOpen) -> None:
        self._sessions.labels(self._server).set(event.count)

    def _defect(self, _: Defect) -> None:
        self._defects.labels(self._server).inc()

    def _http_refused(self, event: HttpRefused) -> None:
        status, reason = str(event.status), event.reason
        self._refusals.labels(
            self._server, status if status in STATUSES else OTHER, reason if reason in HTTP_REFUSALS else OTHER
        ).inc()

    def _audit_failed(self, event: AuditFailed) -> None:
        self._lost.labels(self._server).inc(event.lost)

    def _spans_sent(self, event: SpansSent) -> None:
        self._spans.labels(self._server, "sent").inc(event.sent)
        self._spans.labels(self._server, "lost").inc(event.lost)


class AuditLines(Collector):
    """How many lines were made for the audit log in this run, by what they are about."""

    def __init__(self, name: str, server: str) -> None:
        self._name = name
        self._server = server
        self.written: Callable[[], Mapping[str, int]] = dict
        """Says how many, by event; nothing is counted without an audit log. Called in another thread."""

    def collect(self) -> Iterator[CounterMetricFamily]:
        """What the client exposes."""
        written = self.written()
        family = CounterMetricFamily(
            self._name, "Lines that this run has made for its audit log, by what they are about.",
            labels=("server", "event"),
        )  # fmt: skip
        for event in AUDIT_EVENTS:
            family.add_metric((self._server, event), written.get(event, 0))
        yield family


_USUAL: Final = (
    ("421", "host"), ("403", "origin"), ("404", "path"), ("405", "method"), ("503", "draining"),
    ("415", "content_type"), ("400", "header"), ("401", "credentials"), ("503", "keys"), ("404", "session"),
    ("503", "full"), ("413", "too_large"), ("400", "unreadable"),
    ("408", "late"),
)  # fmt: skip
"""Exposed from the start, so that `increase()` sees the first."""
