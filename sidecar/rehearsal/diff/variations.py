"""Calls of tests, varied: generated values stand where rules of the policy read, all else is as the test has it.

Hand-written Rego may ask anything of a call: a claim, an argument that no other rule reads, a time of day. Nothing is
generated for that, so it would refuse every generated call under both policies, and what a rule beside it lets pass
would not show. The calls of tests have what their authors know that it asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sidecar.auth.caller import Caller
from sidecar.mcp.strict_json import encode
from sidecar.rehearsal.cases import Case, Step
from sidecar.rehearsal.diff import places
from sidecar.rehearsal.diff.probes import Probe

MOST_STEPS: Final = 8
"""Calls of one tool that are varied, no two of which have the same caller, place, and names of arguments."""


@dataclass(frozen=True, slots=True)
class Variation:
    """A call by a caller, where and when a test has it. `origin` is that test."""

    tool: str
    arguments: Mapping[str, Any]
    caller: Caller
    workload: Mapping[str, str]
    time: float
    origin: str


def variations(probes: Sequence[Probe], cases: Sequence[Case], most: int) -> Iterator[Variation]:
    """Up to `most` calls, each a generated one laid over one of a test of the same tool. Nothing comes before them."""
    alone = [probe for probe in probes if probe.before is None and not places.totals(probe.put)]
    made = 0
    # The first of the generated calls tell most, so all tests are varied by each before the next.
    for probe in alone:
        for case, step in _apart(cases, probe.tool):
            if made == most:
                return
            made += 1
            yield _laid_over(probe, case, step)


def _apart(cases: Sequence[Case], tool: str) -> list[tuple[Case, Step]]:
    found: dict[object, tuple[Case, Step]] = {}
    for case in cases:
        for step in case.steps:
            if step.tool == tool:
                who = encode(step.caller.document)
                key = (who, tuple(sorted(case.workload.items())), tuple(sorted(step.arguments)), step.time)
                found.setdefault(key, (case, step))
    return list(found.values())[:MOST_STEPS]


def _laid_over(probe: Probe, case: Case, step: Step) -> Variation:
    roots = {place.root for place in probe.put}
    generated = places.caller(probe.put, step.caller.session)
    caller = Caller(
        step.caller.session, step.caller.client,
        generated.principal if "principal" in roots else step.caller.principal,
        generated.said if "session" in roots else step.caller.said,
    )  # fmt: skip
    return Variation(
        probe.tool, _over(step.arguments, places.arguments(probe.put)), caller,
        {**case.workload, **places.workload(probe.put)}, step.time, f"{step.place.file}:{step.place.line}, varied",
    )  # fmt: skip


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """The members of both objects; those of the second where both have one, at any depth."""
    made = dict(below)
    for key, value in above.items():
        there = made.get(key)
        made[key] = _over(there, value) if isinstance(there, dict) and isinstance(value, dict) else value
    return made
