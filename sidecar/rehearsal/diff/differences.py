"""The differences between two policies, call by call: each call is judged under both, and what changes is kept.

Of all calls whose decision changes in the same way, by the same rules, the smallest is kept, and the others counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Context, Decimal
from typing import Any, Final, TypeAlias

from sidecar.auth.caller import Caller
from sidecar.errors import StartError
from sidecar.mcp.strict_json import encode
from sidecar.policy.custom import CUSTOM
from sidecar.policy.facts import file_name
from sidecar.policy.terms import CounterRead
from sidecar.rehearsal.cases import Case
from sidecar.rehearsal.diff import places
from sidecar.rehearsal.diff.probes import Before, Probe
from sidecar.rehearsal.diff.sides import Side, counter
from sidecar.rehearsal.diff.tables import Which
from sidecar.rehearsal.diff.variations import Variation
from sidecar.rehearsal.judging import BEGIN, Action, Judgement, Rehearsal, Request
from sidecar.rehearsal.outcome import STRICTNESS
from sidecar.rehearsal.recordings.files import Line
from sidecar.rehearsal.recordings.recorded import Recorded, without
from sidecar.rehearsal.replay import caller_of
from sidecar.rehearsal.testing import NO_ANSWER

BY_REGO: Final = frozenset({"custom", "custom_invalid"})
"""Kinds of a refusal by hand-written Rego."""
LONG: Final = 50 * 366 * 86400
"""Seconds after which time begins anew: a long window must not take calls beyond the last year that there is."""
_EXACT: Final = Context(prec=200)
FRESH: Final = 60
"""Requests for approvals after which the counters and approvals begin anew: few may wait at once."""

WEEK: Final = 7 * 86_400


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of a call under one policy, and by which rule; `request` is what people are asked for."""

    action: Action
    kind: str
    rule: str
    reason: str
    file: str
    line: int
    by_rego: bool = False
    """True where hand-written Rego refuses it, whatever else does."""
    request: Request | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """One call that is decided otherwise. `more` counts the others that change in the same way.

    `who` and `before` say who called and what came before, empty where that does not matter. `origin` is where the call
    is from: `generated`, a test, or a recording.
    """

    tool: str
    arguments: Mapping[str, Any]
    old: Seen
    new: Seen
    who: Mapping[str, Any]
    before: Mapping[str, Any]
    origin: str
    more: int = 0

    @property
    def is_looser(self) -> bool:
        """True where the new policy is less strict."""
        return STRICTNESS[self.new.action] < STRICTNESS[self.old.action]


Key: TypeAlias = tuple[object, ...]


@dataclass(slots=True)
class Found:
    """What was found so far. `not_asked` are recorded calls that lack what a policy reads, by the reason.

    `by_rego` says for each tool how many of how many generated calls hand-written Rego refuses under both policies.
    `asked_otherwise` are calls about which a person is asked by both, but not for the same.
    """

    loosened: dict[Key, Difference] = field(default_factory=dict)
    tightened: dict[Key, Difference] = field(default_factory=dict)
    unchanged: int = 0
    reworded: int = 0
    not_asked: dict[str, int] = field(default_factory=dict)
    by_rego: dict[str, tuple[int, int]] = field(default_factory=dict)
    asked_otherwise: dict[Key, Difference] = field(default_factory=dict)

    @property
    def tools(self) -> set[str]:
        """The tools of which a call is decided otherwise."""
        return {one.tool for kept in (self.loosened, self.tightened) for one in kept.values()}

    def note(self, difference: Difference) -> None:
        """Count a call in, and keep it where it is the smallest of its kind."""
        old, new = difference.old, difference.new
        if old.action == new.action:
            self.unchanged += 1
            self.reworded += old.reason != new.reason
            if old.request is not None and new.request is not None and old.request != new.request:
                asked = (difference.tool, old.rule, new.rule, old.request, new.request)
                self.asked_otherwise.setdefault(asked, difference)
            return
        kept = self.loosened if difference.is_looser else self.tightened
        key = (difference.tool, old.action, new.action, old.kind, old.rule, new.kind, new.rule)
        before = kept.get(key)
        if before is None:
            kept[key] = difference
        else:
            smaller = difference if _size(difference) < _size(before) else before
            kept[key] = replace(smaller, more=before.more + 1)


def _size(difference: Difference) -> tuple[bool, bool, int]:
    return bool(difference.before), bool(difference.who), len(encode(difference.arguments))


