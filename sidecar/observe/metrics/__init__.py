"""Prometheus metrics of events, by subject. `Metrics` is all of them, and what serves them."""

from sidecar.observe.metrics.exposition import Metrics

__all__ = ["Metrics"]
