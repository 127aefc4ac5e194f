"""Two policies compared: by the calls of tests, by recorded calls, and by calls at the boundary of every condition."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

from sidecar.rehearsal.cases import Case
from sidecar.rehearsal.diff.dead_rules import DeadRule, dead_rules
from sidecar.rehearsal.diff.differences import Comparison, Difference, Found
from sidecar.rehearsal.diff.limit_probes import limit_probes
from sidecar.rehearsal.diff.missed import missed
from sidecar.rehearsal.diff.probes import (
    Probe,
    calls,
    put,
    unexplored,
)
from sidecar.rehearsal.diff.rego_values import written_in_rego
from sidecar.rehearsal.diff.requests_changed import requests_changed
from sidecar.rehearsal.diff.settings_changed import SettingChanged, gravity, settings_changed
from sidecar.rehearsal.diff.sides import Side, line_of, tools
from sidecar.rehearsal.diff.tables import Table, Which, tables
from sidecar.rehearsal.diff.variations import variations
from sidecar.rehearsal.judging import rehearsal
from sidecar.rehearsal.recordings.files import Line
from sidecar.repository.load import places_of_settings
from sidecar.repository.subject import Subject
from sidecar.text import shown

MOST_TOOLS: Final = 2_000
MOST_CALLS: Final = 2_400
"""Generated calls of one comparison: on a busy machine they are judged within some 20 s."""
MOST_EACH: Final = 300
"""Calls of one tool of which the policies do not say the same."""
SAME_EACH: Final = 40
"""Calls of one tool of which they do."""
MOST_LIMITS: Final = 600
"""Generated calls of one comparison about limits, beside these."""
LIMITS_EACH: Final = 240
MOST_VARIED: Final = 120
"""Calls of tests that are varied, of one tool, where there is hand-written Rego."""


NAMED: Final = 8
"""Tools that are named in one line."""


@dataclass(frozen=True, slots=True)
class Compared:
    """All that differs. `unexplored` says of what no call was made, in words; `custom` are files of changed Rego."""

    found: Found
    settings: tuple[SettingChanged, ...]
    dead: tuple[DeadRule, ...]
    unexplored: tuple[str, ...]
    custom: tuple[str, ...]
    unknown: bool = False
    """True where it is not known what some of a change does: of that no calls could be made."""

    @property
    def loosened(self) -> list[Difference]:
        """The calls that are decided less strictly: first what is allowed now."""
        return [*self.allowed, *self.held]

    @property
    def allowed(self) -> list[Difference]:
        """The calls that are allowed and were not; those that were refused first."""
        found = [one for one in self.found.loosened.values() if one.new.action == "allow"]
        return sorted(found, key=lambda one: one.old.action != "deny")

    @property
    def held(self) -> list[Difference]:
        """The calls that were refused, and are now held for a person."""
        return [one for one in self.found.loosened.values() if one.new.action != "allow"]

    @property
    def tightened(self) -> list[Difference]:
        """The calls that are decided more strictly."""
        return list(self.found.tightened.values())

    @property
    def opens(self) -> bool:
        """True where something passes that did not."""
        return bool(self.allowed) or any(one.opens for one in self.settings)

    @property
    def differs(self) -> bool:
        """True where anything changes but the words of refusals."""
        return bool(self.found.loosened or self.found.tightened or self.settings or self.custom or self.unknown)


async def compare(
    old: Subject, new: Subject, opa: Path, cases: Sequence[Case], recorded: Sequence[Line],
    progress: Callable[[str], None] = lambda _: None,
) -> Compared:  # fmt: skip
    """Compare two policies. Raises `StartError` where the engine does not answer."""
    sides: dict[Which, Side | None] = {"old": _side(old), "new": _side(new)}
    found, blind, made = Found(), [], list[Table]()
    one, other = sides["old"], sides["new"]
    custom = _changed(old.custom.files, new.custom.files)
    rego = bool(old.custom.files or new.custom.files)
    unseen: list[str] = []
    async with rehearsal(old.bundle, opa) as before, rehearsal(new.bundle, opa) as after:
        comparison = Comparison({"old": before, "new": after}, sides, found)
        await comparison.tests(cases)
        await comparison.recorded(recorded)
        if one is not None and other is not None:
            progress("the conditions of both policies are looked through")
            names = list(dict.fromkeys([*tools(one, other, _named(old, new, cases))]))
            if len(names) > MOST_TOOLS:
                names.sort(key=partial(_alike, one, other))
            made = tables(opa, one, other, names[:MOST_TOOLS], written_in_rego(old, new))
            cut: list[str] = []
            probes = _probes(made, one, other, cut, custom=bool(custom))
            for at, table in enumerate(made):
                progress(f"tool {at + 1} of {len(made)}")
                asked = list(probes(table))
                await comparison.generated(asked)
                if rego and (custom or not _alike(one, other, table.tool)):
                    await comparison.varied(variations(asked, cases, MOST_VARIED))
            unseen = [text for table in made for text in missed(table, one, other, found.tools)]
            unseen += _left_out(names, one, other, custom=bool(custom))
            blind = [*unseen, *_unexplored(made), *_cut(cut), *_behind_rego(found)]
        else:
            blind.append("no calls were generated: a bundle without the sources of its policy was given")
    settings = settings_changed(one.policy, other.policy) if one is not None and other is not None else ()
    settings = tuple(sorted([*settings, *requests_changed(found.asked_otherwise.values(), settings)], key=gravity))
    dead = dead_rules(one, other, _tools(old), _tools(new)) if one is not None and other is not None else ()
    unknown = (one is None or other is None) and old.bundle.revision != new.bundle.revision
    return Compared(found, settings, dead, tuple(dict.fromkeys(blind)), custom, unknown or bool(unseen))


def _side(subject: Subject) -> Side | None:
    if subject.policy is None:
        return None
    return Side(subject.policy, subject.bundle, places_of_settings(subject.found))


def _tools(subject: Subject) -> tuple[str, ...] | None:
    return subject.repository.tools if subject.repository is not None else None


def _named(old: Subject, new: Subject, cases: Iterable[Case]) -> Iterator[str]:
    """Tools that are named outside of the policies."""
    for subject in (new, old):
        yield from _tools(subject) or ()
    yield from (step.tool for case in cases for step in case.steps)


def _probes(
    made: Sequence[Table], old: Side, new: Side, cut: list[str], *, custom: bool
) -> Callable[[Table], Iterator[Probe]]:  # fmt: skip
    """The calls to judge of each tool: many where the policies do not say the same of it.

    With `custom` the hand-written Rego differs, which may say anything of any tool. `cut` gets the tools of which more
    calls could be made.
    """
    by_name = {table.tool: table for table in made}
    sides: Mapping[Which, Side] = {"old": old, "new": new}
    differing = {table.tool for table in made if custom or not _alike(old, new, table.tool)}
    each = max(SAME_EACH, min(MOST_EACH, MOST_CALLS // max(1, len(differing))))
    limits = max(SAME_EACH, min(LIMITS_EACH, MOST_LIMITS // max(1, len(differing))))
    same = max(2, min(SAME_EACH, MOST_CALLS // max(1, len(made))))

    def of(table: Table) -> Iterator[Probe]:
        differs = table.tool in differing
        found = calls(table, each if differs else same)
        yield from (Probe(table.tool, put(table, at)) for at in found)
        about_limits = list(islice(limit_probes(table, by_name, sides), limits)) if differs else []
        yield from about_limits
        if differs and (len(found) >= each or len(about_limits) >= limits):
            cut.append(table.tool)

    return of


def _alike(old: Side, new: Side, tool: str) -> bool:
    """True for a tool of which both policies say the same."""
    return old.said_of(tool) == new.said_of(tool)


def _left_out(names: Sequence[str], old: Side, new: Side, *, custom: bool) -> Iterator[str]:
    """How many tools were not called, of which the policies do not say the same: those are called first."""
    left = sum(custom or not _alike(old, new, tool) for tool in names[MOST_TOOLS:])
    if left:
        yield f"{left} tools of which the policies do not say the same"


def _unexplored(made: Sequence[Table]) -> Iterator[str]:
    said = set()
    for table in made:
        for (_, rule), (blind, every) in unexplored(table).items():
            said.add(
                f"{blind} of {every} conditions of rule {_name(table, rule)}: no value was found for both outcomes"
            )
        for pool in table.pools:
            if pool.left_out:
                said.add(f"{table.tool}: {pool.left_out} more values at {pool.place}")
    yield from sorted(said)


def _behind_rego(found: Found) -> Iterator[str]:
    for tool, (refused, every) in found.by_rego.items():
        if every and refused == every:
            advice = "write a test with a call that it lets pass"
            yield f"{shown(tool)}: hand-written Rego refuses all {every} generated calls under both policies: {advice}"


def _cut(tools: Sequence[str]) -> Iterator[str]:
    if tools:
        more = f" and {len(tools) - NAMED} more" if len(tools) > NAMED else ""
        yield f"not every call that could be made was judged, of {', '.join(map(shown, tools[:NAMED]))}{more}"


def _name(table: Table, rule: str) -> str:
    every = (one for rules in table.rules.values() for _, one in rules)
    return next(f"{one.name} ({line_of(one.place)})" for one in every if one.id == rule)


def _changed(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path)))
