"""Figures as a picture: the time that each contender adds, and the calls a second beside it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, NullFormatter

from programs.bench.figures import Figures, Measured

_COLOURS: Final = {"direct": "#9aa0a6", "relay": "#9aa0a6", "opa": "#7d6bb3", "sidecar": "#1f6fb4", "peer": "#d98a3d"}
_RANGE: Final = "#333333"
_LEAST: Final = 1.0
"""Microseconds at the left edge: an axis of powers has no zero."""
_STYLE: Final[Any] = {"svg.hashsalt": "bench", "svg.fonttype": "path", "font.size": 10.0, "axes.titlesize": 11.0}


def draw(measured: Sequence[Measured], shown: Sequence[Figures | None], machine: str, path: Path) -> None:
    """Write the picture; the ending of `path` says which kind. The same figures give the same bytes."""
    rows = [(one, item) for one, item in zip(measured, shown, strict=True) if item is not None]
    ways = [one.contender.way for one, _ in rows]
    places = _places(ways)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(12, 1.8 + 0.34 * (max(places) + 1)), layout="constrained")
        times, rates = figure.subplots(1, 2, sharey=True)
        _times(times, rows, places)
        _rates(rates, rows, places)
        times.set_yticks(places, [one.contender.name + (" *" if item.own else "") for one, item in rows])
        times.set_ylim(max(places) + 0.7, -0.7)
        for axes in (times, rates):
            axes.spines[["top", "right", "left"]].set_visible(False)
            axes.tick_params(axis="y", length=0)
            axes.grid(axis="x", color="#e3e3e3")
            axes.set_axisbelow(True)
            for (before, above), (way, below) in pairwise(zip(ways, places, strict=True)):
                if way != before:
                    axes.axhline((above + below) / 2, color="#bbbbbb", linewidth=0.8)
        words = f"* the whole time.  Thin line: least to greatest of the rounds.  Both axes are logarithmic.  {machine}"
        figure.supxlabel(words, fontsize=8, color="#555555")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _places(ways: Sequence[object]) -> list[float]:
    """Where each row stands, with a gap before another kind of call begins."""
    gaps = accumulate((before != way for before, way in pairwise(ways)), initial=0)
    return [at + 0.6 * gap for at, gap in enumerate(gaps)]


def _times(axes: Any, rows: Sequence[tuple[Measured, Figures]], places: Sequence[float]) -> None:
    for at, (one, item) in zip(places, rows, strict=True):
        p50, low, high, p99 = (
            max(_LEAST, each) for each in (item.p50.median, item.p50.low, item.p50.high, item.p99.median)
        )
        axes.barh(at, p50 - _LEAST, left=_LEAST, height=0.62, color=_COLOURS[one.contender.role])
        axes.plot([low, high], [at, at], color=_RANGE, linewidth=1.2)
        axes.plot(p99, at, color=_RANGE, marker="d", markersize=4)
        _label(axes, max(high, p99), at, f"{item.p50.median:,.0f}, p99 {item.p99.median:,.0f}")
    axes.set_title("Time added to one call, µs: bar p50, diamond p99", loc="left")
    _logarithmic(axes, _LEAST, max(max(item.p50.high, item.p99.median) for _, item in rows))


def _rates(axes: Any, rows: Sequence[tuple[Measured, Figures]], places: Sequence[float]) -> None:
    least = min(item.rate.low for _, item in rows) / 3
    for at, (one, item) in zip(places, rows, strict=True):
        axes.barh(at, item.rate.median - least, left=least, height=0.62, color=_COLOURS[one.contender.role])
        axes.plot([item.rate.low, item.rate.high], [at, at], color=_RANGE, linewidth=1.2)
        _label(axes, item.rate.high, at, f"{item.rate.median:,.0f}")
    axes.set_title("Calls a second, 32 in flight", loc="left")
    _logarithmic(axes, least, max(item.rate.high for _, item in rows))


def _label(axes: Any, x: float, y: float, text: str) -> None:
    axes.annotate(text, (x, y), (6, 0), textcoords="offset points", va="center", fontsize=9)


def _logarithmic(axes: Any, least: float, greatest: float) -> None:
    # Between OPA and the direct way lie two orders of magnitude; the room at the right is for the label.
    axes.set_xscale("log")
    axes.set_xlim(least, greatest * (greatest / least) ** 0.34)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_minor_formatter(NullFormatter())
