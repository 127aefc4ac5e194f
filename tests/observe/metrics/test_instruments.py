"""Our counters and histograms show what the Prometheus client's own would show."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from sidecar.observe.metrics import instruments

BOUNDS = (5e-05, 0.001, 0.25, 1, 10)
label_values = st.sampled_from(["a", "b", 'with "quotes"\n', ""])
seconds = st.sampled_from([0.0, *BOUNDS]) | st.floats(0, 20)


def shown(registry: CollectorRegistry) -> list[str]:
    """What is shown, but for when each series was made."""
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]


@given(
    st.lists(st.tuples(label_values, st.integers(0, 5))), st.lists(st.tuples(label_values, seconds)),
    st.lists(st.tuples(label_values, st.floats(-9, 9))),
)  # fmt: skip
def test_what_is_counted_is_shown_as_the_library_would(
    counts: list[tuple[str, int]], observed: list[tuple[str, float]], levels: list[tuple[str, float]]
) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    our_counter, our_histogram = (
        instruments.CounterMetric("c_total", "Text", ("x",)),
        instruments.HistogramMetric("h", "Text", ("x",), BOUNDS),
    )
    our_gauge = instruments.GaugeMetric("g", "Text", ("x",))
    for ours_too in (our_counter, our_histogram, our_gauge):
        ours.register(ours_too)
    their_counter = prometheus_client.Counter("c_total", "Text", ("x",), registry=theirs)
    their_histogram = prometheus_client.Histogram("h", "Text", ("x",), registry=theirs, buckets=BOUNDS)
    their_gauge = prometheus_client.Gauge("g", "Text", ("x",), registry=theirs)
    for value, each in levels:
        our_gauge.labels(value).set(each)
        their_gauge.labels(value).set(each)
    for value, number in counts:
        our_counter.labels(value).inc(number)
        their_counter.labels(value).inc(number)
    for value, each in observed:
        our_histogram.labels(value).observe(each)
        their_histogram.labels(value).observe(each)
    assert shown(ours) == shown(theirs)


def test_what_a_part_counts_is_counted_in_every_whole() -> None:
    counter, part, other = (
        instruments.CounterMetric("c_total", "Text", ("x",)),
        instruments.Count(),
        instruments.Count(),
    )
    counter.labels("a").include(part)
    counter.labels("b").include(part)
    counter.labels("b").include(other)
    counter.labels("b").inc(0.5)
    part.inc()
    other.inc(2)
    assert [(count.labels["x"], count.value) for family in counter.collect() for count in family.samples] == [
        ("a", 1.0), ("b", 3.5)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "metric",
    [
        instruments.CounterMetric("c", "Text", ("x",)),
        instruments.GaugeMetric("g", "Text", ("x",)),
        instruments.HistogramMetric("h", "Text", ("x",), BOUNDS),
    ],
)
def test_what_begins_to_be_counted_while_another_thread_shows_it_does_not_disturb(metric: Any) -> None:
    def begin() -> None:
        for number in range(2_000):
            metric.labels(str(number))

    every = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(1) as threads:
            counting = threads.submit(begin)
            while not counting.done():
                list(metric.collect())
    finally:
        sys.setswitchinterval(every)
    counting.result(10)
