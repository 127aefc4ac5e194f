"""Prometheus metrics of events, by subject. `Metrics` is all of them, and what serves them."""

from sidecar.observe.metrics.exposition import Metrics
from sidecar.observe.metrics.foreseen import Chosen

__all__ = ["Chosen", "Metrics"]
