"""The queries of a dashboard, as Grafana would send them: variables filled in, one by one.

Every variable stands for all of its values here. `$__rate_interval` follows Grafana's rule: four times the interval at
which targets are scraped, or one interval more than the distance between two points, whichever is longer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from programs.dashboards.panels import Json

_ALL: Final = ".*"
_LEFT: Final = re.compile(r"\$\{?[a-z_]\w*")
"""A variable; `$1` is part of a query of Prometheus."""


@dataclass(frozen=True, slots=True)
class Span:
    """The time that is shown, in Unix seconds. Points are `step` seconds apart; targets are scraped each `scrape`."""

    start: float
    end: float
    step: float
    scrape: float

    @property
    def rate_interval(self) -> float:
        """`$__rate_interval` in seconds."""
        return max(self.step + self.scrape, 4 * self.scrape)


@dataclass(frozen=True, slots=True)
class Question:
    """One query. `where` says whose it is, for people; `panel` is 0 for an annotation's."""

    where: str
    panel: int
    ref: str
    expr: str
    instant: bool


def questions(dashboard: Json, span: Span) -> Iterator[Question]:
    """Every query of the panels, and then of the annotations. Raises ValueError where a variable is not known."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            where = f"{dashboard['title']}: {panel['title']}, {target['refId']}"
            yield Question(where, panel["id"], target["refId"], _filled(target["expr"], span, where), target["instant"])
    for annotation in dashboard["annotations"]["list"]:
        where = f"{dashboard['title']}: {annotation['name']}"
        yield Question(where, 0, annotation["name"], _filled(annotation["target"]["expr"], span, where), False)


def _filled(expr: str, span: Span, where: str) -> str:
    known = {
        "$__rate_interval": f"{span.rate_interval:.0f}s",
        "$__range": f"{span.end - span.start:.0f}s",
        "$namespace": _ALL,
        "$server": _ALL,
        "$tool": _ALL,
    }
    for name, value in known.items():
        expr = re.sub(rf"{re.escape(name)}\b", value, expr)
    if found := _LEFT.search(expr):
        raise ValueError(f"{where}: {found[0]} is not known")
    return expr
