"""Prometheus metrics of calls that were forwarded to the MCP server: how each ended, and how long that took."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final, NamedTuple

from sidecar.events import Handlers, Settled
from sidecar.mcp.tool_call import Outcome
from sidecar.observe.metrics.components import Components
from sidecar.observe.metrics.instruments import Count, Instruments, Mark, Spread
from sidecar.observe.metrics.limits import LimitMetrics
from sidecar.observe.metrics.names import Names

MAX_OPENED: Final = 100
"""Tools whose series are there before a call of them was forwarded: each has more than twenty."""
_SERVER_BUCKETS: Final = (1e-3, 5e-3, 1e-2, 5e-2, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


# An attribute of an enum takes 0.1 µs, and so does finding a member in a table.
_SUCCEEDED: Final = Outcome.SUCCEEDED
_UNKNOWN: Final = Outcome.UNKNOWN


class _Tool(NamedTuple):
    """What the calls of one tool are counted by."""

    succeeded: Count
    ended: dict[Outcome, Count]
    seconds: Spread


class UpstreamMetrics:
    """The calls that were forwarded for `server`; `clock` gives Unix seconds."""

    def __init__(
        self, made: Instruments, server: str, names: Names, limits: LimitMetrics, components: Components,
        clock: Callable[[], float],
    ) -> None:  # fmt: skip
        self._server = server
        self._names = names
        self._limits = limits
        self._components = components
        self._clock = clock
        self._tools: dict[str, _Tool] = {}
        self._settled = made.counter(
            "calls_settled_total",
            "Forwarded calls that ended: success, failure (a result with isError), error (a JSON-RPC error), not_run "
            "(it certainly did not run), unknown (no answer: it may have run). From 0 with the first call of a tool.",
            "tool",
            "outcome",
        )
        self._seconds = made.histogram(
            "upstream_duration_seconds",
            "Time from forwarding a call until the MCP server answered it, in seconds; calls without an answer are "
            "not in it.",
            _SERVER_BUCKETS,
            "tool",
        )
        self.handlers: Handlers = {Settled: self._one_settled}

    def activate(self, tools: Iterable[str]) -> None:
        """Another policy is in force: calls of tools with these labels may reach the server."""
        self._tools.clear()  # those that are shown no more must not be counted by
        wanted = list(islice(tools, MAX_OPENED))
        self._settled.open((self._server, label, outcome.value) for label in wanted for outcome in Outcome)
        self._seconds.open((self._server, label) for label in wanted)

    def _one_settled(self, event: Settled) -> None:
        label = self._names.tool(event.tool)
        tool = self._tools.get(label) or self._begin(label)
        mark: Mark = (event.decision_id, "", event.seconds, self._clock())
        outcome = event.outcome
        (tool.succeeded if outcome is _SUCCEEDED else tool.ended[outcome]).hit(mark)
        if not event.cause and outcome is not _UNKNOWN:
            tool.seconds.observe(event.seconds, mark)
            if self._components.troubled:
                self._components.answered()
        if event.returned:
            self._limits.returned.inc(event.returned)
            self._limits.given_back(event.undone)

    def _begin(self, label: str) -> _Tool:
        ended = {outcome: self._settled.labels(self._server, label, outcome.value) for outcome in Outcome}
        tool = self._tools[label] = _Tool(ended[_SUCCEEDED], ended, self._seconds.labels(self._server, label))
        return tool
