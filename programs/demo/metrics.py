"""Metric lines before and after: reads the text of /metrics and says how much a line has grown."""

from __future__ import annotations

import http.client
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample


@dataclass(frozen=True, slots=True)
class Line:
    """A metric with the labels that matter here; samples that differ in others only are added up."""

    name: str
    labels: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        labels = ",".join(f'{key}="{value}"' for key, value in self.labels)
        return f"{self.name}{{{labels}}}"

    def value(self, samples: Iterable[Sample]) -> float:
        """The sum over all samples of this line; 0 when there is none, as a counter that nobody touched."""
        wanted = set(self.labels)
        return sum(sample.value for sample in samples if sample.name == self.name and wanted <= sample.labels.items())


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a line, and how much it must have grown."""

    line: Line
    before: float
    after: float
    expected: float


def decisions(**labels: str) -> Line:
    """Decisions on tool calls."""
    return Line("mcp_policy_decisions_total", tuple(labels.items()))


SHOWN: Final = (
    (decisions(tool="place_order", decision="allow"), 10),
    (decisions(decision="deny", rule="instruments"), 1),
    (decisions(decision="deny", rule="worth of an order"), 1),
    (decisions(decision="deny", rule="worth of a day"), 1),
    (decisions(decision="deny", rule="close_positions#1"), 1),
)
"""Lines that the session changes, and by how much."""

ALSO: Final = (
    (decisions(decision="allow"), 13),
    (decisions(decision="deny"), 4),
    (Line("mcp_policy_reservations_total", (("result", "reserved"),)), 36),
    (Line("mcp_policy_reservations_total", (("result", "refused"),)), 1),
    (Line("mcp_policy_reservations_total", (("result", "returned"),)), 0),
)
"""What must be true besides: the lines that are shown are not beside others."""


def changes(
    before: Iterable[Sample], after: Iterable[Sample], expected: Iterable[tuple[Line, float]]
) -> tuple[Change, ...]:
    """How each line changed between two scrapes."""
    before, after = tuple(before), tuple(after)
    return tuple(Change(line, line.value(before), line.value(after), growth) for line, growth in expected)


def parse(text: str) -> tuple[Sample, ...]:
    """All samples of an exposition in Prometheus text format."""
    return tuple(sample for family in text_string_to_metric_families(text) for sample in family.samples)


def scrape(url: str, seconds: float = 5) -> tuple[Sample, ...]:
    """The samples that are at a URL of plain HTTP now, read without any proxy. Raises OSError."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.netloc, timeout=seconds)
    try:
        connection.request("GET", where.path, headers={"Accept": "text/plain"})
        response = connection.getresponse()
        text = response.read().decode()
    finally:
        connection.close()
    if response.status != 200:
        raise OSError(f"{url} answered {response.status}")
    return parse(text)
