"""Figures as tables of text: aligned, units in the header, below them what each row and column means. No I/O."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set

from programs.bench.figures import NO_RATIOS, Figures, Measured, Spread, difference, spread
from programs.bench.memory import Memory
from programs.bench.start import Started
from programs.bench.targets import MIB, Target


def table(measured: Sequence[Measured], shown: Sequence[Figures | None], extent: str) -> str:
    """Times, rates and ratios; `extent` says how much was measured."""
    pairs = list(zip(measured, shown, strict=True))
    fit = [(one, item) for one, item in pairs if item is not None]
    peers = _peers(fit)
    return "\n".join([
        *aligned(_HEADER, [_row(one, item) for one, item in fit]),
        *_failures(pairs),
        "",
        *aligned(
            _ratio_header(bool(peers)),
            [_ratio_row(one, item, bool(peers)) for one, item in fit if not item.own],
        ),
        "",
        *_legend(measured, peers, extent),
    ])  # fmt: skip


def memory_table(memory: Memory) -> str:
    """What is held in memory."""
    if memory.failure is not None:
        return f"{memory.contender.name}: FAILED: {memory.failure}"
    header = ["memory, MiB", "started", "memory of decisions full", f"{memory.calls:,} calls later", "growth"]
    rows = [
        [held.program, *(f"{size / MIB:.1f}" for size in (held.started, held.filled, held.ended)),
         f"{(held.ended - held.filled) / MIB:+.1f}"]
        for held in memory.held
    ]  # fmt: skip
    return "\n".join([*aligned(header, rows), f"VmRSS of `{memory.contender.name}` ({memory.contender.meaning})."])


def start_table(started: Sequence[Started]) -> str:
    """How long a start takes."""
    direct = next((one for one in started if one.contender.role == "direct" and one.failure is None), None)
    rows = []
    for one in started:
        if one.failure is None:
            more = difference(one.seconds, direct.seconds) if direct and one is not direct else None
            rows.append([
                one.contender.name,
                *_with_range(spread(one.seconds), 2),
                *(_with_range(more, 2) if more else ("", "")),
                one.contender.meaning,
            ])  # fmt: skip
    header = ["start to tools/list, s", "", "(min-max)", "more than direct", "(min-max)", ""]
    failed = [f"{one.contender.name}: FAILED: {one.failure}" for one in started if one.failure is not None]
    return "\n".join([*aligned(header, rows), *failed])


def target_table(targets: Sequence[Target]) -> str:
    """The summary: what is wanted, what came out."""
    rows = [
        [
            one.case, one.what, f"{'<=' if one.at_most else '>='} {one.wanted:,g} {one.unit}",
            *(("", "") if one.figure is None else _with_range(one.figure, 0 if one.unit in ("µs", "/s") else 2)),
            one.verdict + (f" ({one.missing})" if one.figure is None else ""),
        ]
        for one in targets
    ]  # fmt: skip
    lines = aligned(["target", "of what", "wanted", "median", "(min-max)", "verdict"], rows, words={0, 1, 5})
    if any(one.missing == "no peer" for one in targets if one.figure is None):
        lines.append("A peer is another proxy in the same run: `make bench-peers` says how to bring one in.")
    return "\n".join(lines)


_HEADER = [
    "contender", "p50 µs", "(min-max)", "p95 µs", "p99 µs", "(min-max)", "calls/s", "(min-max)", "CPU µs", "asked",
]  # fmt: skip


def _row(one: Measured, item: Figures) -> list[str]:
    return [
        one.contender.name + (" *" if item.own else ""),
        *_with_range(item.p50), f"{item.p95.median:,.0f}", *_with_range(item.p99), *_with_range(item.rate),
        f"{item.cpu.median:,.0f}", "" if one.asked is None else f"{one.asked:.1%}",
    ]  # fmt: skip


def _ratio_header(peers: bool) -> list[str]:
    others = ["p50 ×peer", "(min-max)", "p99 ×peer", "(min-max)", "calls/s ×peer", "(min-max)"] if peers else []
    return ["ratios", "p50 ×relay", "(min-max)", "calls/s ×relay", "(min-max)", *others]


def _ratio_row(one: Measured, item: Figures, peers: bool) -> list[str]:
    relay, peer = item.to_relay or NO_RATIOS, item.to_peer or NO_RATIOS
    shown = [relay.p50, relay.rate, *([peer.p50, peer.p99, peer.rate] if peers else [])]
    return [one.contender.name, *(cell for of in shown for cell in (_with_range(of, 2) if of else ("", "")))]


def aligned(header: list[str], rows: list[list[str]], words: Set[int] = frozenset({0})) -> list[str]:
    """The columns `words`, and the last where it has no header, are set to the left."""
    left = words | ({len(header) - 1} if not header[-1] else set())
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if at in left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in [header, *rows]
    ]
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]


def _failures(pairs: Sequence[tuple[Measured, Figures | None]]) -> list[str]:
    return [
        f"{one.contender.name}: FAILED: {one.failure or 'nothing to compare with, because the direct way failed'}"
        for one, item in pairs
        if item is None
    ]


def _peers(fit: Sequence[tuple[Measured, Figures]]) -> list[str]:
    """With whom others are compared: the first peer on each way."""
    names: dict[object, str] = {}
    for one, _ in fit:
        if one.contender.role == "peer":
            names.setdefault(one.contender.way, one.contender.name)
    return list(names.values())


def _legend(measured: Sequence[Measured], peers: Sequence[str], extent: str) -> list[str]:
    width = max(len(one.contender.name) for one in measured)
    return [
        *(f"{one.contender.name.ljust(width)}  {one.contender.meaning}" for one in measured),
        "",
        "p50, p95, p99: one call at a time, the time added to direct in the same round; * is the whole time.",
        "calls/s: 32 in flight; for each reply that comes the next call is written.",
        "CPU: of one call alone, in all processes but the client's, added to direct's; * is the whole.",
        "http: streamable HTTP on both sides: one connection, and 32 with one call on each; answers are JSON.",
        "1 MB and http are compared with the direct contender and the relay of their own kind.",
        "Figures are medians of the rounds, beside them the least and the greatest. asked: share of calls put to OPA.",
        "A ratio is taken within each round. Of p50 and p99 less is better, of calls/s more.",
        *([f"×peer: to {' or '.join(peers)}, whoever is on the same way, under the same policy."] if peers else []),
        extent,
    ]


def _with_range(of: Spread, digits: int = 0) -> tuple[str, str]:
    median, low, high = (_number(value, digits) for value in (of.median, of.low, of.high))
    return median, f"({low}-{high})" if (of.low, of.high) != (of.median, of.median) else ""


def _number(value: float, digits: int) -> str:
    return "∞" if math.isinf(value) else f"{value:,.{digits}f}"
