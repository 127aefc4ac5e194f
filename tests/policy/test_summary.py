"""A policy in one line: what it is about, and what becomes of all else."""

from __future__ import annotations

import pytest

from sidecar.policy.merge import merge
from sidecar.policy.read import read
from sidecar.policy.summary import summary

RULE = "{rules: [{action: allow}]}"


@pytest.mark.parametrize(("text", "line"), [
    ("", "default: allow; 0 tools with 0 rules; every other tool is allowed"),
    (f"tools: {{a: {RULE}}}", "default: allow; 1 tool with 1 rule; every other tool is allowed"),
    (f"tools: {{a: {RULE}, b: {{rules: [{{action: allow}}, {{action: deny}}]}}, c: {{}}}}",
     "default: allow; 3 tools with 3 rules; every other tool is allowed"),
    (f"default: deny\ntools: {{a: {RULE}, 'b*': {RULE}}}",
     "default: deny; 1 tool and 1 pattern with 2 rules; every other tool is refused"),
    (f"tools: {{'b*': {RULE}, 'c*': {RULE}}}", "default: allow; 2 patterns with 2 rules; every other tool is allowed"),
    (f"tools: {{a: {RULE}, '*': {RULE}}}",
     'default: allow; 1 tool with 1 rule; every other tool is allowed, with 1 rule of "*"'),
    (f"default: deny\ntools: {{a: {RULE}, '*': {RULE}}}",
     "default: deny; 1 tool with 1 rule; every other tool is refused"),
    (f"hide: [x, 'y*']\ntools: {{a: {RULE}}}",
     "default: allow; 1 tool with 1 rule; every other tool is allowed; 2 names hidden"),
    ("hide: ['*']", "default: allow; 0 tools with 0 rules; every tool is hidden"),
    (f"mode: monitor\ntools: {{a: {RULE}}}",
     "default: allow; 1 tool with 1 rule; every other tool is allowed; mode: monitor, so nothing is refused"),
    ("tools: {a: {rules: [{action: allow}, {action: deny, mode: shadow}]}}",
     "default: allow; 1 tool with 2 rules; every other tool is allowed; 1 rule only tried, in shadow"),
    ("tools: {a: {rules: [{action: deny, mode: monitor}, {rate_limit: 1/day, mode: monitor}, {action: allow}]}}",
     "default: allow; 1 tool with 3 rules; every other tool is allowed; 2 rules only reporting, in monitor mode"),
    ("tools: {a: {rules: [{action: deny, mode: monitor}, {action: deny, mode: shadow}]}}",
     ("default: allow; 1 tool with 2 rules; every other tool is allowed; 1 rule only reporting, in monitor mode; "
      "1 rule only tried, in shadow")),
])  # fmt: skip
def test_a_policy_is_summed_up_in_one_line(text: str, line: str) -> None:
    file, _ = read(text, "p.yaml")
    policy, _ = merge([file])
    assert summary(policy) == line
