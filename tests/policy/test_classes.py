"""Risk classes: which rules apply to which tools by them, what these count, and what can be wrong with a policy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from sidecar.decision.question import question
from sidecar.engine import binary
from sidecar.policy.applies import applying
from sidecar.policy.bundle import FACTS, build
from sidecar.policy.compile import compile_policy
from sidecar.policy.hints import hints
from sidecar.policy.model import Policy
from tests.policy import test_merge
from tests.policy.test_merge import policy
from tests.support import OPA
from tests.support.fuzzing import examples as times

CLASSES = "classes: {Financial: {rules: [{rate_limit: 5/day}, {action: deny, reason: Ask}]}, Read: {rules: []}}\n"


def rules(made: Policy) -> dict[str, list[str]]:
    """The names of the rules of each entry."""
    return {entry.tool: [rule.name for rule in entry.rules] for entry in made.entries}


def merged(*texts: str) -> tuple[Policy, list[str]]:
    """The policy of some files, and what is wrong with it; where nothing is, what it is warned of."""
    made, problems = test_merge.merged(*texts)
    return made, problems or [str(hint) for hint in sorted(hints(made, []))]


def only(text: str) -> str:
    """The one problem of a policy."""
    (problem,) = merged(text)[1]
    return problem


# What a class gives.


def test_a_tool_without_rules_of_its_own_has_those_of_its_class_named_after_it() -> None:
    made = policy(f"{CLASSES}tools: {{pay: {{class: Financial}}, 'pay_*': {{class: Financial}}, get: {{class: Read}}}}")
    assert rules(made) == {"pay": ["pay#1", "pay#2"], "pay_*": ["pay_*#1", "pay_*#2"], "get": []}
    assert {rule.place.line for entry in made.entries for rule in entry.rules} == {1}


@pytest.mark.parametrize(
    "entry", ["{class: Financial, rules: []}", "{class: Financial, rules: }", "{}", "", "{class: Read}"]
)
def test_other_tools_have_none_of_them(entry: str) -> None:
    made, _ = merged(f"{CLASSES}tools: {{t: {entry}}}")
    assert rules(made) == {"t": []}


def test_a_class_may_stand_in_another_file_than_its_tools() -> None:
    made = policy("tools: {pay: {class: Financial}}", CLASSES + "tools: {get: {class: Read}}")
    assert rules(made) == {"pay": ["pay#1", "pay#2"], "get": []}


def test_a_name_that_the_rule_of_a_class_has_is_kept() -> None:
    made = policy(
        "classes: {Read: {rules: [{name: slow, rate_limit: 5/day}]}}\ntools: {a: {class: Read}, b: {class: Read}}"
    )
    assert rules(made) == {"a": ["slow"], "b": ["slow"]}
    assert [rule.id for entry in made.entries for rule in entry.rules] == ["a/slow", "b/slow"]


COUNTING = """
classes:
  Financial:
    rules:
      - state: {counter: spent, window: day, increment_from: args.n}
        conditions: [{path: state._class.spent, op: lte, value: 10}]
      - conditions: [{path: state._class.spent, op: lt, value: 99}, {path: args.n, op: gt, value: 0}]
