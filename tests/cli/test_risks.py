"""`sidecar risks`: what a policy does with each of its tools, the most dangerous first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_policy_commands import sidecar

POLICY = """\
hide: [gone]
classes:
  Financial: {rules: [{action: deny}]}
  Destructive: {rules: [{action: require_approval}]}
tools:
  free: {rules: []}
  get: {class: Read, rules: [{name: slow, rate_limit: 9/minute}]}
  "get_*": {class: Read, severity: high, rules: [{rate_limit: {max: 2, window: 90s}}]}
  get_x: {rules: []}
  watched: {class: Execute, rules: [{action: deny, mode: monitor}, {rate_limit: 1/day, mode: shadow}]}
  gone: {class: Write, rules: []}
  buy:
    class: Financial
    rules:
      - spend_limit: {path: args.sz, times: args.px, per_call: 500, max: 1000.5, window: day}
      - {action: require_approval, conditions: [{path: args.sz, op: gt, value: 5}]}
      - {state: {counter: orders, window: hour}, conditions: [{path: state.buy.orders, op: lt, value: 3}]}
  pay: {class: Financial}
  drop: {class: Destructive}
"""
WORTH = "args.sz times args.px at most 500 in one call; args.sz times args.px at most 1000.5 per day"
READ_BY_HAND = [
    ("buy", "Financial", "critical",
     f"allowed, 3 rules; asks a person under conditions; {WORTH}; orders less than 3 per hour"),
    ("pay", "Financial", "critical", "denied by pay#1"),
    ("drop", "Destructive", "critical", "asks a person, 1 rule"),
    ("get_*", "Read", "high", "allowed, 1 rule; calls at most 2 per 90 s for each session over all of get_*"),
    ("get_x", "Read", "high", "allowed, 1 rule; calls at most 2 per 90 s for each session over all of get_*"),
    ("watched", "Execute", "high", "allowed, 1 rule and 1 in shadow"),
    ("gone", "Write", "medium", "hidden"),
    ("get", "Read", "low", "allowed, 1 rule; calls at most 9 per minute"),
    ("free", None, None, "allowed, no rules"),
]  # fmt: skip


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "p.yaml").write_text(POLICY)
    return tmp_path


def found(folder: Path, *options: str) -> list[dict[str, Any]]:
    done = sidecar(folder, "risks", "-c", "p.yaml", "--json", *options)
    assert (done.status, done.errors) == (0, [])
    documents: list[dict[str, Any]] = json.loads(done.out)
    return documents


def test_each_tool_is_told_with_what_the_policy_does_with_it(here: Path) -> None:
    documents = found(here)
    assert [(each["tool"], each["class"], each["severity"], each["does"]) for each in documents] == READ_BY_HAND
    assert [each["rules"] for each in documents if each["tool"] in ("get", "pay", "free")] == [["pay#1"], ["slow"], []]


@pytest.mark.parametrize(("severity", "tools"), [("critical", ["buy", "pay", "drop"]), ("low", ["get"])])
def test_only_the_tools_of_one_severity_are_told(severity: str, tools: list[str], here: Path) -> None:
    assert [each["tool"] for each in found(here, "--severity", severity)] == tools


def test_people_read_a_table(here: Path) -> None:
    done = sidecar(here, "risks", "-c", "p.yaml", "--severity", "medium")
    assert done.out == "medium  Write  gone  hidden\n"
    lines = sidecar(here, "risks", "-c", "p.yaml").out.splitlines()
    assert lines[1] == "critical  Financial    pay      denied by pay#1"
    assert lines[-1] == "-         -            free     allowed, no rules"


def test_what_every_tool_has_and_what_nobody_permits_is_said(here: Path) -> None:
    (here / "p.yaml").write_text("default: deny\ntools: {t: , '?*': , '*': {rules: [{rate_limit: 9/day}]}}")
    assert [(each["tool"], each["does"]) for each in found(here)] == [
        ("t", "allowed, 1 rule; calls at most 9 per day over all tools"), ("?*", "not permitted (default: deny)"),
    ]  # fmt: skip


def test_a_limit_of_a_class_is_each_tools_own(here: Path) -> None:
    (here / "p.yaml").write_text("classes: {Read: {rules: [{rate_limit: 9/day}]}}\ntools: {'get_*': {class: Read}}")
    assert [each["does"] for each in found(here)] == ["allowed, 1 rule; calls at most 9 per day"]


def test_a_policy_that_only_monitors_is_said_to(here: Path) -> None:
    (here / "p.yaml").write_text("mode: monitor\ntools: {t: {rules: [{action: deny}]}}")
    assert sidecar(here, "risks", "-c", "p.yaml").out.splitlines() == [
        "The policy only monitors: every call is forwarded all the same.", "-  -  t  denied by t#1",
    ]  # fmt: skip


def test_a_policy_without_tools_has_no_line(here: Path) -> None:
    (here / "p.yaml").write_text("default: deny")
    assert sidecar(here, "risks", "-c", "p.yaml").out == ""
    assert found(here) == []


def test_an_unknown_severity_is_wrong_usage(here: Path) -> None:
    done = sidecar(here, "risks", "-c", "p.yaml", "--severity", "bad")
    assert (done.status, done.errors) == (
        2,
        ["sidecar: --severity must be critical or high or medium or low, not 'bad'"],
    )
