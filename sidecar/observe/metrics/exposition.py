"""Prometheus metrics of events. Label values are bounded: those beyond a bound are counted as `_other`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from prometheus_client import CollectorRegistry, Info
from prometheus_client.exposition import choose_encoder

from sidecar import __version__
from sidecar.events import (
    ENGINE_ERRORS,
    Decided,
    Defect,
    Dropped,
    EngineFailed,
    EngineReady,
    Handlers,
    Listed,
    MethodDenied,
    Passed,
    Refused,
    Ruling,
    SessionsOpen,
    Settled,
    StoreFailed,
)
from sidecar.mcp.protocol import METHODS, TOOLS_CALL
from sidecar.observe.metrics.approvals import ApprovalMetrics
from sidecar.observe.metrics.instruments import Count, Instruments, Spread
from sidecar.observe.metrics.policies import PolicyMetrics
from sidecar.policy.model import ANY_TOOL
from sidecar.text import shown

OTHER: Final = "_other"
MAX_TOOLS: Final = 500
"""Tools with series of their own, from the policy and from the server's lists."""
MAX_CLIENTS: Final = 100
"""Clients with series of their own; a client can give itself another name in each request."""

_JUDGING_BUCKETS = (5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 1)
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
        self._children: dict[tuple[Any, ...], Any] = {}
        self._counted: dict[tuple[Any, ...], _Counted] = {}

        made = Instruments(registry, "mcp_policy_", ("server",))
        self._policy = PolicyMetrics(made, server)
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
        self._defects = counter("internal_errors_total", "Defects of ours, each of which ended one message at most.")
        self._sessions = gauge("sessions", "Sessions that are open.")
        self._sessions.labels(server).set(1)
        build = Info("mcp_policy_build", "What is running.", registry=registry)
        build.info({"version": __version__, "opa": opa_version})
        self._begin_at_zero()
        self._in_force = ("", 0)
        self._reporting: frozenset[str] = frozenset()
        """The names of the rules that only report."""
        self.handlers: Handlers = {
            Decided: self._decided, Passed: self._passed, Settled: self._settled, Refused: self._refused,
            MethodDenied: self._method_denied,
            EngineFailed: self._engine_failed, Dropped: self._dropped_one, StoreFailed: self._store_failed,
            Listed: self._listed, EngineReady: self._activate, SessionsOpen: self._sessions_open,
            Defect: self._defect, **self._policy.handlers, **ApprovalMetrics(made, server).handlers,
        }  # fmt: skip

    def _begin_at_zero(self) -> None:
        """Expose these series from the start, so that `increase()` sees the first occurrence of each."""
        for metric, values in (
            (self._reservations, ("reserved", "refused", "returned")),
            (self._engine_errors, ENGINE_ERRORS),
            (self._dropped, ("client", "server")),
        ):
            for value in values:
                self._child(metric, value)
        for single in (self._store_errors, self._defects):
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
        if (event.revision, event.serial) == self._in_force:
            return
        self._in_force = (event.revision, event.serial)
        self._know(sorted(event.terms.tools))
        self._reporting = frozenset(rule.rule for rule in event.terms.rules if rule.reports)
        for rule in event.terms.rules:
            if rule.tool not in self._tools:
                continue
            tool = self._tools[rule.tool]
            if rule.reports:
                for kind in (rule.kind, "approval_required") if rule.asks else (rule.kind,):
                    self._child(self._would_deny, tool, rule.rule, kind, rule.reports)
                continue
            for cache in ("miss", "hit"):
                mode = "monitor" if event.terms.monitor else "enforce"
                self._child(self._decisions, tool, "deny", rule.kind, rule.rule, mode, cache)
        self._policy.activate(event, lambda tool: tool if tool == ANY_TOOL else self._tool(tool))

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

    def _defect(self, _: Defect) -> None:
        self._child(self._defects).inc()

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