tools: {pay: {class: Financial}, 'pay_*': {class: Financial}}
"""


def test_the_own_counter_of_a_class_is_that_of_each_entry_and_its_limit_too() -> None:
    made = policy(COUNTING)
    for entry in made.entries:
        first, second = entry.rules
        assert [str(item.subject) for item in first.own_limits] == [f"state.{entry.tool}.spent"]
        assert first.asked == ()
        assert str(second.asked[0].subject) == f"state.{entry.tool}.spent"


def test_a_rule_of_a_class_that_is_in_shadow_may_limit_its_own_counter() -> None:
    rule = "{mode: shadow, state: {counter: m, window: day}, conditions: [{path: state._class.m, op: lte, value: 5}]}"
    made, problems = test_merge.merged(f"classes: {{Read: {{rules: [{rule}]}}}}\ntools: {{t: {{class: Read}}}}")
    (entry,) = made.entries
    assert ([len(one.own_limits) for one in entry.rules], problems) == ([1], [])


def test_each_tool_counts_by_itself_under_a_pattern_too_and_the_facts_say_where() -> None:
    bundle = build(compile_policy(policy(COUNTING)), serial=1)
    facts = msgspec.json.decode(bundle.files[FACTS])
    assert "each_tool" not in facts["tools"]["pay"][0]["limit"]
    assert facts["patterns"][0]["rules"][0]["limit"]["each_tool"] is True
    read = {
        tool: [(item.counter, item.each_tool) for item in bundle.terms.reads_of(tool).counters]
        for tool in ("pay", "pay_x")
    }
    assert read == {"pay": [("pay.spent", False)], "pay_x": [("pay_*.spent", True)]}


# What is wrong with it.


def test_the_same_class_in_two_files_clashes() -> None:
    _, problems = merged(
        f"{CLASSES}tools: {{pay: {{class: Financial}}, r: {{class: Read}}}}", "classes: {Read: {rules: []}}"
    )
    assert problems == ["b.yaml:1:11: classes.Read: a.yaml:1 has rules for this class too: put them into one file"]


def test_a_class_that_no_tool_has_is_a_warning() -> None:
    text = "no tool has this class: write class: Read under a tool, or remove it"
    assert only(f"{CLASSES}tools: {{pay: {{class: Financial}}}}") == f"a.yaml:1:83: warning: classes.Read: {text}"
    assert (
        merged(f"{CLASSES}tools: {{pay: {{class: Financial}}, r: {{class: Read, rules: [{{action: deny}}]}}}}")[1] == []
    )


def test_a_mistake_in_the_rules_of_a_class_is_told_once_and_where_it_stands() -> None:
    text = (
        "classes: {Read: {rules: [{rate_limit: 5/day}, {rate_limit: 6/day}]}}\n"
        "tools: {a: {class: Read}, b: {class: Read}, 'c*': {class: Read}}"
    )
    assert only(text).startswith("a.yaml:1:47: classes.Read.rules[2]: line 1 limits this tool")
    warned = text.replace("{rate_limit: 5/day}, {rate_limit: 6/day}", "{action: deny}, {rate_limit: 6/day}")
    assert ": warning: classes.Read.rules[2]: " in only(warned)


READING = "tools: {r: {class: Read}, t: {rules: [{conditions: [{path: %s, op: eq, value: 0}]}]}}"
BY_PATTERN = (
    "classes: {Read: {rules: [{rate_limit: 5/day}]}}\n"
    "tools: {'r*': {class: Read}, t: {rules: [{conditions: [{path: %s, op: eq, value: 0}]}]}}"
)


@pytest.mark.parametrize(("text", "path", "says"), [
    (READING, "state._class.n", "is a counter of a rule of the same class"),
    (READING, "state.r.n", 'add state: {counter: n} to a rule of "r"'),
    (BY_PATTERN, "state.r*._rate_day", "is another counter for each tool that has the class Read by this pattern"),
])  # fmt: skip
def test_a_counter_of_a_class_is_read_where_it_has_one_meaning(text: str, path: str, says: str) -> None:
    assert says in only(text.replace("%s", path))


def test_the_counters_of_the_tools_of_a_class_are_read_by_their_names() -> None:
    text = BY_PATTERN.replace("'r*'", "r")
    assert merged(text.replace("%s", "state.r._rate_day"))[1] == []


def test_a_class_reads_no_counter_that_none_of_its_rules_counts_on() -> None:
    rules = "[{state: {counter: n, window: day}}, {conditions: [{path: state._class.m, op: eq, value: 0}]}]"
    text = f"classes: {{Read: {{rules: {rules}}}}}\ntools: {{t: {{class: Read}}}}"
    assert "no such rule counts on it: add state: {counter: m} there" in only(text)
    assert merged(text.replace("_class.m", "_class.n"))[1] == []


def test_a_tool_that_is_really_called_so_keeps_its_counter() -> None:
    reading = "{rules: [{conditions: [{path: state._class.n, op: lt, value: 9}]}]}"
    text = f"tools: {{_class: {{rules: [{{state: {{counter: n, window: day}}}}]}}, t: {reading}}}"
    assert merged(text)[1] == []


@pytest.mark.parametrize(("tools", "warned"), [
    ("pay: {class: Financial}", ["pay"]), ("'pay*': {class: Destructive, rules: []}", ["pay*"]),
    ("pay: {class: Financial}, '*': {rules: [{rate_limit: 5/day}]}", []),
    ("pay: {class: Financial}, 'p*': {rules: [{rate_limit: 5/day}]}", []),
    ("pay: {class: Write}, get: {class: Read}, run: {class: Execute}, '*': {severity: critical}", []),
    ("'a*': {class: Read}, ab: {class: Financial}", ["ab"]),
])  # fmt: skip
def test_what_moves_money_or_destroys_and_is_open_to_every_call_is_a_warning(tools: str, warned: list[str]) -> None:
    _, problems = merged(f"tools: {{{tools}}}")
    assert [re.findall(r"warning: tools\.([^:]*): ", text)[0] for text in problems] == warned
    assert merged(f"default: deny\ntools: {{{tools}}}")[1] == []
    assert merged(f"hide: ['p*', ab]\ntools: {{{tools}}}")[1] == []


def test_a_list_of_all_tools_has_no_effect_beside_one_of_the_callable_ones() -> None:
    made, problems = merged("list: all", "list: callable", "tools: {}")
    assert made.listed == "callable"
    assert problems == ["a.yaml:1:1: warning: list: has no effect: b.yaml:1 says callable, and the stricter holds"]


# Which rules apply to which tool.


NAMES = ["a", "b", "ab", "ba", "aab"]
GLOBS = ["a*", "*b", "?", "??", "a?b"]
RISKS = ["Financial", "Read"]


def demanding(argument: str) -> dict[str, Any]:
    """A rule that a call passes only with this argument."""
    return {"conditions": [{"path": f"args.{argument}", "op": "eq", "value": 1}]}


@st.composite
def policies(draw: st.DrawFn) -> dict[str, Any]:
    """A policy whose rules each demand an argument of their own."""
    names = draw(st.lists(st.sampled_from([*NAMES, *GLOBS, "*"]), min_size=1, max_size=6, unique=True))
    tools: dict[str, Any] = {}
    for at, name in enumerate(names):
        entry: dict[str, Any] = {}
        if name != "*" and draw(st.booleans()):
            entry["class"] = draw(st.sampled_from(RISKS))
        if name == "*" or draw(st.booleans()):
            entry["rules"] = [demanding(f"own{at}_{n}") for n in range(draw(st.integers(0, 2)))]
        tools[name] = entry
    classes = {
        risk: {"rules": [demanding(f"{risk}_{n}") for n in range(2)]} for risk in draw(st.sets(st.sampled_from(RISKS)))
    }
    return {"classes": classes, "tools": tools}


def matches(glob: str, tool: str) -> bool:
    if not glob:
        return not tool
    if glob[0] == "*":
        return matches(glob[1:], tool) or (bool(tool) and matches(glob, tool[1:]))
    return bool(tool) and glob[0] in ("?", tool[0]) and matches(glob[1:], tool[1:])


def expected(policy: dict[str, Any], tool: str) -> list[tuple[str, str]]:
    """The rules that apply to a tool, by the language's description alone: name and the argument that each demands."""
    tools = policy["tools"]
    about = [tool] * (tool in tools) + [
        name for name in tools if ("*" in name or "?" in name) and name != "*" and matches(name, tool)
    ]
    gives_class = next((name for name in about if "class" in tools[name]), None)
    found = []
    for name in [*about, *(["*"] if "*" in tools else [])]:
        entry = tools[name]
        rules = entry.get("rules", [])
        if "rules" not in entry and name == gives_class:
            rules = policy["classes"].get(entry["class"], {"rules": []})["rules"]
        found += [
            (f"{name}#{at}", rule["conditions"][0]["path"].removeprefix("args.")) for at, rule in enumerate(rules, 1)
        ]
    return found