class Comparison:
    """Judges calls under two policies, each from counters at 0."""

    def __init__(
        self, rehearsals: Mapping[Which, Rehearsal], sides: Mapping[Which, Side | None], found: Found
    ) -> None:  # fmt: skip
        self.found = found
        self._rehearsals = rehearsals
        self._sides = sides
        self._now = BEGIN
        self._asked = 0
        self._gap = 2 * max((side.longest_window for side in sides.values() if side is not None), default=0) + 60
        self._workload: Mapping[str, str] = {}

    async def generated(self, probes: Iterable[Probe]) -> None:
        """Judge calls each by itself: what came before is long ago, but for what the probe says."""
        for probe in probes:
            at = places.workload(probe.put)
            if self._asked >= FRESH or self._now > BEGIN + LONG or at != self._workload:
                await self._afresh(at)
            await self._move(probe)
            arguments, caller = places.arguments(probe.put), places.caller(probe.put, probe.session)
            totals = places.totals(probe.put)
            for which in self._rehearsals:
                await self._preset(which, probe.tool, caller, totals)
            seen = await self._judged(probe.tool, arguments, caller)
            refused, every = self.found.by_rego.get(probe.tool, (0, 0))
            by_both = all(one.by_rego for one in seen)
            self.found.by_rego[probe.tool] = refused + by_both, every + 1
            before = _before(probe.before, probe.tool) | ({"counters": _shown(totals)} if any(totals.values()) else {})
            who = _who(probe.put, caller, probe.before)
            self.found.note(Difference(probe.tool, arguments, *seen, who, before, "generated"))

    async def tests(self, cases: Sequence[Case]) -> None:
        """Judge the calls of tests, step by step."""
        for case in cases:
            await self._afresh(case.workload, case.steps[0].time)
            for step in case.steps:
                self._set(step.time)
                seen = await self._judged(step.tool, step.arguments, step.caller)
                before = {"test": case.name} if step is not case.steps[0] else {}
                origin = f"{step.place.file}:{step.place.line}"
                who = _said_of(step.caller)
                self.found.note(Difference(step.tool, step.arguments, *seen, who, before, origin))

    async def varied(self, variations: Iterable[Variation]) -> None:
        """Judge calls of tests with generated values in them, each by itself."""
        began: tuple[Mapping[str, str], float] | None = None
        for one in sorted(variations, key=lambda one: (sorted(one.workload.items()), one.time)):
            if began != (one.workload, one.time) or self._asked >= FRESH:
                began = (one.workload, one.time)
                await self._afresh(one.workload, one.time)
            # The same hour of the same day of a week, when everything is forgotten: Rego may read the time.
            self._now += WEEK * (self._gap // WEEK + 1)
            self._set(self._now)
            seen = await self._judged(one.tool, one.arguments, one.caller)
            who = _said_of(one.caller) | ({"workload": one.workload} if one.workload else {})
            self.found.note(Difference(one.tool, one.arguments, *seen, who, {}, one.origin))

    async def recorded(self, lines: Sequence[Line]) -> None:
        """Judge recorded calls in their order, at their times, where both policies can be asked about them again."""
        for server, workload in dict.fromkeys(map(_where, lines)):
            began = False
            for line in lines:
                if _where(line) == (server, workload):
                    began = await self._recorded(line, dict(workload), began=began)

    async def _recorded(self, line: Line, workload: Mapping[str, str], *, began: bool) -> bool:
        call = line.call
        missing = {name for one in self._rehearsals.values() for name in _missing(one, call)}
        if missing:
            reason = f"not kept: {', '.join(sorted(missing))}"
            self.found.not_asked[reason] = self.found.not_asked.get(reason, 0) + 1
            return began
        if not began:
            await self._afresh(workload, call.moment)
        self._now = max(self._now, call.moment)  # several sidecars may have written, each by its own clock
        self._set(self._now)
        caller = caller_of(call)
        seen = await self._judged(call.tool, call.sent, caller)
        self.found.note(Difference(call.tool, call.sent, *seen, _said_of(caller), {}, line.place))
        return True

    async def _afresh(self, workload: Mapping[str, str], now: float = BEGIN) -> None:
        self._asked, self._now, self._workload = 0, now, workload
        await asyncio.gather(*(one.forget(now, workload) for one in self._rehearsals.values()))

    async def _move(self, probe: Probe) -> None:
        """Go on to a time at which everything is forgotten, and then to what came before the call, if anything did."""
        self._now += self._gap
        before = probe.before
        if before is None:
            self._set(self._now)
            return
        self._now = (self._now // before.window + 1) * before.window + before.into
        self._set(self._now)
        caller = places.caller(before.put, before.session)
        for which, rehearsal in self._rehearsals.items():
            side = self._sides[which]
            assert side is not None  # probes are made from both
            taken = [
                (counter(entry, rule), _EXACT.multiply(before.counted[which, rule.id], before.calls))
                for entry, rule in side.rules(before.tool)
                if (which, rule.id) in before.counted
            ]
            await rehearsal.count(before.tool, taken, caller)
        self._now += before.seconds
        self._set(self._now)

    def _set(self, now: float) -> None:
        for one in self._rehearsals.values():
            one.now = now

    async def _preset(self, which: Which, tool: str, caller: Caller, totals: Mapping[str, Decimal]) -> None:
        """Let the counters that conditions read stand where the call wants them."""
        rehearsal = self._rehearsals[which]
        reads: Sequence[CounterRead] = rehearsal.bundle.terms.reads_of(tool).counters if totals else ()
        taken = [(read, total) for read in reads if (total := totals.get(read.name))]
        await rehearsal.count(tool, taken, caller)

    async def _judged(self, tool: str, arguments: Mapping[str, Any], caller: Caller) -> tuple[Seen, Seen]:
        old, new = (self._rehearsals[which].judge(tool, arguments, caller) for which in ("old", "new"))
        one, other = await asyncio.gather(old, new)
        self._asked += "approval" in (one.action, other.action)
        return self._seen("old", tool, one), self._seen("new", tool, other)

    def _seen(self, which: Which, tool: str, judgement: Judgement) -> Seen:
        rehearsal, side = self._rehearsals[which], self._sides[which]
        failed_in_rego = _failed_in_rego(judgement, rehearsal)
        if judgement.kind in NO_ANSWER and not failed_in_rego:
            # As a refusal it would hide a difference.
            raise StartError(f"a call could not be judged: {judgement.reason}; try again when the machine is less busy")
        action: Action = "allow" if judgement.forwarded else judgement.action
        file, line = judgement.file, judgement.line
        if not file and side is not None and (place := side.place_of(judgement.kind, tool)) is not None:
            file, line = file_name(place.file), place.line
        by_rego = failed_in_rego or any(one.kind in BY_REGO and not one.monitor for one in judgement.violations)
        return Seen(
            action, judgement.kind, judgement.rule, judgement.reason, file, line, by_rego, judgement.request
        )  # fmt: skip


def _failed_in_rego(judgement: Judgement, rehearsal: Rehearsal) -> bool:
    """True for a call that is refused since hand-written Rego fails on it: the engine says so with this status.

    That is what becomes of the call in a sidecar too, every time.
    """
    written = any(path.startswith(f"{CUSTOM}/") for path in rehearsal.bundle.files)
    return written and judgement.kind == "engine_unavailable" and "status is '500'" in judgement.reason


def _where(line: Line) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The server of a recorded call, and where its sidecar ran: others have other counters."""
    return line.call.server, tuple(sorted(line.call.workload.items()))


def _missing(rehearsal: Rehearsal, call: Recorded) -> tuple[str, ...]:
    return without(call, rehearsal.bundle.terms.reads_of(call.tool))


def _before(before: Before | None, tool: str) -> dict[str, Any]:
    if before is None:
        return {}
    said: dict[str, Any] = {"calls": before.calls, "seconds_ago": before.seconds}
    if before.tool != tool:
        said["tool"] = before.tool
    said["arguments"] = places.arguments(before.put)
    if before.into:
        said["at_the_end_of_a_window"] = True
    return said


def _shown(totals: Mapping[str, Decimal]) -> dict[str, Any]:
    return {name: places.number(total) for name, total in totals.items() if total}


def _who(put: places.Put, caller: Caller, before: Before | None) -> dict[str, Any]:
    said = _said_of(caller)
    if at := places.workload(put):
        said["workload"] = at
    if before is not None and before.session != caller.session:
        said["session"] = "another one"
    if before is not None and places.caller(before.put).principal != caller.principal:
        said["principal"] = {**said.get("principal", {}), "same_as_before": False}
    return said


def _said_of(caller: Caller) -> dict[str, Any]:
    said: dict[str, Any] = {}
    if caller.principal is not None:
        said["principal"] = {key: value for key, value in caller.principal.document.items() if value}
    if caller.said is not None:
        said["client"] = {"name": caller.said.name, "version": caller.said.version}
    return said
