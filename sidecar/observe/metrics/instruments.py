"""Counters, gauges and histograms that are cheap to update; the Prometheus client exposes them.

The client's own take a lock for each update. Here only the event loop's thread updates, so plain numbers are enough:
that saves some 3 µs for each call. Another thread may expose them at the same time: it first copies what can grow,
which is atomic in the interpreter.

Each metric has a greatest number of series. Beyond it, what stands in the labels whose values come from outside is
`_other`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Final, Generic, TypeAlias, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

OTHER: Final = "_other"
"""What stands for a value that gets no series of its own."""
OPEN_LABELS: Final = frozenset({"tool", "rule", "client"})
"""Labels whose values are not ours: they come from a policy, a client or the MCP server."""
MAX_SERIES: Final = 5_000
"""Combinations of label values of one counter or gauge."""
MAX_SPREADS: Final = 600
"""Combinations of label values of one histogram, each of which is some 16 series."""

Mark: TypeAlias = tuple[str, str, float, float]
"""What an exemplar shows of one call: its decision id, its trace id or "", the seconds it took, and when (Unix)."""


class Count:
    """A number that only grows. It includes the numbers of its parts; `mark` is of what was counted last."""

    __slots__ = ("_own", "_parts", "mark")

    def __init__(self) -> None:
        self._own = 0.0
        self._parts: tuple[float, list[Count]] = (0.0, [])
        """What parts came to that were folded, and the parts: replaced as one, so that no thread sees half of it."""
        self.mark: Mark | None = None

    def inc(self, by: float = 1.0) -> None:
        """Add to it."""
        self._own += by

    def hit(self, mark: Mark) -> None:
        """Count one more, of which this is the mark."""
        self._own += 1.0
        self.mark = mark

    def include(self, part: Count) -> None:
        """Count all that `part` counts too."""
        self._parts[1].append(part)

    def fold(self) -> None:
        """Keep what its parts came to, and let go of them."""
        self.mark = self.last
        folded, parts = self._parts
        self._parts = (folded + sum([part.value for part in parts]), [])

    @property
    def value(self) -> float:
        """The number, its parts included."""
        folded, parts = self._parts
        return self._own + folded + sum([part.value for part in parts])

    @property
    def is_unused(self) -> bool:
        """True where nothing was counted."""
        return not self.value

    @property
    def last(self) -> Mark | None:
        """The newest mark, those of its parts included."""
        marks = [mark for mark in (self.mark, *[part.last for part in self._parts[1]]) if mark is not None]
        return max(marks, key=_when, default=None)


class Level:
    """A number that is set."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def set(self, value: float) -> None:
        """Set it."""
        self.value = value

    def now(self) -> float:
        """The number when it is exposed."""
        return self.value