class Body(msgspec.Struct):
    """The body of a question."""

    input: msgspec.Raw


ASKED = """\
[[decision, walk, rules] |
    some question in input
    decision := data.intercept.decision with input as question
    walk := data.intercept.worked_out with input as question
    rules := [rule.id | some rule in data.intercept.rules] with input as question
]
"""


@dataclass(frozen=True, slots=True)
class Case:
    """A call with arguments that meet every rule that applies, or all but the one that refuses it then."""

    tool: str
    rules: list[str]
    arguments: dict[str, int]
    refusing: str


def cases(policy: dict[str, Any], tool: str) -> list[Case]:
    demanded = expected(policy, tool)
    names = [name for name, _ in demanded]
    every = {argument: 1 for _, argument in demanded}
    lacking = [({key: 1 for key in every if key != argument}, name) for name, argument in demanded]
    return [Case(tool, names, arguments, refusing) for arguments, refusing in [(every, ""), *lacking]]


@pytest.mark.fuzz
@pytest.mark.timeout(400)
@settings(times(40), suppress_health_check=[HealthCheck.too_slow], phases=[Phase.generate])
@given(policies())
def test_the_rules_that_apply_to_a_tool_are_those_that_the_language_says(written: dict[str, Any]) -> None:
    text = msgspec.json.encode(written).decode()
    note(text)
    made, _ = merged(text)
    bundle = build(compile_policy(made), serial=1)
    asked = [case for tool in [*NAMES, "c", "cb"] for case in cases(written, tool)]
    for case in asked:
        assert [rule.name for entry in applying(made).about(case.tool) for rule in entry.rules] == case.rules
        assert {path for (path,) in bundle.terms.reads_of(case.tool).paths} >= set(case.arguments)
    bodies = [msgspec.json.decode(question("s", case.tool, case.arguments), type=Body).input for case in asked]
    found = binary.evaluate(OPA, ASKED, f"[{','.join(bytes(body).decode() for body in bodies)}]", bundle.files)
    for case, (decision, walk, rules) in zip(asked, msgspec.json.decode(found), strict=True):
        assert decision == walk, case
        assert rules == case.rules, case
        assert (decision["action"], decision["rule"]) == ("deny" if case.refusing else "allow", case.refusing), case


