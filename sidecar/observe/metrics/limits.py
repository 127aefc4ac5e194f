"""Prometheus metrics of limits: how much each allows, what is left of it now, and when it is whole again.

One counter is one series. A counter of each session or principal is many counters: of these the least that is left in
the window of now is exposed. Values are worked out when they are collected, so that a window that ended is whole again
without a call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from sidecar.decision.decision import Reserve
from sidecar.ledger.names import of_server
from sidecar.ledger.protocol import Claim
from sidecar.ledger.sliding import SLICES
from sidecar.ledger.values import Amount, Counter, Entry, subtract, window_start
from sidecar.observe.metrics.instruments import OTHER, Count, Instruments
from sidecar.observe.metrics.names import Names
from sidecar.observe.metrics.rules import RuleMetrics
from sidecar.policy.terms import LimitInfo, Terms
from sidecar.text import shown

MAX_LIMITS: Final = 500
"""Limits with series of their own; a counter that counts each tool by itself is one for each tool."""
MAX_HOLDERS: Final = 100
"""Counters of one series, as of sessions, whose totals are kept: those of which the least is left."""


class _Counter:
    """A counter of one holder: its total after the last call, and the window that this stands in."""

    __slots__ = ("matches", "start", "total")

    def __init__(self, matches: Count) -> None:
        self.matches = matches
        self.total: Amount = 0
        self.start = 0


class _Series:
    """All counters of one limit that are one series."""

    __slots__ = ("counters", "labels", "limit")

    def __init__(self, limit: LimitInfo, labels: tuple[str, ...]) -> None:
        self.limit = limit
        self.labels = labels
        self.counters: dict[tuple[str, str], _Counter] = {}

    def end_of(self, counter: _Counter) -> float:
        """When nothing of what stands in a counter counts any more, in Unix seconds."""
        window = self.limit.window
        if self.limit.sliding:
            return (counter.start + SLICES + 1) * window / SLICES
        return counter.start + window

    def now(self, at: float) -> tuple[float, float]:
        """The least that is left at a time, and when all of the limit will be there again."""
        counters = [one for one in self.counters.copy().values() if self.end_of(one) > at]
        left = self.limit.limit - max((float(one.total) for one in counters), default=0.0)
        if self.limit.sliding:
            return left, max(map(self.end_of, counters), default=at)
        return left, window_start(at, self.limit.window) + self.limit.window


class Shared(NamedTuple):
    """A counter that all calls share, of a limit, and where it stood when it was looked for: window and total."""

    limit: LimitInfo
    counter: Counter
    stood: tuple[int, Amount] | None


class LimitMetrics(Collector):
    """The limits of the policy of `server`; `clock` gives Unix seconds."""

    def __init__(
        self, made: Instruments, server: str, names: Names, rules: RuleMetrics, clock: Callable[[], float]
    ) -> None:  # fmt: skip
        self._server = server
        self._names = names
        self._rules = rules
        self._clock = clock
        self._prefix = of_server(server)
        self._limits: dict[str, LimitInfo] = {}
        self._series: dict[tuple[str, str], _Series] = {}
        """By the counter's own name, and the tool where it counts each by itself."""
        self._counters: dict[tuple[str, str], _Counter] = {}
        """Every counter that is kept, by its whole name and its holder: a call finds it in one look."""
        reservations = made.counter(
            "reservations_total",
            "What calls took from counters: reserved, refused where a limit was exhausted, returned after the call.",
            "result",
        )
        self._reserved, self.refused, self.returned = [
            reservations.labels(server, result) for result in ("reserved", "refused", "returned")
        ]
        self._floors: dict[_Series, tuple[int, Amount]] = {}
        """Of full series: the window in which it was looked for room last, and the least total that was kept then.

        Totals only grow in a window, unless something is given back: who has no more than that gets no room.
        """
        self._families = [(made.name(name), text) for name, text in _TEXTS.items()]
        made.registered(self)

    @property
    def kept(self) -> int:
        """How many counters of single holders are kept."""
        return len(self._counters)

    def activate(self, terms: Terms) -> None:
        """Another policy is in force: limits that it does not have are exposed no more; what stands in others stays."""
        before, self._series, self._counters = self._series, {}, {}
        self._floors.clear()
        self._limits = {limit.counter: limit for limit in terms.limits[:MAX_LIMITS]}
        for limit in self._limits.values():
            if not limit.each_tool:
                self._find(limit, "")
        for (counter, tool), old in before.items():
            now = self._limits.get(counter)
            if now is None or _kept_by(now) != _kept_by(old.limit):
                continue
            series = self._find(now, tool)
            if series is not None:
                self._take_over(series, old)

    def _take_over(self, series: _Series, old: _Series) -> None:
        matches = self._rules.matches_of(series.limit.tool, series.limit.rule)
        for key, counter in old.counters.items():
            counter.matches = matches
            series.counters[key] = self._counters[key] = counter

    def counted(self, reserve: tuple[Reserve, ...], claim: Claim, tool: str) -> None:
        """A call of a tool was counted."""
        counters = self._counters
        for item, entry, total in zip(reserve, claim.entries, claim.totals, strict=True):
            counter = counters.get((entry.reservation.counter, entry.reservation.holder))
            if counter is None:
                counter = self._keep(item, entry, total, tool)
            counter.total = total  # first: another thread may collect in between, and a window that ended has no total
            counter.start = entry.start
            counter.matches.inc()
        self._reserved.inc(len(reserve))

    def given_back(self, entries: Iterable[Entry]) -> None:
        """What calls took was undone."""
        self._floors.clear()
        for entry in entries:
            counter = self._counters.get((entry.reservation.counter, entry.reservation.holder))
            if counter is not None and counter.start == entry.start:
                counter.total = max(0, subtract(counter.total, entry.reservation.amount))

    def shared(self) -> list[Shared]:
        """The counters that all calls share, as the store knows them."""
        found: list[Shared] = []
        for limit in self._limits.values():
            if limit.scope == "global" and not limit.each_tool:
                counter = Counter(self._prefix + limit.counter, "", limit.window, limit.sliding)
                kept = self._counters.get((counter.counter, ""))
                found.append(Shared(limit, counter, (kept.start, kept.total) if kept is not None else None))
        return found

    def stands(self, shared: Shared, total: Amount, start: int) -> None:
        """The store has this total of a counter, unless calls were counted since it was looked for."""
        key, limit = (shared.counter.counter, ""), shared.limit
        kept = self._counters.get(key)
        if kept is None:
            series = self._series.get((limit.counter, ""))
            if series is None or series.limit is not limit:
                return  # another policy is in force
            kept = _Counter(self._rules.matches_of(limit.tool, limit.rule))
            series.counters[key] = self._counters[key] = kept
        elif (kept.start, kept.total) != shared.stood:
            return
        kept.total, kept.start = total, start

    def _keep(self, item: Reserve, entry: Entry, total: Amount, tool: str) -> _Counter:
        """Keep a counter that is not known yet, if there is room, or else if less is left of it than of another."""
        counter = _Counter(self._rules.matches_of(tool, item.rule))
        limit = self._limits.get(item.counter)
        series = self._find(limit, self._names.tool(tool) if item.each_tool else "") if limit is not None else None
        if series is None:
            return counter
        if len(series.counters) >= MAX_HOLDERS and not self._make_room(series, entry, total):
            return counter
        key = (entry.reservation.counter, entry.reservation.holder)
        series.counters[key] = self._counters[key] = counter
        return counter

    def _make_room(self, series: _Series, entry: Entry, total: Amount) -> bool:
        """Drop a counter whose window is over, or else the one of which most is left, if that is more than of this."""
        start, floor = self._floors.get(series, (0, -1))
        if start == entry.start and total <= floor:
            return False
        last = entry.start - SLICES if series.limit.sliding else entry.start
        key, counter = min(series.counters.items(), key=lambda kept: (kept[1].start >= last, kept[1].total))
        if counter.start >= last:
            self._floors[series] = entry.start, counter.total
            if counter.total >= total:
                return False
        del series.counters[key]
        del self._counters[key]
        return True

    def _find(self, limit: LimitInfo, tool: str) -> _Series | None:
        """The series of a limit, which begins here where there is room; `tool` where each tool is counted by itself."""
        series = self._series.get((limit.counter, tool))
        if series is None:
            if len(self._series) >= MAX_LIMITS:
                if not tool:
                    return None
                tool = OTHER
                if (limit.counter, tool) in self._series:
                    return self._series[limit.counter, tool]
            labels = (self._server, tool or shown(limit.tool), limit.rule, limit.scope, str(limit.window))
            series = self._series[limit.counter, tool] = _Series(limit, labels)
        return series

    def collect(self) -> Iterator[Metric]:
        """What the client exposes."""
        at = self._clock()
        most, left, resets = (GaugeMetricFamily(name, text, labels=_LABELS) for name, text in self._families)
        shown: dict[tuple[str, ...], tuple[float, float, float]] = {}
        for series in self._series.copy().values():
            found = (*series.now(at), series.limit.limit)
            # Labels of two counters may be the same: of a tool by itself, and of a pattern that counts each tool.
            shown[series.labels] = min(shown.get(series.labels, found), found)
        for labels, (remaining, until, limit) in shown.items():
            most.add_metric(labels, limit)
            left.add_metric(labels, remaining)
            resets.add_metric(labels, until)
        yield from (most, left, resets)


_LABELS: Final = ("server", "tool", "rule", "scope", "window")
_TEXTS: Final[Mapping[str, str]] = {
    "limit_max": "What a limit of the policy in force allows in one window (in seconds), in units of the limit.",
    "limit_remaining": (
        "What is left of a limit in its window of now, in units of the limit, as far as known here; of counters "
        "of each session or principal the least. Below 0 where a rule only reports."
    ),
    "limit_resets_timestamp_seconds": (
        "When all of a limit is there again, in Unix seconds: the end of the window, or of a sliding one, when "
        "everything that is counted now has fallen out."
    ),
}


def _kept_by(limit: LimitInfo) -> tuple[object, ...]:
    """What says where a counter stands in the store: after a change of it, another one counts."""
    return limit.counter, limit.scope, limit.window, limit.sliding, limit.each_tool
