"""Our counters and histograms show what the Prometheus client's own would show."""

from __future__ import annotations

import prometheus_client
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from sidecar.observe import tally

BOUNDS = (5e-05, 0.001, 0.25, 1, 10)
label_values = st.sampled_from(["a", "b", 'with "quotes"\n', ""])
seconds = st.sampled_from([0.0, *BOUNDS]) | st.floats(0, 20)


def shown(registry: CollectorRegistry) -> list[str]:
    """What is shown, but for when each series was made."""
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]


@given(st.lists(st.tuples(label_values, st.integers(0, 5))), st.lists(st.tuples(label_values, seconds)))
def test_what_is_counted_is_shown_as_the_library_would(
    counts: list[tuple[str, int]], observed: list[tuple[str, float]]
) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    our_counter, our_histogram = tally.Counter("c_total", "Text", ("x",)), tally.Histogram("h", "Text", ("x",), BOUNDS)
    ours.register(our_counter)
    ours.register(our_histogram)
    their_counter = prometheus_client.Counter("c_total", "Text", ("x",), registry=theirs)
    their_histogram = prometheus_client.Histogram("h", "Text", ("x",), registry=theirs, buckets=BOUNDS)
    for value, number in counts:
        our_counter.labels(value).inc(number)
        their_counter.labels(value).inc(number)
    for value, each in observed:
        our_histogram.labels(value).observe(each)
        their_histogram.labels(value).observe(each)
    assert shown(ours) == shown(theirs)
