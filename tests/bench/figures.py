"""Times to figures: percentiles, the time added to the direct way, medians and spreads over rounds, ratios. No I/O."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tests.bench.contenders import Contender


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one contender: percentiles of single calls in microseconds, and calls a second, 32 in flight."""

    p50: float
    p95: float
    p99: float
    rate: float


@dataclass(frozen=True, slots=True)
class Measured:
    """All rounds of one contender. `asked` is the share of its calls that were put to OPA, where that can be told."""

    contender: Contender
    samples: tuple[Sample, ...]
    failure: str | None = None
    asked: float | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over the rounds."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What is shown of one contender. Times are in microseconds; `own` says that nothing was taken off them.

    A ratio is None where there is nothing sensible to divide by.
    """

    p50: Spread
    p95: Spread
    p99: Spread
    rate: Spread
    own: bool
    time_to_relay: float | None = None
    time_to_peer: float | None = None
    rate_to_relay: float | None = None
    rate_to_peer: float | None = None


def sample(nanoseconds: Sequence[int], rate: float) -> Sample:
    """The percentiles of one round."""
    ordered = sorted(nanoseconds)
    p50, p95, p99 = (percentile(ordered, share) / 1000 for share in (0.50, 0.95, 0.99))
    return Sample(p50, p95, p99, rate)


def percentile(ordered: Sequence[int], share: float) -> int:
    """The smallest value that at least this share of the values does not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def added(samples: Sequence[Sample], direct: Sequence[Sample]) -> list[Sample]:
    """What each round took more than the direct way took in the same round; rates stay as they are."""
    return [
        Sample(one.p50 - base.p50, one.p95 - base.p95, one.p99 - base.p99, one.rate)
        for one, base in zip(samples, direct, strict=True)
    ]


def spread(values: Sequence[float]) -> Spread:
    """Median, least and greatest."""
    return Spread(statistics.median(values), min(values), max(values))


def ratio(one: float, other: float) -> float | None:
    """How many times the other; None unless that is above zero."""
    return one / other if other > 0 else None


def figures(measured: Sequence[Measured]) -> list[Figures | None]:
    """The figures of each contender; None for one that failed, and for all of a transport whose direct way failed.

    A peer is compared with the first peer under the same policy, everybody with those on the same transport only.
    """
    direct = {one.contender.over: one for one in measured if one.contender.role == "direct"}
    shown = [
        None if one.failure is not None or direct[one.contender.over].failure is not None
        else _alone(one, direct[one.contender.over])
        for one in measured
    ]  # fmt: skip
    pairs = list(zip(measured, shown, strict=True))

    def first(role: str, like: Contender, counted: bool) -> Figures | None:
        of_role = (
            item for one, item in pairs
            if (one.contender.role, one.contender.over, one.contender.counted) == (role, like.over, counted)
        )  # fmt: skip
        return next(of_role, None)

    return [
        item
        and _compared(item, first("relay", one.contender, False), first("peer", one.contender, one.contender.counted))
        for one, item in pairs
    ]


def _alone(one: Measured, direct: Measured) -> Figures:
    own = one.contender.role in ("direct", "opa")
    samples = list(one.samples) if own else added(one.samples, direct.samples)
    return Figures(
        p50=spread([item.p50 for item in samples]),
        p95=spread([item.p95 for item in samples]),
        p99=spread([item.p99 for item in samples]),
        rate=spread([item.rate for item in samples]),
        own=own,
    )


def _compared(item: Figures, relay: Figures | None, peer: Figures | None) -> Figures:
    return replace(
        item,
        time_to_relay=_time_ratio(item, relay),
        time_to_peer=_time_ratio(item, peer),
        rate_to_relay=ratio(item.rate.median, relay.rate.median) if relay else None,
        rate_to_peer=ratio(item.rate.median, peer.rate.median) if peer else None,
    )


def _time_ratio(item: Figures, other: Figures | None) -> float | None:
    return ratio(item.p50.median, other.p50.median) if other and not item.own else None
