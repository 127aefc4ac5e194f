"""An adversary edits random policies: whatever call he lets pass by that, the comparison of the two policies tells it.

Whether a call passes is decided by the plain evaluator, which knows nothing of the comparison nor of how it searches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sidecar.policy.bundle import build
from sidecar.policy.check import check
from sidecar.policy.compile import compile_policy
from sidecar.policy.custom import NO_CUSTOM
from sidecar.policy.merge import merge
from sidecar.policy.read import read
from sidecar.rehearsal.diff.comparing import Compared, compare
from sidecar.repository.subject import Subject
from tests.policy.drawing import Call, calls_of, policies
from tests.policy.evaluator import decide, has_look_alikes
from tests.policy.test_agreement import yaml
from tests.rehearsal.diff.mutating import edited
from tests.support import OPA
from tests.support.fuzzing import TIMES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

WHOLE = settings(
    max_examples=40 * TIMES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],  # making a failing example small takes minutes of engine runs: add Phase.shrink by hand
    suppress_health_check=list(HealthCheck),
)


class Totals(dict[str, Decimal]):
    """Where counters stand; those that only one of the policies has stand at 0."""

    def __missing__(self, name: str) -> Decimal:
        return Decimal(0)


def subject_of(policy: Mapping[str, Any]) -> Subject | None:
    """The policy, None where an edit made it one that nobody may write."""
    file, problems = read(yaml(policy), "policy.yaml")
    made, clashes = merge([file])
    if not all(problem.warning for problem in (*problems, *clashes, *check(made))):
        return None
    return Subject(Path("policy"), build(compile_policy(made), serial=1), made, NO_CUSTOM, None, ())


def action(policy: Mapping[str, Any], call: Call) -> str:
    return decide(policy, call.tool, call.arguments, Totals(call.totals), call.caller).action


def is_let_pass(old: Mapping[str, Any], new: Mapping[str, Any], call: Call) -> bool:
    """True for a call that the rules of the old policy refuse, and nothing in the new one."""
    # A key that differs from one only in case is refused for the sake of the rule that reads it, not by the rule.
    if any(has_look_alikes(policy, call.tool, call.arguments) for policy in (old, new)):
        return False
    return action(old, call) == "deny" and action(new, call) == "allow"


def compared(old: Subject, new: Subject) -> Compared:
    return asyncio.run(compare(old, new, OPA, (), ()))


@WHOLE
@given(st.data())
def test_no_edit_lets_a_call_pass_unseen(data: st.DataObject) -> None:
    old = data.draw(policies())
    new = edited(data, old)
    before, after = subject_of(old), subject_of(new)
    if before is None or after is None:
        return
    pool = [call for policy in (old, new) for call in data.draw(st.lists(calls_of(policy), min_size=30, max_size=30))]
    if any(is_let_pass(old, new, call) for call in pool):
        assert compared(before, after).opens, f"{yaml(old)}\n{yaml(new)}"


@settings(WHOLE, max_examples=4 * TIMES)
@given(policies())
def test_a_policy_does_not_differ_from_itself(policy: dict[str, Any]) -> None:
    one = subject_of(policy)
    assert one is not None
    found = compared(one, one)
    assert not found.differs
    assert not found.opens


def test_the_order_of_tools_is_no_difference() -> None:
    tools = {
        "a": {"rules": [{"conditions": [{"path": "args.n", "op": "lte", "value": Decimal(5)}]}]},
        "b": {"rules": [{"rate_limit": "3/hour"}]},
        "c": {"rules": [{"action": "deny"}]},
    }
    one, other = (subject_of({"tools": dict(items)}) for items in (tools.items(), reversed(tools.items())))
    assert one is not None
    assert other is not None
    assert not compared(one, other).differs
