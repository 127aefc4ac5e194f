"""Cases run against a policy, both given as text, by the engine itself."""

from __future__ import annotations

import asyncio

from sidecar.policy.bundle import build
from sidecar.policy.compile import compile_policy
from sidecar.policy.merge import merge
from sidecar.policy.model import Policy
from sidecar.policy.read import read
from sidecar.rehearsal.cases import read_cases
from sidecar.rehearsal.judging import rehearsal
from sidecar.rehearsal.testing import CaseResult, run_cases
from tests.support import OPA


def policy_of(text: str) -> Policy:
    file, problems = read(text, "policy.yaml")
    policy, clashes = merge([file])
    assert not [problem for problem in (*problems, *clashes) if not problem.warning]
    return policy


def run(policy: str, cases: str) -> tuple[CaseResult, ...]:
    """What became of the cases."""
    read, problems = read_cases(cases, "tests.yaml")
    assert problems == []

    async def judged() -> tuple[CaseResult, ...]:
        async with rehearsal(build(compile_policy(policy_of(policy)), 1), OPA) as judge:
            return await run_cases(read, judge)

    return asyncio.run(judged())


def wrongs(policy: str, steps: str) -> list[str]:
    """What is wrong with each step of one case; `steps` are a list of YAML."""
    (result,) = run(policy, f"- name: n\n  steps:\n{steps}")
    return [step.wrong for step in result.steps]
