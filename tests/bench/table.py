"""Figures as a table of text: aligned, units in the header, below it what each row and column means. No I/O."""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench.figures import Figures, Measured, Spread


def table(measured: Sequence[Measured], shown: Sequence[Figures | None], extent: str) -> str:
    """The whole text; `extent` says how much was measured."""
    peer = _peer(measured)
    pairs = list(zip(measured, shown, strict=True))
    rows = [_row(one, item, peer) for one, item in pairs if item is not None]
    return "\n".join([*_aligned(_header(peer), rows), *_failures(pairs), "", *_legend(measured, peer, extent)])


def _peer(measured: Sequence[Measured]) -> str | None:
    """Whom the others are compared with: the first peer of each transport."""
    names = {one.contender.over: one.contender.name for one in reversed(measured) if one.contender.role == "peer"}
    return " or ".join(names[over] for over in ("stdio", "http") if over in names) or None


def _header(peer: str | None) -> list[str]:
    to_peer = [f"×{peer}"] if peer else []
    times = ["p50 µs", "(min-max)", "p95 µs", "p99 µs", "×relay", *to_peer]
    return ["contender", *times, "calls/s", "(min-max)", "×relay", *to_peer, "asked"]


def _row(one: Measured, item: Figures, peer: str | None) -> list[str]:
    time_to_peer = [_times(item.time_to_peer)] if peer else []
    rate_to_peer = [_times(item.rate_to_peer)] if peer else []
    return [
        one.contender.name + (" *" if item.own else ""),
        f"{item.p50.median:,.0f}", _range(item.p50), f"{item.p95.median:,.0f}", f"{item.p99.median:,.0f}",
        _times(item.time_to_relay), *time_to_peer,
        f"{item.rate.median:,.0f}", _range(item.rate), _times(item.rate_to_relay), *rate_to_peer,
        "" if one.asked is None else f"{one.asked:.1%}",
    ]  # fmt: skip


def _aligned(header: list[str], rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [
        "  ".join(
            [cells[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))]
        )
        for cells in [header, *rows]
    ]
    return [lines[0], "-" * len(lines[0]), *(line.rstrip() for line in lines[1:])]


def _failures(pairs: Sequence[tuple[Measured, Figures | None]]) -> list[str]:
    return [
        f"{one.contender.name}: FAILED: {one.failure or 'nothing to compare with, because the direct way failed'}"
        for one, item in pairs
        if item is None
    ]


def _legend(measured: Sequence[Measured], peer: str | None, extent: str) -> list[str]:
    width = max(len(one.contender.name) for one in measured)
    peer_words = f"; ×{peer}: to {peer} under the same policy" if peer else ""
    return [
        *(f"{one.contender.name.ljust(width)}  {one.contender.meaning}" for one in measured),
        "",
        "p50, p95, p99: one call at a time, the time added to direct in the same round; * is the whole time.",
        "calls/s: 32 in flight; for each reply that comes the next call is written.",
        "http: streamable HTTP on both sides: one connection, and 32 with one call on each; answers are JSON.",
        "They are compared with `http direct` and `http relay`, the others with `direct` and `relay`.",
        "Figures are medians of the rounds, beside them the least and the greatest. asked: share of calls put to OPA.",
        f"×relay: to relay{peer_words}. Of p50 less is better, of calls/s more.",
        extent,
    ]


def _range(of: Spread) -> str:
    return f"({of.low:,.0f}-{of.high:,.0f})"


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"
