"""Prometheus metrics of events. Label values are bounded: those beyond a bound are counted as `_other`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from prometheus_client import CollectorRegistry, Info
from prometheus_client.exposition import choose_encoder

from sidecar import __version__
from sidecar.events import (
    BUNDLE_REFUSALS,
    CANDIDATE_GAPS,
    ENGINE_ERRORS,
    AnswerSeen,
    ApprovalChanged,
    ApprovalsCounted,
    BundleFetched,
    BundleJudged,
    CandidateBegan,
    CandidateCompared,
    CandidateNotAsked,
    Decided,
    Defect,
    Dropped,
    EngineFailed,
    EngineReady,
    Handlers,
    Listed,
    MethodDenied,
    NoticeSent,
    Passed,
    RecordingFailed,
    Refused,
    Reloaded,
    Ruling,
    SessionsOpen,
    Settled,
    StoreFailed,
)
from sidecar.ledger.approvals import OPEN, Answer, Record
from sidecar.mcp.protocol import METHODS, TOOLS_CALL
from sidecar.observe.instruments import Count, GaugeMetric, Instruments, Spread
from sidecar.text import shown

OTHER: Final = "_other"
MAX_TOOLS: Final = 500
"""Tools with series of their own, from the policy and from the server's lists."""
MAX_CLIENTS: Final = 100
"""Clients with series of their own; a client can give itself another name in each request."""
ACTIONS: Final = ("allow", "deny", "approval")
"""What a policy says of a call."""
MAX_SERVERS: Final = 100
"""Other servers of our store whose approvals have series here."""

