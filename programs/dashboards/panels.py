"""Panels as the dashboard JSON has them: a few kinds, each with what all panels of ours should have.

Every panel says what it shows, in which unit, and what it means when there is nothing to show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Json = dict[str, Any]

_NAMES: Final = {"mean": "Mean", "max": "Max", "min": "Min", "lastNotNull": "Last *"}
"""What Grafana calls the columns of a legend."""

DATASOURCE: Final[Json] = {"type": "prometheus", "uid": "${datasource}"}
GREEN, YELLOW, ORANGE, RED, BLUE, PURPLE = "green", "yellow", "orange", "red", "blue", "purple"
GREY, TEXT = "#8e8e8e", "text"


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel. `legend` is Grafana's legend format; with `exemplars` each point may name a decision."""

    expr: str
    legend: str = ""
    exemplars: bool = False


def thresholds(*steps: tuple[float | None, str]) -> Json:
    """Colours from each value on; the first step has the value None."""
    return {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in steps]}


def states(of: Mapping[str, tuple[str, str]]) -> list[Json]:
    """What is shown in place of a value, and its colour."""
    options = {
        value: {"text": text, "color": color, "index": index} for index, (value, (text, color)) in enumerate(of.items())
    }
    return [{"type": "value", "options": options}]


def override(field: str, **properties: Any) -> Json:
    """Other settings for one field: `custom_width` is `custom.width`."""
    return _override({"id": "byName", "options": field}, properties)


def override_like(pattern: str, **properties: Any) -> Json:
    """Other settings for all fields whose name is like `pattern`."""
    return _override({"id": "byRegexp", "options": f"/{pattern}/"}, properties)


def shortened(length: int) -> list[Json]:
    """What is shown of a long hash: its beginning."""
    return [{"type": "regex", "options": {"pattern": f"^(.{{{length}}}).*$", "result": {"text": "$1", "index": 0}}}]


def colour(color: str) -> Json:
    """One colour for all."""
    return {"mode": "fixed", "fixedColor": color}


def row(title: str) -> Json:
    """A heading across the whole width."""
    return {"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": {"w": 24, "h": 1}}


def stat(
    title: str, description: str, *queries: Query, unit: str, steps: Json, none: str, size: tuple[int, int] = (4, 4),
    mappings: Sequence[Json] = (), names: bool = False, trend: bool = False, filled: bool = False,
    decimals: int | None = None, calc: str = "lastNotNull", links: Sequence[Json] = (),
) -> Json:  # fmt: skip
    """The last value of each query, large. With `trend` a small graph stands below it; `filled` colours the ground."""
    options = {
        "colorMode": "background" if filled else "value",
        "graphMode": "area" if trend else "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "percentChangeColorMode": "standard",
        "reduceOptions": {"calcs": [calc], "fields": "", "values": False},
        "showPercentChange": False,
        "textMode": "value_and_name" if names else "value",
        "wideLayout": True,
    }
    defaults = {"color": {"mode": "thresholds"}, "thresholds": steps, "mappings": list(mappings), "links": list(links)}
    panel = _panel("stat", title, description, size, options, unit, none, defaults, decimals)
    return panel | {"targets": [_target(index, query, instant=not trend) for index, query in enumerate(queries)]}


