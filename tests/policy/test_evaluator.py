"""The evaluator itself, held against the recorded cases: it decides them as they were recorded.

Counting is the store's matter; here a few lines stand for it.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
import yaml

from tests.policy.evaluator import (
    Placed,
    Taken,
    Verdict,
    decide,
    has_look_alikes,
    is_callable,
    rules_about,
    what_it_takes,
)
from tests.policy.judging import Json, Known
from tests.support import ROOT

CASES = ROOT / "tests" / "conformance" / "cases"
FILES = (
    "counters", "default-deny", "edition2", "globs", "hide", "operators-eq", "operators-in", "operators-numeric",
    "order", "paths", "rate-limit", "readings", "second-edition", "wildcard",
)  # fmt: skip


CALLER: dict[str, Json] = {"session": {"client": {"name": "peer", "version": "1"}}}
"""Who asks, where a case is run."""


class Loader(yaml.SafeLoader):
    """YAML with exact numbers, where only `true` and `false` are booleans."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, found) for tag, found in resolvers if tag.endswith((":null", ":merge"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?\Z")
Loader.add_implicit_resolver("!number", NUMBER, list("-+.0123456789"))
Loader.add_implicit_resolver("!boolean", re.compile(r"(true|false)\Z"), list("tf"))
Loader.add_constructor("!number", lambda loader, node: Decimal(node.value))
Loader.add_constructor("!boolean", lambda loader, node: node.value == "true")


def read(name: str) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = yaml.safe_load((CASES / f"{name}.yaml").read_text())
    return cases


def policy_of(case: dict[str, Any]) -> dict[str, Any]:
    """The policy of a case, with what the file leaves unsaid."""
    policy: dict[str, Any] = yaml.load(case["policy"], Loader)
    tools = {name: entry or {} for name, entry in (policy.get("tools") or {}).items()}
    for entry in tools.values():
        if "class" not in entry or "rules" in entry:
            entry["rules"] = entry.get("rules") or []
    return {"default": "allow", **policy, "tools": tools}


@dataclass
class Counts:
    """What was taken so far, by the counter's place in the policy."""

    policy: dict[str, Any]
    taken: dict[tuple[str, int], Decimal] = field(default_factory=lambda: defaultdict(Decimal))

    def call(self, tool: str, arguments: dict[str, Json]) -> Verdict | Taken:
        """The decision on a call, or the limit that is exhausted; a call that passes is counted."""
        totals = self.totals(tool)
        verdict = decide(self.policy, tool, arguments, totals, CALLER)
        if verdict.action != "allow":
            return verdict
        rules = rules_about(self.policy, tool)
        takes = [(rule, take) for rule in rules if (take := what_it_takes(rule, Known(arguments, totals)))]
        for rule, take in takes:
            total = self.taken[rule.each or rule.entry, rule.at] + take.amount
            if take.limit is not None and (total > take.limit or (take.exclusive and total == take.limit)):
                return take
        for rule, take in takes:
            if not gives_back(rule, arguments):
                self.taken[rule.each or rule.entry, rule.at] += take.amount
        return verdict

    def totals(self, tool: str) -> dict[str, Decimal]:
        """The totals by the paths that read them."""
        found: dict[str, Decimal] = {}
        placed = [
            Placed(entry, at, rule)
            for entry, body in self.policy["tools"].items()
            for at, rule in enumerate(body.get("rules", []), 1)
        ]
        for rule in [*placed, *(rule for rule in rules_about(self.policy, tool) if rule.each is not None)]:
            counter = rule.said["state"]["counter"] if "state" in rule.said else None
            if isinstance(limit := rule.said.get("rate_limit"), str):
                counter = f"_rate_{limit.split('/')[1]}"
            of = "_class" if rule.each is not None else "_global" if rule.entry == "*" else rule.entry
            found[f"state.{of}.{counter}"] = self.taken[rule.each or rule.entry, rule.at]
        return found


def gives_back(rule: Placed, arguments: dict[str, Json]) -> bool:
    """True when the stub's answer gives back what the call took."""
    refund = rule.said.get("refund", "not_run")
    match arguments.get("stub"):
        case "error":
            return bool(refund != "never")
        case "late":
            return refund in ("on_error", "on_failure")
        case "failure":
            return bool(refund == "on_failure")
    return False


def agrees(step: dict[str, Any], answer: Verdict | Taken) -> bool:
    """True when an answer is the one that a step expects."""
    action = "deny" if isinstance(answer, Taken) else answer.action
    outcome = "error" if action == "require_approval" else action
    wanted = step.get("expect", outcome)
    if wanted == "refused":
        return outcome != "allow"
    return bool(
        outcome == wanted and (wanted != "deny" or step.get("message", answer.reason).startswith(answer.reason))
    )


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=f"{name}: {case['name']}") for name in FILES for case in read(name)]
)
def test_the_evaluator_decides_a_recorded_case_as_it_was_recorded(case: dict[str, Any]) -> None:
    counts = Counts(policy_of(case))
    for step in case["steps"]:
        if counts.policy.get("list") == "callable" and "list_tools" in step:
            assert [tool for tool in case["tools"] if is_callable(counts.policy, tool)] == step["list_tools"]
        if "call" not in step:
            continue
        text = step.get("arguments_json") or json.dumps(step.get("arguments") or {})
        arguments = json.loads(text, parse_float=Decimal, parse_int=Decimal)
        if has_look_alikes(counts.policy, step["call"], arguments):
            assert step["expect"] == "refused", step
        else:
            assert agrees(step, counts.call(step["call"], arguments)), step