class Spread:
    """The hits of each bucket, and the mark of the last; `bounds` are the greatest values of all buckets but one."""

    __slots__ = ("_bounds", "hits", "marks", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.hits = [0] * (len(bounds) + 1)
        self.marks: list[Mark | None] = [None] * (len(bounds) + 1)
        self.total = 0.0

    @property
    def is_unused(self) -> bool:
        """True where nothing was counted."""
        return not any(self.hits)

    def observe(self, value: float, mark: Mark | None = None) -> None:
        """Count a value."""
        at = bisect_left(self._bounds, value)
        self.hits[at] += 1
        self.marks[at] = mark
        self.total += value


Labels: TypeAlias = tuple[str, ...]
"""A combination of label values."""
Number = TypeVar("Number", Count, Level)
Counted = TypeVar("Counted", Count, Spread)
Made = TypeVar("Made", bound=Collector)


class _Bound:
    """The greatest number of combinations of label values, and what a combination beyond it is counted as."""

    __slots__ = ("_open", "most")

    def __init__(self, labels: Sequence[str], most: int) -> None:
        self._open = [label in OPEN_LABELS for label in labels]
        self.most = most

    def beyond(self, values: tuple[str, ...]) -> tuple[str, ...]:
        """The combination that stands for one that gets no series of its own."""
        return tuple([OTHER if is_open else value for value, is_open in zip(values, self._open, strict=True)])


class Opened(Generic[Counted]):
    """What of `counted` is shown from 0, before anything is counted: `most` at most, with what was counted."""

    __slots__ = ("_counted", "_make", "_most", "_now")

    def __init__(self, counted: dict[Labels, Counted], make: Callable[[], Counted], most: int) -> None:
        self._counted: dict[Labels, Counted] = counted
        self._make: Callable[[], Counted] = make
        self._most = most
        self._now: frozenset[Labels] = frozenset()

    def open(self, combinations: Iterable[Labels]) -> None:
        """Show these from now on, and those no more that were opened before and have not counted anything.

        Nobody may go on to count by one of those.
        """
        before, self._now = self._now, frozenset(combinations)
        for values in before - self._now:
            counted = self._counted.get(values)
            if counted is not None and counted.is_unused:
                del self._counted[values]
        for values in sorted(self._now - self._counted.keys())[: max(0, self._most - len(self._counted))]:
            self._counted[values] = self._make()


class _Numbers(Collector, Generic[Number]):
    """One number for each combination of label values, for `most` of them."""

    _number: type[Number]

    def __init__(self, name: str, text: str, labels: Sequence[str], most: int = MAX_SERIES) -> None:
        self._about = (name, text, labels)
        self._bound = _Bound(labels, most)
        self._numbers: dict[tuple[str, ...], Number] = {}

    def labels(self, *values: str) -> Number:
        """The number of one combination of label values."""
        number = self._numbers.get(values)
        if number is None:
            if len(self._numbers) >= self._bound.most:
                values = self._bound.beyond(values)
            number = self._numbers.setdefault(values, self._number())
        return number

    def remove(self, *values: str) -> None:
        """Expose one combination of label values no more."""
        self._numbers.pop(values, None)


class CounterMetric(_Numbers[Count]):
    """The counter `name`."""

    _number = Count

    def __init__(self, name: str, text: str, labels: Sequence[str], most: int = MAX_SERIES) -> None:
        super().__init__(name, text, labels, most)
        self._opened = Opened(self._numbers, Count, most)

    def open(self, combinations: Iterable[Labels]) -> None:
        """Show these combinations of label values from 0: see `Opened`."""
        self._opened.open(combinations)

    def fold(self) -> None:
        """Let each number keep what its parts came to, and let go of them."""
        for number in self._numbers.values():
            number.fold()

    def collect(self) -> Iterator[CounterMetricFamily]:
        """What the client exposes; only OpenMetrics shows the exemplars."""
        name, text, labels = self._about
        family = CounterMetricFamily(name, text, labels=labels)
        for values, number in self._numbers.copy().items():
            mark = number.last
            family.add_metric(values, number.value, exemplar=_exemplar(mark, 1.0) if mark is not None else None)
        yield family


class GaugeMetric(_Numbers[Level]):
    """The gauge `name`."""

    _number = Level

    def put(self, level: Level, *values: str) -> None:
        """Let `level` be what one combination of label values shows."""
        self._numbers[values] = level

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What the client exposes."""
        name, text, labels = self._about
        family = GaugeMetricFamily(name, text, labels=labels)
        for values, number in self._numbers.copy().items():
            family.add_metric(values, number.now())
        yield family


class HistogramMetric(Collector):
    """The histogram `name`, one spread for each combination of label values, for `most` of them."""

    def __init__(
        self, name: str, text: str, labels: Sequence[str], bounds: Sequence[float], most: int = MAX_SPREADS
    ) -> None:  # fmt: skip
        self._about = (name, text, labels)
        self._bounds = bounds
        self._shown_bounds = (*map(floatToGoString, bounds), "+Inf")
        self._bound = _Bound(labels, most)
        self._spreads: dict[tuple[str, ...], Spread] = {}
        self._opened = Opened(self._spreads, partial(Spread, bounds), most)

    def open(self, combinations: Iterable[Labels]) -> None:
        """Show these combinations of label values from 0: see `Opened`."""
        self._opened.open(combinations)

    def labels(self, *values: str) -> Spread:
        """The spread of one combination of label values."""
        spread = self._spreads.get(values)
        if spread is None:
            if len(self._spreads) >= self._bound.most:
                values = self._bound.beyond(values)
            spread = self._spreads.setdefault(values, Spread(self._bounds))
        return spread

    def collect(self) -> Iterator[Metric]:
        """What the client exposes. Buckets are cumulative: each counts all values up to its bound."""
        name, text, labels = self._about
        family = HistogramMetricFamily(name, text, labels=labels)
        for values, spread in self._spreads.copy().items():
            up_to = 0
            buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
            for bound, hits, mark in zip(self._shown_bounds, spread.hits, spread.marks, strict=True):
                up_to += hits
                buckets.append((bound, up_to) if mark is None else (bound, up_to, _exemplar(mark, mark[2])))
            family.add_metric(values, buckets, spread.total)
        yield family


class Instruments:
    """Makes metrics of one `registry`. Their names begin with `prefix`, and their labels with `labels`."""

    def __init__(self, registry: CollectorRegistry, prefix: str, labels: Sequence[str]) -> None:
        self._registry = registry
        self._prefix = prefix
        self._labels = tuple(labels)

    def counter(self, name: str, text: str, *labels: str) -> CounterMetric:
        """A counter."""
        return self.registered(CounterMetric(self._prefix + name, text, self._labels + labels))

    def gauge(self, name: str, text: str, *labels: str) -> GaugeMetric:
        """A gauge."""
        return self.registered(GaugeMetric(self._prefix + name, text, self._labels + labels))

    def histogram(self, name: str, text: str, bounds: Sequence[float], *labels: str) -> HistogramMetric:
        """A histogram with buckets up to each of the `bounds`, and one for all values beyond."""
        return self.registered(HistogramMetric(self._prefix + name, text, self._labels + labels, bounds))

    def name(self, name: str) -> str:
        """The whole name of a metric that somebody else makes."""
        return self._prefix + name

    def registered(self, made: Made) -> Made:
        """Expose what collects metrics."""
        self._registry.register(made)
        return made


def _when(mark: Mark) -> float:
    return mark[3]


def _exemplar(mark: Mark, value: float) -> Exemplar:
    decision, trace, _, at = mark
    return Exemplar({"decision_id": decision, "trace_id": trace} if trace else {"decision_id": decision}, value, at)
