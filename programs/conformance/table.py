"""Two runs as a table of text, in which what differs is marked. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from programs.conformance.compare import Check, Pair, Score

MARK: Final = "<-- differs"
_HEADER: Final = ("scenario", "check", "direct", "through us")


def table(pairs: Sequence[Pair]) -> str:
    """Every check, one part of the table for each set of requirements."""
    rows = [_row(pair) for pair in pairs]
    widths = [max(map(len, column)) for column in zip(_HEADER, *rows, strict=True)]
    lines: list[str] = []
    for requirements, part in groupby(pairs, lambda pair: pair.key.requirements):
        lines += ["", f"Requirements of {requirements}", _line(_HEADER, widths)]
        for pair in part:
            lines.append(_line(_row(pair), widths) + (f"  {MARK}" if pair.differs else ""))
    return "\n".join(lines)


def reasons(pairs: Sequence[Pair]) -> str:
    """What the suite says of the checks that differ."""
    lines: list[str] = []
    for pair in pairs:
        if pair.differs:
            lines.append(f"{pair.key.requirements} {pair.key.scenario} {_name(pair)}")
            lines += [f"  {where}: {_said(check)}" for where, check in _sides(pair)]
    return "\n".join(lines)


def last_line(direct: Score, through: Score) -> str:
    """Both scores."""
    return f"direct {direct}; through the sidecar {through}"


def _row(pair: Pair) -> tuple[str, ...]:
    return (pair.key.scenario, _name(pair), *(check.verdict if check else "-" for _, check in _sides(pair)))


def _name(pair: Pair) -> str:
    again = f" ({pair.key.time})" if pair.key.time > 1 else ""
    return f"{pair.key.name or pair.key.id}{again}"


def _sides(pair: Pair) -> tuple[tuple[str, Check | None], ...]:
    return (("direct", pair.direct), ("through us", pair.through))


def _said(check: Check | None) -> str:
    return "no such check" if check is None else f"{check.verdict} {check.message}".rstrip()


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