_JUDGING_BUCKETS = (5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 1)
_WAITING_BUCKETS = (5, 15, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 14_400, 28_800, 86_400)
_DECIDED: Final[Mapping[str, str]] = MappingProxyType({
    "approve": "approved", "deny": "denied", "revoke": "revoked", "committed": "committed", "failed": "failed",
})  # fmt: skip
"""What an answer that decides something is counted as; `expired` is counted beside them."""
_USES: Final[Mapping[str, str]] = MappingProxyType({
    "consumed": "consumed", "unknown": "unknown", "approved": "released",
})  # fmt: skip
"""What the end of a use is counted as, by the state that it left."""
_SERVER_BUCKETS = (1e-3, 5e-3, 1e-2, 5e-2, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class _Counted(NamedTuple):
    """What one decision is counted by. `calls` is a part of the counts of requests, decisions and the client."""

    calls: Count
    judging: Spread


class Metrics:
    """All metrics of one sidecar, in a registry of their own."""

    def __init__(self, server: str, opa_version: str) -> None:
        self.registry = registry = CollectorRegistry()
        self._server = server
        self._tools: dict[str, str] = {}
        """Known tools, as they are shown."""
        self._clients: set[str] = set()
        self._servers: set[str] = set()
        self._children: dict[tuple[Any, ...], Any] = {}
        self._counted: dict[tuple[Any, ...], _Counted] = {}
        self._info: list[tuple[GaugeMetric, tuple[str, ...]]] = []

        made = Instruments(registry, "mcp_policy_", ("server",))
        counter, gauge, histogram = made.counter, made.gauge, made.histogram
        self._decisions = counter(
            "decisions_total", "Decisions on tool calls.", "tool", "decision", "kind", "rule", "mode", "cache"
        )
        self._agents = counter("agent_decisions_total", "Decisions by client.", "client", "decision")
        self._judging = histogram(
            "decision_duration_seconds", "Time that judging a call took.", _JUDGING_BUCKETS, "phase", "cache"
        )
        self._upstream = histogram(
            "upstream_duration_seconds", "Time until the server answered a call.", _SERVER_BUCKETS, "tool"
        )
        self._engine_errors = counter("engine_errors_total", "Questions without a usable answer.", "kind")
        self._left = gauge("limit_remaining", "What the last call left of a limit.", "tool", "rule")
        self._reservations = counter("reservations_total", "Reservations of limits.", "result")
        self._bundle = gauge("bundle_info", "The policy in force.", "revision", "commit", "serial")
        self._activated = gauge("bundle_activated_timestamp_seconds", "When the policy in force was first seen.")
        self._rules = gauge(
            "rule_info",
            "The rules of the policy in force.",
            "tool",
            "rule",
            "file",
            "line",
            "kind",
            "class",
            "severity",
        )
        self._would_deny = counter(
            "would_deny_total",
            "What rules that only report would have refused, or would have asked a person about.",
            "tool",
            "rule",
            "kind",
            "by",
        )
        self._requests = counter("requests_total", "Messages of the client that were read.", "method")
        self._denied_methods = counter(
            "denied_methods_total", "Messages that are no calls, whose method policy denies.", "method", "mode"
        )
        self._dropped = counter("dropped_messages_total", "Messages that went nowhere.", "sender")
        self._store_errors = counter("store_errors_total", "Failures of the store of counters.")
        self._unrecorded = counter("unrecorded_calls_total", "Decided calls that are missing in the recording.")
        self._defects = counter("internal_errors_total", "Defects of ours, each of which ended one message at most.")
        self._reloads = counter("reloads_total", "Changes of the policy files.", "result")
        self._fetches = counter("bundle_fetches_total", "Looks at the source of bundles.", "result")
        self._fetched = gauge(
            "bundle_last_fetch_timestamp_seconds",
            "When the source of bundles was last reached; 0 before, or without one.",
        )
        self._bundle_refusals = counter("bundle_refusals_total", "Bundles that were not put in force.", "reason")
        self._approvals = gauge("approvals", "Approvals in the store, in each state that is not final.", "state")
        self._oldest = gauge("approvals_oldest_pending_seconds", "How long the oldest call waits for a person.")
        self._answers = counter("approvals_decided_total", "What people decided, or did not in time.", "result")
        self._waits = histogram(
            "approval_wait_seconds", "Time until a person approved or denied a call.", _WAITING_BUCKETS
        )
        self._uses = counter("approval_uses_total", "How uses of approvals ended.", "result", "standing")
        self._deliveries = counter("webhook_deliveries_total", "Attempts to tell the webhook of approvals.", "result")
        self._candidate = counter(
            "candidate_total", "Calls that a candidate was asked about, by what both say.", "live", "candidate"
        )
        self._candidate_gaps = counter(
            "candidate_not_compared_total", "Calls of which nothing could be compared.", "reason"
        )
        self._candidate_info = gauge("candidate_info", "The candidate policy in shadow.", "revision")
        self._candidate_revision = ""
        self._sessions = gauge("sessions", "Sessions that are open.")
        self._sessions.labels(server).set(1)
        build = Info("mcp_policy_build", "What is running.", registry=registry)
        build.info({"version": __version__, "opa": opa_version})
        self._begin_at_zero()
        # The policy in force, and the names of its rules that only report.
        self._revision, self._reporting = "", frozenset[str]()
        self.handlers: Handlers = {
            Decided: self._decided, Passed: self._passed, Settled: self._settled, Refused: self._refused,
            MethodDenied: self._method_denied,
            EngineFailed: self._engine_failed, Dropped: self._dropped_one, StoreFailed: self._store_failed,
            Reloaded: self._reloaded, Listed: self._listed, EngineReady: self._activate,
            SessionsOpen: self._sessions_open, Defect: self._defect, ApprovalsCounted: self._approvals_counted,
            ApprovalChanged: self._approval_changed, AnswerSeen: self._answer_seen, NoticeSent: self._notice_sent,
            BundleFetched: self._bundle_fetched, BundleJudged: self._bundle_judged,
            CandidateBegan: self._candidate_began, CandidateCompared: self._candidate_compared,
            CandidateNotAsked: self._candidate_not_asked,
            RecordingFailed: self._recording_failed,
        }  # fmt: skip

    def _begin_at_zero(self) -> None:
        """Expose these series from the start, so that `increase()` sees the first occurrence of each."""
        for metric, values in (
            (self._reservations, ("reserved", "refused", "returned")),
            (self._engine_errors, ENGINE_ERRORS),
            (self._dropped, ("client", "server")),
            (self._reloads, ("accepted", "refused")),
            (self._fetches, ("news", "unchanged", "failed")),
            (self._bundle_refusals, BUNDLE_REFUSALS),
            (self._approvals, sorted(OPEN)),
            (self._answers, (*_DECIDED.values(), "expired")),
            (self._deliveries, ("delivered", "failed", "given_up")),
        ):
            for value in values:
                self._child(metric, value)
        for result in _USES.values():
            for standing in ("false", "true"):
                self._child(self._uses, result, standing)
        for single in (
            self._store_errors, self._unrecorded, self._defects, self._fetched, self._oldest, self._waits,
        ):  # fmt: skip
            self._child(single)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """All metrics in the format that an Accept header asks for, and its content type."""
        encode: Callable[[CollectorRegistry], bytes]
        try:
            encode, content_type = choose_encoder(accept)
        except (TypeError, ValueError):
            # The library compares versions in the header, which may be no numbers.
            encode, content_type = choose_encoder("")
        return encode(self.registry), content_type

    def _decided(self, event: Decided) -> None:
        ruling, tool, client = event.ruling, self._tool(event.call.tool), self._client(event.caller.client)
        key = (tool, client, ruling.allowed, ruling.kind, ruling.rule, ruling.mode, ruling.remembered)
        counted = self._counted.get(key)
        if counted is None:
            counted = self._counted[key] = self._counted_by(ruling, tool, client)
        counted.calls.inc()
        counted.judging.observe(event.seconds)
        if event.engine_seconds is not None:
            cache = "hit" if ruling.remembered else "miss"
            self._child(self._judging, "engine", cache).observe(event.engine_seconds)
        if event.left:
            for rule, left in event.left:
                self._child(self._left, tool, rule).set(left)
            self._child(self._reservations, "reserved").inc(len(event.left))
        elif event.limited:
            self._child(self._reservations, "refused").inc()
        for violation in ruling.violations:
            if violation.monitor:
                # What hand-written rules call themselves may be anything.
                rule = violation.rule if violation.rule in self._reporting else OTHER
                by = "shadow" if violation.shadow else "monitor"
                self._child(self._would_deny, tool, rule, violation.kind, by).inc()

    def _counted_by(self, ruling: Ruling, tool: str, client: str) -> _Counted:
        decision, cache = "allow" if ruling.allowed else "deny", "hit" if ruling.remembered else "miss"
        calls = Count()
        for whole in (
            self._child(self._requests, TOOLS_CALL),
            self._child(self._decisions, tool, decision, ruling.kind, ruling.rule, ruling.mode, cache),
            self._child(self._agents, client, decision),
        ):
            whole.parts.append(calls)
        return _Counted(calls, self._child(self._judging, "total", cache))

    def _activate(self, event: EngineReady) -> None:
        if event.revision == self._revision:
            return
        self._revision = event.revision
        for gauge, labels in self._info:
            gauge.remove(*labels)
        self._info = [(self._bundle, (self._server, event.revision, event.commit, str(event.serial)))]
        self._know(sorted(event.terms.tools))
        self._reporting = frozenset(rule.rule for rule in event.terms.rules if rule.reports)
        for rule in event.terms.rules:
            tool = rule.tool if rule.tool in self._tools else OTHER if rule.tool != "*" else "*"
            risk = (rule.risk.risk_class or "", rule.risk.severity or "")
            labels = (self._server, tool, rule.rule, rule.file, str(rule.line), rule.kind, *risk)
            self._info.append((self._rules, labels))
            if tool in self._tools and rule.reports:
                for kind in (rule.kind, "approval_required") if rule.asks else (rule.kind,):
                    self._child(self._would_deny, tool, rule.rule, kind, rule.reports)
            elif tool in self._tools:
                for cache in ("miss", "hit"):
                    mode = "monitor" if event.terms.monitor else "enforce"
                    self._child(self._decisions, tool, "deny", rule.kind, rule.rule, mode, cache)
        for gauge, labels in self._info:
            gauge.labels(*labels).set(1)
        self._activated.labels(self._server).set(time.time())

    def _passed(self, event: Passed) -> None:
        self._child(self._requests, _method(event.method)).inc()

    def _method_denied(self, event: MethodDenied) -> None:
        self._child(self._denied_methods, _method(event.method), event.mode).inc()

    def _settled(self, event: Settled) -> None:
        self._child(self._upstream, self._tool(event.tool)).observe(event.seconds)
        if event.returned:
            self._child(self._reservations, "returned").inc(event.returned)

    def _refused(self, _: Refused) -> None:
        self._child(self._decisions, OTHER, "deny", "invalid_request", "", "enforce", "none").inc()

    def _engine_failed(self, event: EngineFailed) -> None:
        self._child(self._engine_errors, event.kind).inc()

    def _dropped_one(self, event: Dropped) -> None:
        self._child(self._dropped, event.sender).inc()

    def _store_failed(self, _: StoreFailed) -> None:
        self._child(self._store_errors).inc()

    def _recording_failed(self, event: RecordingFailed) -> None:
        if event.text:
            self._child(self._unrecorded).inc(event.lost)

    def _defect(self, _: Defect) -> None:
        self._child(self._defects).inc()

    def _approvals_counted(self, event: ApprovalsCounted) -> None:
        for state in OPEN:
            self._child(self._approvals, state).set(event.counts.states.get(state, 0))
        self._child(self._oldest).set(event.waits)

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
        self._child(self._deliveries, result).inc()

    def _candidate_began(self, event: CandidateBegan) -> None:
        if self._candidate_revision:
            self._candidate_info.remove(self._server, self._candidate_revision)
        self._candidate_revision = event.revision
        self._candidate_info.labels(self._server, event.revision).set(1)
        for live in ACTIONS:
            for candidate in ACTIONS:
                self._child(self._candidate, live, candidate)
        for reason in CANDIDATE_GAPS:
            self._child(self._candidate_gaps, reason)

    def _candidate_compared(self, event: CandidateCompared) -> None:
        self._child(self._candidate, event.live, event.candidate).inc(event.count)

    def _candidate_not_asked(self, event: CandidateNotAsked) -> None:
        self._child(self._candidate_gaps, event.reason).inc(event.count)

    def _reloaded(self, event: Reloaded) -> None:
        self._child(self._reloads, "accepted" if event.accepted else "refused").inc()

    def _bundle_fetched(self, event: BundleFetched) -> None:
        self._child(self._fetches, "failed" if event.trouble else "news" if event.news else "unchanged").inc()
        if not event.trouble:
            self._child(self._fetched).set(time.time())

    def _bundle_judged(self, event: BundleJudged) -> None:
        if event.refused:
            self._child(self._bundle_refusals, event.refused).inc()

    def _listed(self, event: Listed) -> None:
        self._know(event.tools)

    def _sessions_open(self, event: SessionsOpen) -> None:
        self._sessions.labels(self._server).set(event.count)

    def _know(self, tools: Iterable[str]) -> None:
        for tool in tools:
            if len(self._tools) >= MAX_TOOLS:
                return
            self._tools[tool] = shown(tool)

    def _client(self, name: str) -> str:
        if name and (name in self._clients or len(self._clients) < MAX_CLIENTS):
            self._clients.add(name)
            return name
        return OTHER

    def _tool(self, name: str) -> str:
        return self._tools.get(name, OTHER)

    def _child(self, metric: Any, *labels: str) -> Any:
        # Cached: labels() of the library takes longer than all the rest of an update.
        key = (metric, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(self._server, *labels)
        return child


def _method(name: str) -> str:
    return name if name in METHODS else OTHER
