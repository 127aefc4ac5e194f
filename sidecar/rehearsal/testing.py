"""Runs cases: each call is judged as a running sidecar judges it, and compared with what is expected."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sidecar.enforce.denial import APPROVAL, DENIED
from sidecar.rehearsal.cases import Case, Expected, Step
from sidecar.rehearsal.judging import Judgement, Rehearsal

NO_ANSWER: Final = frozenset({"engine_unavailable", "store_unavailable"})
"""Kinds of refusal that are not by the policy."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What became of a step. `wrong` says what is not as expected, empty where all is."""

    step: Step
    judgement: Judgement
    wrong: str


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What became of the steps of a case, all of them, and the seconds that it took."""

    case: Case
    steps: tuple[StepResult, ...]
    seconds: float

    @property
    def failed(self) -> bool:
        """True where a step is not as expected."""
        return any(result.wrong for result in self.steps)


async def run_cases(cases: Sequence[Case], rehearsal: Rehearsal) -> tuple[CaseResult, ...]:
    """Judge every step of every case, each case from counters at 0."""
    return tuple([await _run(case, rehearsal) for case in cases])


async def _run(case: Case, rehearsal: Rehearsal) -> CaseResult:
    began = time.perf_counter()
    await rehearsal.forget(case.steps[0].time, case.workload)
    results = []
    for step in case.steps:
        rehearsal.now = step.time
        judgement = await rehearsal.judge(step.tool, step.arguments, step.caller)
        results.append(StepResult(step, judgement, wrong(step, judgement)))
    return CaseResult(case, tuple(results), time.perf_counter() - began)


def became(judgement: Judgement) -> str:
    """`allow`, `deny` or `approval`, as the agent sees it: what monitor mode forwards is allowed."""
    return "allow" if judgement.forwarded else judgement.action


def wrong(step: Step, judgement: Judgement) -> str:
    """What of a judgement is not as the step expects it; empty where all is.

    A refusal for want of an answer is never as expected: it says nothing of the policy.
    """
    if judgement.kind in NO_ANSWER:
        return "no answer"
    if not _is_as(step.expect, judgement):
        return "decision"
    if step.message is not None and not _begins(step.message, judgement.told):
        return "message"
    if step.rule is not None and step.rule != judgement.rule:
        return "rule"
    return "code" if step.code is not None and step.code != judgement.code else ""


def _is_as(expected: Expected, judgement: Judgement) -> bool:
    match expected:
        case "refused":
            return not judgement.forwarded
        case "error":
            return judgement.code != 0
        case _:
            return expected == became(judgement)


def _begins(message: str, told: str) -> bool:
    """True where the agent is told what begins with the message; what stands before every refusal may be left out."""
    begin = message.rstrip()
    return told.startswith(begin) or bare(told).startswith(begin)


def bare(message: str) -> str:
    """The message without what stands before every refusal, and before every request for an approval."""
    return message.removeprefix(f"{DENIED} ").removeprefix(f"{APPROVAL} ")
