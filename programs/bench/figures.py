"""Times to figures: percentiles, the time added to the direct way, ratios, medians and spreads over rounds. No I/O.

Every comparison is made within a round and only then summed up, so what the machine did meanwhile is in both sides.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from programs.bench.contenders import Contender


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one contender.

    Percentiles of single calls in microseconds; calls a second, 32 in flight; microseconds of CPU time for a single
    call, in all processes but the client's.
    """

    p50: float
    p95: float
    p99: float
    rate: float
    cpu: float


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
class Ratios:
    """One contender as a multiple of another; None where there is nothing sensible to divide by."""

    p50: Spread | None
    p99: Spread | None
    rate: Spread | None


NO_RATIOS: Final = Ratios(None, None, None)


@dataclass(frozen=True, slots=True)
class Figures:
    """What is shown of one contender. Times are in microseconds, and those that it adds: `samples` holds them by round.

    `own` says that nothing was taken off them.
    """

    samples: tuple[Sample, ...]
    own: bool
    p50: Spread
    p95: Spread
    p99: Spread
    rate: Spread
    cpu: Spread
    to_relay: Ratios | None
    to_peer: Ratios | None


def sample(nanoseconds: Sequence[int], rate: float, cpu_nanoseconds: float) -> Sample:
    """The figures of one round, from the time of each single call and the CPU time of one."""
    ordered = sorted(nanoseconds)
    p50, p95, p99 = (percentile(ordered, share) / 1000 for share in (0.50, 0.95, 0.99))
    return Sample(p50, p95, p99, rate, cpu_nanoseconds / 1000)


def percentile(ordered: Sequence[int], share: float) -> int:
    """The smallest value that at least this share of the values does not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def added(samples: Sequence[Sample], direct: Sequence[Sample]) -> tuple[Sample, ...]:
    """What each round took more than the direct way took in the same round; rates stay as they are."""
    return tuple(
        Sample(one.p50 - base.p50, one.p95 - base.p95, one.p99 - base.p99, one.rate, one.cpu - base.cpu)
        for one, base in zip(samples, direct, strict=True)
    )


def spread(values: Sequence[float]) -> Spread:
    """Median, least and greatest."""
    return Spread(statistics.median(values), min(values), max(values))


def ratio(ones: Iterable[float], others: Iterable[float]) -> Spread | None:
    """How many times the other, within each round; None when no round can tell.

    Added time may come out as nothing, or less. Something is then infinitely more than nothing; nothing is zero times
    something; of nothing and nothing no ratio can be told.
    """
    ratios = [
        max(one, 0) / other if other > 0 else math.inf
        for one, other in zip(ones, others, strict=True) if one > 0 or other > 0
    ]  # fmt: skip
    return spread(ratios) if ratios else None


def difference(ones: Iterable[float], others: Iterable[float]) -> Spread:
    """How much more than the other, within each round."""
    return spread([one - other for one, other in zip(ones, others, strict=True)])


def figures(measured: Sequence[Measured]) -> list[Figures | None]:
    """The figures of each contender; None for one that failed, and for all of a way whose direct contender failed.

    A contender is compared with the relay on its way and with the first peer on it under the same policy.
    """
    direct = {one.contender.way: one for one in measured if one.contender.role == "direct"}
    samples = {
        one.contender.name: _shown(one, direct[one.contender.way])
        for one in measured
        if one.failure is None and direct[one.contender.way].failure is None
    }

    def first(found: Callable[[Contender], bool]) -> tuple[Sample, ...] | None:
        fit = (one.contender for one in measured if one.contender.name in samples)
        return next((samples[one.name] for one in fit if found(one)), None)

    def of(ours: Contender) -> Figures | None:
        if ours.name not in samples:
            return None
        relay = first(lambda one: one.role == "relay" and one.way == ours.way)
        peer = first(lambda one: one.role == "peer" and (one.way, one.policy) == (ours.way, ours.policy))
        return _figures(ours, samples[ours.name], relay, peer)

    return [of(one.contender) for one in measured]


def _is_own(contender: Contender) -> bool:
    return contender.role in ("direct", "opa")


def _shown(one: Measured, direct: Measured) -> tuple[Sample, ...]:
    return one.samples if _is_own(one.contender) else added(one.samples, direct.samples)


def _figures(
    contender: Contender,
    samples: tuple[Sample, ...],
    relay: tuple[Sample, ...] | None,
    peer: tuple[Sample, ...] | None,
) -> Figures:
    own = _is_own(contender)
    return Figures(
        samples=samples,
        own=own,
        p50=spread([item.p50 for item in samples]),
        p95=spread([item.p95 for item in samples]),
        p99=spread([item.p99 for item in samples]),
        rate=spread([item.rate for item in samples]),
        cpu=spread([item.cpu for item in samples]),
        to_relay=ratios(samples, relay, own) if relay else None,
        to_peer=ratios(samples, peer, own) if peer else None,
    )


def ratios(ones: Sequence[Sample], others: Sequence[Sample], own: bool = False) -> Ratios:
    """All ratios of one contender to another; `own` times are no added times, and not compared."""
    return Ratios(
        p50=None if own else ratio((one.p50 for one in ones), (other.p50 for other in others)),
        p99=None if own else ratio((one.p99 for one in ones), (other.p99 for other in others)),
        rate=ratio((one.rate for one in ones), (other.rate for other in others)),
    )
