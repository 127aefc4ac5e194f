"""Makes one span of each call: an observer of decisions and of how calls ended.

A call of a trace that its sender does not record has none (W3C Trace Context, the sampled flag); a call of no trace
has one that begins a trace of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from sidecar.events import Decided, EngineReady, Handlers, Listed, Settled
from sidecar.observe.traces.span import Span, kept
from sidecar.policy.rule_index import RuleIndex
from sidecar.text import shown

MAX_OPEN: Final = 10_000
"""Calls that wait for their end. Of the oldest of more the span is sent without one."""
MAX_NAMES: Final = 1_000
"""Tools that stand in names of spans."""


class CallSpans:
    """Gives `put` the span of each call, once it ended. `clock` gives Unix nanoseconds."""

    def __init__(self, put: Callable[[Span], None], clock: Callable[[], int] = time.time_ns) -> None:
        self.handlers: Handlers = {
            Decided: self._decided, Settled: self._settled, EngineReady: self._ready, Listed: self._listed,
        }  # fmt: skip
        self._put = put
        self._clock = clock
        self._open: dict[str, Span] = {}
        self._policy_tools: frozenset[str] = frozenset()
        self._rules: RuleIndex | None = None
        self._listed_tools: set[str] = set()

    def end(self) -> None:
        """Nobody hears any more how the open calls end: their spans are passed on without that."""
        spans, self._open = self._open, {}
        for span in spans.values():
            self._put(span)

    def _decided(self, event: Decided) -> None:
        call, ruling = event.call, event.ruling
        trace, tool = call.trace, call.tool
        if trace is not None and not trace.sampled:
            return
        span = Span(
            event.decision_id, shown(tool), tool in self._policy_tools or tool in self._listed_tools, call.id, trace,
            event.caller, kept(ruling), event.approval, bool(event.left or event.approval), self._clock(),
            event.seconds, event.answered, self._rules,
        )  # fmt: skip
        if not span.is_forwarded:
            self._put(span)
            return
        if len(self._open) >= MAX_OPEN:
            self._put(self._open.pop(next(iter(self._open))))
        self._open[event.decision_id] = span

    def _settled(self, event: Settled) -> None:
        span = self._open.pop(event.decision_id, None)
        if span is not None:
            span.took, span.outcome, span.cause, span.status = event.seconds, event.outcome, event.cause, event.status
            self._put(span)

    def _ready(self, event: EngineReady) -> None:
        self._policy_tools, self._rules = event.terms.tools, RuleIndex(event.terms)

    def _listed(self, event: Listed) -> None:
        self._listed_tools.update(event.tools[: MAX_NAMES - len(self._listed_tools)])
