"""What the sidecar is meant to reach, and whether the figures say that it does. No I/O; no verdict stops anything."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from programs.bench.contenders import FEW_TOOLS, MANY_TOOLS
from programs.bench.figures import NO_RATIOS, Figures, Measured, Spread, difference, figures, ratio, ratios
from programs.bench.memory import Memory
from programs.bench.start import Started
from sidecar.engine.together import MOST

MIB: Final = 1 << 20
_NEW: Final = "stdio, every question new"


@dataclass(frozen=True, slots=True)
class Target:
    """A line of the summary. `missing` says why there is no figure; the verdict goes by the median."""

    case: str
    what: str
    wanted: float
    at_most: bool
    unit: str
    figure: Spread | None
    missing: str = ""

    @property
    def verdict(self) -> str:
        """Met, not met, or not measured."""
        if self.figure is None:
            return "not measured"
        compare = operator.le if self.at_most else operator.ge
        return "met" if compare(self.figure.median, self.wanted) else "NOT MET"


def targets(measured: Sequence[Measured], memory: Memory, started: Sequence[Started]) -> list[Target]:
    """Every target, in the order of the documentation."""
    shown = _Shown(measured)
    return [
        *_against_peer(shown, "stdio, asked before", "sidecar, repeated", 0.8, 0.8, 1.2),
        _times(shown, "stdio, a candidate in shadow", "sidecar, candidate", "sidecar, repeated", 1.05,
               "added p50, × without it"),
        *_against_peer(shown, _NEW, "sidecar, new", 4, None, 0.3),
        _against_opa(shown),
        _times(shown, _NEW, f"sidecar, {FEW_TOOLS:,} tools", "sidecar, new", 1.6, "added p50, 10 rules × one rule"),
        *_against_peer(shown, "stdio, rate limit on SQLite", "sidecar, counted", 0.5, None, 4),
        *_against_peer(shown, "HTTP to HTTP", "http sidecar, repeated", 0.9, None, 1.8),
        _against_fastmcp(shown),
        _rate(shown, "HTTP to HTTP, question new", "http sidecar, new", 3500),
        _times(shown, "1 MB of arguments", "1 MB sidecar", "1 MB parsing relay", 2, "added p50, × a relay that parses"),
        _times(shown, f"{MANY_TOOLS:,} tools x 10 rules", f"sidecar, {MANY_TOOLS:,} tools",
               f"sidecar, {FEW_TOOLS:,} tools", 1.1, f"added p50, × {FEW_TOOLS} tools x 10 rules"),
        *_memory(memory),
        _start(started),
    ]  # fmt: skip


class _Shown:
    """Figures by the name of their contender."""

    def __init__(self, measured: Sequence[Measured]) -> None:
        pairs = zip(measured, figures(measured), strict=True)
        self._items = {one.contender.name: (one.contender, item) for one, item in pairs}

    def of(self, name: str) -> Figures | None:
        return self._items[name][1] if name in self._items else None

    def peer(self, like: str, named: str = "") -> tuple[str, Figures] | None:
        """The first other proxy that stands on the way of `like` under the same policy, and has figures."""
        ours = self._items[like][0]
        for name, (one, item) in self._items.items():
            same = one.role == "peer" and (one.way, one.policy) == (ours.way, ours.policy)
            if same and named in name and item is not None:
                return name, item
        return None


def _against_peer(shown: _Shown, case: str, name: str, p50: float, p99: float | None, rate: float) -> Iterator[Target]:
    ours, peer = shown.of(name), shown.peer(name)
    to_peer = (ours.to_peer if ours else None) or NO_RATIOS
    missing = "failed" if ours is None else "no peer" if peer is None else "no time to divide by"
    other = peer[0] if peer else "the other proxy"
    yield Target(case, f"added p50, × {other}", p50, True, "×", to_peer.p50, missing)
    if p99 is not None:
        yield Target(case, f"added p99, × {other}", p99, True, "×", to_peer.p99, missing)
    yield Target(case, f"calls/s, × {other}", rate, False, "×", to_peer.rate, missing)


def _against_opa(shown: _Shown) -> Target:
    """OPA sets the limit here, so it is named beside the figure: asked as the sidecar asks it when many wait."""
    ours, opa = shown.of("sidecar, new"), shown.of(f"opa alone, {MOST} together")
    share = ratio((one.rate for one in ours.samples), (one.rate for one in opa.samples)) if ours and opa else None
    of_opa = f" ({share.median:.2f} × OPA's {opa.rate.median:,.0f})" if share and opa else ""
    return _rate(shown, _NEW, "sidecar, new", 6000, of_opa)


def _rate(shown: _Shown, case: str, name: str, least: float, beside: str = "") -> Target:
    ours = shown.of(name)
    return Target(case, f"calls/s{beside}", least, False, "/s", ours.rate if ours else None, "failed")


def _against_fastmcp(shown: _Shown) -> Target:
    ours, peer = shown.of("http sidecar, repeated"), shown.peer("http sidecar, repeated", "fastmcp")
    figure = ratios(ours.samples, peer[1].samples).rate if ours and peer else None
    return Target("HTTP to HTTP", "calls/s, × a proxy of fastmcp", 10, False, "×", figure,
                  "no peer")  # fmt: skip


def _times(shown: _Shown, case: str, name: str, other_name: str, most: float, what: str) -> Target:
    ours, other = shown.of(name), shown.of(other_name)
    figure = ratios(ours.samples, other.samples).p50 if ours and other else None
    return Target(case, what, most, True, "×", figure, "no figures of the two")


def _memory(memory: Memory) -> Iterator[Target]:
    case = "memory, OKX policy"
    by_program = {held.program: held for held in memory.held}
    missing = memory.failure or "not watched"
    for program in ("sidecar", "OPA"):
        held = by_program.get(program)
        most = _exactly(max(held.started, held.filled, held.ended) / MIB) if held else None
        growth = _exactly((held.ended - held.filled) / MIB) if held else None
        yield Target(case, f"{program}, the most", 60, True, "MiB", most, missing)
        yield Target(case, f"{program}, growth over {memory.calls:,} calls", 2, True, "MiB", growth, missing)


def _exactly(value: float) -> Spread:
    return Spread(value, value, value)


def _start(started: Sequence[Started]) -> Target:
    by_name = {one.contender.name: one for one in started if one.failure is None}
    ours, direct = by_name.get("sidecar, OKX"), by_name.get("direct")
    more = difference(ours.seconds, direct.seconds) if ours and direct else None
    return Target("start, OKX policy", "first tools/list after that of the server alone", 0.6, True, "s", more,
                  "failed")  # fmt: skip
