"""Counters, gauges and histograms that are cheap to update; the Prometheus client exposes them.

The client's own take a lock for each update. Here only the event loop's thread updates, so plain numbers are enough:
that saves some 3 µs for each call. Another thread may expose them at the same time: it first copies what can grow,
which is atomic in the interpreter.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString


class Count:
    """A number that only grows. It includes the numbers of its `parts`."""

    __slots__ = ("_own", "parts")

    def __init__(self) -> None:
        self._own = 0.0
        self.parts: list[Count] = []

    def inc(self, by: float = 1.0) -> None:
        """Add to it."""
        self._own += by

    @property
    def value(self) -> float:
        """The number, its parts included."""
        return self._own + sum([part.value for part in self.parts])


class Level:
    """A number that is set."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def set(self, value: float) -> None:
        """Set it."""
        self.value = value


Number = TypeVar("Number", Count, Level)
Made = TypeVar("Made", bound=Collector)


class _Numbers(Collector, Generic[Number]):
    """One number for each combination of label values."""

    _number: type[Number]
    _family: type[CounterMetricFamily | GaugeMetricFamily]

    def __init__(self, name: str, text: str, labels: Sequence[str]) -> None:
        self._about = (name, text, labels)
        self._numbers: dict[tuple[str, ...], Number] = {}

    def labels(self, *values: str) -> Number:
        """The number of one combination of label values."""
        return self._numbers.setdefault(values, self._number())

    def collect(self) -> Iterator[Metric]:
        """What the client shows."""
        name, text, labels = self._about
        family = self._family(name, text, labels=labels)
        for values, number in self._numbers.copy().items():
            family.add_metric(values, number.value)
        yield family


class CounterMetric(_Numbers[Count]):
    """The counter `name`."""

    _number, _family = Count, CounterMetricFamily


class GaugeMetric(_Numbers[Level]):
    """The gauge `name`."""

    _number, _family = Level, GaugeMetricFamily

    def remove(self, *values: str) -> None:
        """Expose one combination of label values no more."""
        self._numbers.pop(values, None)


class Spread:
    """The hits of each bucket; `bounds` are the greatest values of all buckets but the last."""

    __slots__ = ("_bounds", "hits", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.hits = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.hits[bisect_left(self._bounds, value)] += 1
        self.total += value


class HistogramMetric(Collector):
    """The histogram `name`, one spread for each combination of label values."""

    def __init__(self, name: str, text: str, labels: Sequence[str], bounds: Sequence[float]) -> None:
        self._about = (name, text, labels)
        self._bounds = bounds
        self._spreads: dict[tuple[str, ...], Spread] = {}

    def labels(self, *values: str) -> Spread:
        """The spread of one combination of label values."""
        return self._spreads.setdefault(values, Spread(self._bounds))

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """What the client exposes. Buckets are cumulative: each counts all values up to its bound."""
        name, text, labels = self._about
        family = HistogramMetricFamily(name, text, labels=labels)
        for values, spread in self._spreads.copy().items():
            up_to = 0
            buckets: list[tuple[str, float]] = []
            for bound, hits in zip((*map(floatToGoString, self._bounds), "+Inf"), spread.hits, strict=True):
                up_to += hits
                buckets.append((bound, up_to))
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
        return self._registered(CounterMetric(self._prefix + name, text, self._labels + labels))

    def gauge(self, name: str, text: str, *labels: str) -> GaugeMetric:
        """A gauge."""
        return self._registered(GaugeMetric(self._prefix + name, text, self._labels + labels))

    def histogram(self, name: str, text: str, bounds: Sequence[float], *labels: str) -> HistogramMetric:
        """A histogram with buckets up to each of the `bounds`, and one for all values beyond."""
        return self._registered(HistogramMetric(self._prefix + name, text, self._labels + labels, bounds))

    def _registered(self, made: Made) -> Made:
        self._registry.register(made)
        return made
