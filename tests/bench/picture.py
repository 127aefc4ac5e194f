"""Figures as a picture: the time that each contender adds, and the calls a second beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from tests.bench.figures import Figures, Measured

_COLOURS: Final = {"direct": "#9aa0a6", "relay": "#9aa0a6", "opa": "#7d6bb3", "sidecar": "#1f6fb4", "peer": "#d98a3d"}
_LEAST: Final = 1.0
"""Microseconds at the left edge: an axis of powers has no zero."""
_STYLE: Final[Any] = {"svg.hashsalt": "bench", "svg.fonttype": "path", "font.size": 10.0, "axes.titlesize": 11.0}


def draw(measured: Sequence[Measured], shown: Sequence[Figures | None], machine: str, path: Path) -> None:
    """Write the picture; the ending of `path` says which kind. The same figures give the same bytes."""
    rows = [(one, item) for one, item in zip(measured, shown, strict=True) if item is not None]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(11, 1.6 + 0.42 * len(rows)), layout="constrained")
        times, rates = figure.subplots(1, 2, sharey=True)
        _times(times, rows)
        _rates(rates, rows)
        times.set_yticks(range(len(rows)), [one.contender.name + (" *" if item.own else "") for one, item in rows])
        times.invert_yaxis()
        for axes in (times, rates):
            axes.spines[["top", "right", "left"]].set_visible(False)
            axes.tick_params(axis="y", length=0)
            axes.grid(axis="x", color="#e3e3e3")
            axes.set_axisbelow(True)
        figure.supxlabel(f"* the whole time.  Both axes are logarithmic.  {machine}", fontsize=8, color="#555555")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _times(axes: Any, rows: Sequence[tuple[Measured, Figures]]) -> None:
    for at, (one, item) in enumerate(rows):
        p50, p99 = (max(_LEAST, spread.median) for spread in (item.p50, item.p99))
        axes.barh(at, p50 - _LEAST, left=_LEAST, height=0.62, color=_COLOURS[one.contender.role])
        axes.plot([p50, p99], [at, at], color="#333333", linewidth=1.2, marker="|", markersize=8, markevery=[1])
        _label(axes, max(p50, p99), at, f"{item.p50.median:,.0f} – {item.p99.median:,.0f}")
    axes.set_title("Time added to one call, µs: bar p50, line to p99", loc="left")
    _logarithmic(axes, _LEAST, max(max(item.p50.median, item.p99.median) for _, item in rows))


def _rates(axes: Any, rows: Sequence[tuple[Measured, Figures]]) -> None:
    rates = [item.rate.median for _, item in rows]
    least = min(rates) / 3
    for at, (one, item) in enumerate(rows):
        axes.barh(at, item.rate.median - least, left=least, height=0.62, color=_COLOURS[one.contender.role])
        _label(axes, item.rate.median, at, f"{item.rate.median:,.0f}")
    axes.set_title("Calls a second, 32 in flight", loc="left")
    _logarithmic(axes, least, max(rates))


def _label(axes: Any, x: float, y: float, text: str) -> None:
    axes.annotate(text, (x, y), (6, 0), textcoords="offset points", va="center", fontsize=9)


def _logarithmic(axes: Any, least: float, greatest: float) -> None:
    # Between OPA and the direct way lie two orders of magnitude; the room at the right is for the label.
    axes.set_xscale("log")
    axes.set_xlim(least, greatest * (greatest / least) ** 0.28)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
