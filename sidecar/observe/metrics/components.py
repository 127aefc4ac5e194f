"""Prometheus metrics of what the sidecar needs: whether each part works, as far as is known, and how it failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sidecar.events import (
    ENGINE_ERRORS,
    UPSTREAM_ERRORS,
    BundleFetched,
    Decided,
    EngineFailed,
    EngineReady,
    Handlers,
    StoreFailed,
    UpstreamAnswered,
    UpstreamFailed,
)
from sidecar.observe.metrics.instruments import OTHER, Instruments, Level

STORE_FAILURE_LASTS: Final = 10.0
"""Seconds for which a failure of the store counts, unless a call was counted since: as for `/readyz`."""


class _Lapsing(Level):
    """1, but 0 for some seconds after a failure."""

    __slots__ = ("_clock", "_until")

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._until = 0.0

    def now(self) -> float:
        """1 where it works."""
        return float(self._clock() >= self._until)

    def fail(self) -> None:
        """It fails."""
        self._until = self._clock() + STORE_FAILURE_LASTS

    def mend(self) -> None:
        """It works."""
        self._until = 0.0


class Components:
    """What the sidecar of `server` needs; `clock` gives Unix seconds.

    `troubled` is True after a failure of what a decided or settled call may show to work again: so calls need not be
    looked at otherwise.
    """

    def __init__(self, made: Instruments, server: str, clock: Callable[[], float]) -> None:
        self.troubled = False
        self._server = server
        self._store = _Lapsing(clock)
        self._up = made.gauge(
            "component_up",
            "1 where the last that was heard of a component is that it works, 0 where it failed: engine (OPA), policy "
            "(one is in force), store (counters and approvals), upstream (the MCP server), bundle_source (--bundle).",
            "component",
        )
        self._up.put(self._store, server, "store")
        self._engine, self._policy, self._upstream = [
            self._up.labels(server, component) for component in ("engine", "policy", "upstream")
        ]
        self._upstream.set(1)
        self._engine_errors = made.counter(
            "engine_errors_total", "Questions to OPA without a usable answer, and other failures of OPA.", "kind"
        )
        self._store_errors = made.counter("store_errors_total", "Failures to use the store of counters and approvals.")
        self._upstream_errors = made.counter(
            "upstream_errors_total",
            "Requests to the MCP server, tool calls included, that it did not answer, and failures to connect to it.",
            "reason",
        )
        for kind in ENGINE_ERRORS:
            self._engine_errors.labels(server, kind)
        self._store_errors.labels(server)
        for reason in UPSTREAM_ERRORS:
            self._upstream_errors.labels(server, reason)
        self.handlers: Handlers = {
            EngineReady: self._engine_ready, EngineFailed: self._engine_failed, StoreFailed: self._store_failed,
            UpstreamFailed: self._upstream_failed, UpstreamAnswered: self._upstream_answered,
            BundleFetched: self._bundle_fetched,
        }  # fmt: skip

    def decided(self, event: Decided) -> None:
        """A call was decided. It is the engine's answer unless nobody could get one."""
        if event.engine_seconds is not None and event.ruling.kind != "engine_unavailable":
            self._engine.set(self._policy.value)
        if event.reserve:
            self._store.mend()
        self._look()

    def answered(self) -> None:
        """The MCP server answered."""
        self._upstream.set(1)
        self._look()

    def _look(self) -> None:
        self.troubled = not (self._engine.value and self._upstream.value and self._store.now())

    def _engine_ready(self, _: EngineReady) -> None:
        self._engine.set(1)
        self._policy.set(1)
        self._look()

    def _engine_failed(self, event: EngineFailed) -> None:
        self._engine_errors.labels(self._server, event.kind).inc()
        self._engine.set(0)
        if event.kind == "no_policy":
            self._policy.set(0)
        self.troubled = True

    def _store_failed(self, _: StoreFailed) -> None:
        self._store_errors.labels(self._server).inc()
        self._store.fail()
        self.troubled = True

    def _upstream_failed(self, event: UpstreamFailed) -> None:
        reason = event.cause if event.cause in UPSTREAM_ERRORS else OTHER
        self._upstream_errors.labels(self._server, reason).inc()
        if event.is_down:
            self._upstream.set(0)
            self.troubled = True

    def _upstream_answered(self, _: UpstreamAnswered) -> None:
        self.answered()

    def _bundle_fetched(self, event: BundleFetched) -> None:
        self._up.labels(self._server, "bundle_source").set(0 if event.trouble else 1)