def series(
    title: str, description: str, *queries: Query, unit: str, none: str, size: tuple[int, int] = (8, 8),
    bars: bool = False, stacked: bool = False, steps: Json | None = None, low: float | None = 0,
    high: float | None = None, calcs: Sequence[str] = (), right: bool = False, overrides: Sequence[Json] = (),
    links: Sequence[Json] = (), decimals: int | None = None, stepped: bool = False, log: bool = False,
) -> Json:  # fmt: skip
    """Values over time. With `calcs` the legend is a table of them, the worst above. `steps` are dashed lines."""
    custom = {
        "axisPlacement": "auto",
        "drawStyle": "bars" if bars else "line",
        "lineInterpolation": "stepAfter" if stepped else "linear",
        "lineWidth": 0 if bars else 2,
        "fillOpacity": 80 if bars else 20 if stacked else 0,
        "gradientMode": "none",
        "showPoints": "never",
        "pointSize": 5,
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "scaleDistribution": {"type": "log", "log": 10} if log else {"type": "linear"},
        "thresholdsStyle": {"mode": "dashed" if steps else "off"},
        "hideFrom": {"legend": False, "tooltip": False, "viz": False},
    }
    options = {
        "legend": {
            "calcs": list(calcs),
            "displayMode": "table" if calcs else "list",
            "placement": "right" if right else "bottom",
            "showLegend": True,
        }
        | ({"sortBy": _NAMES[calcs[0]], "sortDesc": calcs[0] != "min"} if calcs else {}),
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    defaults: Json = {"color": {"mode": "palette-classic"}, "custom": custom, "mappings": [], "links": list(links)}
    defaults["thresholds"] = steps or thresholds((None, GREEN))
    defaults |= {name: value for name, value in (("min", low), ("max", high)) if value is not None}
    panel = _panel("timeseries", title, description, size, options, unit, none, defaults, decimals, overrides)
    return panel | {"targets": [_target(index, query) for index, query in enumerate(queries)]}


def table(
    title: str, description: str, *queries: Query, columns: Sequence[str], renamed: Mapping[str, str], none: str,
    size: tuple[int, int] = (24, 9), sort: str, descending: bool = True,
    overrides: Sequence[Json] = (), links: Sequence[Json] = (),
) -> Json:  # fmt: skip
    """A row for each combination of labels. `columns` are labels and `Value`, or `Value #A` where there are several
    queries, in their order; `renamed` gives their titles, `sort` the title by which rows are ordered. A value is text
    unless an override gives its unit: a label is no number."""
    transformations = [{"id": "merge", "options": {}}] if len(queries) > 1 else []
    transformations.append({
        "id": "organize",
        "options": {
            "excludeByName": {},
            "includeByName": dict.fromkeys(columns, True),
            "indexByName": {name: index for index, name in enumerate(columns)},
            "renameByName": {name: renamed.get(name, name) for name in columns},
        },
    })  # fmt: skip
    options = {
        "cellHeight": "sm",
        "showHeader": True,
        "sortBy": [{"displayName": sort, "desc": descending}],
        "frameIndex": 0,
    }
    defaults = {
        "custom": {"align": "auto", "cellOptions": {"type": "auto"}, "filterable": False, "inspect": False},
        "color": {"mode": "thresholds"},
        "thresholds": thresholds((None, TEXT)),
        "mappings": [],
        "links": list(links),
    }
    panel = _panel("table", title, description, size, options, "string", none, defaults, None, overrides)
    targets = [_target(index, query, instant=True) | {"format": "table"} for index, query in enumerate(queries)]
    return panel | {"targets": targets, "transformations": transformations}


def placed(panels: Sequence[Json]) -> list[Json]:
    """The panels with their ids and places: side by side as long as there is room, like words in a text."""
    found, x, y, tallest = [], 0, 0, 0
    for number, panel in enumerate(panels, start=1):
        size = panel["gridPos"]
        if x + size["w"] > 24:
            x, y, tallest = 0, y + tallest, 0
        found.append(panel | {"id": number, "gridPos": {"x": x, "y": y, **size}})
        x, tallest = x + size["w"], max(tallest, size["h"])
    return found


def _panel(
    kind: str, title: str, description: str, size: tuple[int, int], options: Json, unit: str, none: str,
    defaults: Json, decimals: int | None, overrides: Sequence[Json] = (),
) -> Json:  # fmt: skip
    defaults |= {"unit": unit, "noValue": none}
    if decimals is not None:
        defaults["decimals"] = decimals
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "gridPos": {"w": size[0], "h": size[1]},
        "fieldConfig": {"defaults": defaults, "overrides": list(overrides)},
        "options": options,
    }


def _target(index: int, query: Query, *, instant: bool = False) -> Json:
    return {
        "refId": "ABCDEFGH"[index],
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "format": "time_series",
        "instant": instant,
        "range": not instant,
        "exemplar": query.exemplars,
    }


def _override(matcher: Json, properties: Mapping[str, Any]) -> Json:
    return {
        "matcher": matcher,
        "properties": [
            {"id": name.replace("custom_", "custom.", 1), "value": value} for name, value in properties.items()
        ],
    }