def test_no_argument_is_read_for_rules_that_do_not_apply() -> None:
    made = policy(
        "classes: {Write: {rules: [{conditions: [{path: args.n, op: lt, value: 9}]}]}}\n"
        "tools: {'a*': {class: Read, rules: []}, '*b': {class: Write}, ccb: {class: Read}}"
    )
    terms = build(compile_policy(made), serial=1).terms
    assert [bool(terms.reads_of(tool).paths) for tool in ("ab", "bb", "ccb", "b")] == [False, True, False, True]


@pytest.mark.parametrize(
    ("rule", "counter", "tools"),
    [
        ("{action: allow}", "n", "{_class: {rules: [{state: {counter: n, window: hour}}]}, a: {class: Read}}"),
        ("{rate_limit: {max: 5, window: 60}}", "_rate_60_session", "{a: {class: Read}}"),
        ("{spend_limit: {path: args.a, max: 5, window: day}}", "_spend_86400_global_a", "{a: {class: Read}}"),
    ],
)
def test_in_a_class_nothing_reads_what_no_condition_can(rule: str, counter: str, tools: str) -> None:
    read = f"{{conditions: [{{path: state._class.{counter}, op: lt, value: 5}}]}}"
    assert "no such rule counts on it" in only(f"classes: {{Read: {{rules: [{rule}, {read}]}}}}\ntools: {tools}")
