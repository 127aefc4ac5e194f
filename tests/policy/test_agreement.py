"""Random policies and random calls: the engine on the compiled bundle and a plain evaluator say the same.

The evaluator is written from the language's description alone.
"""

from __future__ import annotations

import re
from decimal import Decimal
from itertools import product
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from sidecar.decision.arguments import Projection, arguments_read
from sidecar.decision.decision import Decision, Granting, Reserve, Visible
from sidecar.decision.question import question, question_about_list
from sidecar.engine import binary
from sidecar.errors import InvalidMessage
from sidecar.mcp import strict_json
from sidecar.mcp.tool_call import ToolCall
from sidecar.policy import paths
from sidecar.policy.bundle import Bundle, build
from sidecar.policy.check import check
from sidecar.policy.compile import compile_policy
from sidecar.policy.merge import merge
from sidecar.policy.read import read
from sidecar.text import visible
from tests.policy.drawing import (
    AMOUNTS,
    GLOBS,
    GRANTS,
    NUMBERS,
    TEXTS,
    TOOLS,
    UNLISTED,
    Call,
    examples,
    policies,
)
from tests.policy.evaluator import (
    Approval,
    Refusal,
    Taken,
    Verdict,
    decide,
    has_look_alikes,
    is_callable,
    is_hidden,
    may_have_look_alikes,
)
from tests.policy.judging import Json, steps
from tests.support import OPA
from tests.support.fuzzing import TIMES

pytestmark = pytest.mark.timeout(400)  # many runs of the engine: more than a minute on two busy cores

EXACT = settings(
    max_examples=120,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],  # making a failing example small takes minutes of engine runs: add Phase.shrink by hand
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)

# Values to text, the policy to a bundle, the bundle's answers.


def yaml(value: Any) -> str:
    """A value as YAML on one line. Numbers stand as they are written."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return '"' + "".join(map(_yaml_char, value)) + '"'
        case list():
            return "[" + ", ".join(map(yaml, value)) + "]"
        case dict():
            return "{" + ", ".join(f"{yaml(key)}: {yaml(item)}" for key, item in value.items()) + "}"
        case _:
            return str(value)


def _yaml_char(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    return char if char.isprintable() else f"\\U{ord(char):08x}"


_json = msgspec.json.Encoder(decimal_format="number").encode


def arguments_of(call: Call) -> dict[str, Any]:
    """The arguments as the sidecar has them once it has read the client's line."""
    value, _ = strict_json.read_value(_json(call.arguments))
    assert isinstance(value, dict)
    return value


def bundle_of(policy: dict[str, Any]) -> Bundle:
    text = yaml(policy)
    file, problems = read(text, "policy.yaml")
    made, clashes = merge([file])
    found = [str(problem) for problem in (*problems, *clashes, *check(made)) if not problem.warning]
    assert found == [], text
    return build(compile_policy(made), serial=7)


def ask(bundle: Bundle, questions: list[bytes]) -> list[Decision]:
    """The engine's answers on calls, all in one run."""
    return msgspec.json.decode(_answers(bundle, questions), type=list[Decision])


def ask_visible(bundle: Bundle, tools: list[str]) -> Visible:
    """The engine's answer on a list of tools."""
    [visible] = msgspec.json.decode(_answers(bundle, [question_about_list("server", tools)]), type=list[Visible])
    return visible


def _answers(bundle: Bundle, questions: list[bytes]) -> str:
    inputs = [bytes(msgspec.json.decode(each, type=dict[str, msgspec.Raw])["input"]).decode() for each in questions]
    query = "[decision | some question in input; decision := data.intercept.decision with input as question]"
    found = binary.evaluate(OPA, query, f"[{','.join(inputs)}]", bundle.files)
    assert len(msgspec.json.decode(found, type=list[msgspec.Raw])) == len(questions)
    return found


def projected(bundle: Bundle, call: Call) -> bytes | None:
    """The question as the sidecar asks it; None where it refuses to."""
    reads = bundle.terms.reads_of(call.tool)
    projection = Projection(reads.paths, reads.only or (), beside=reads.shadow_paths)
    try:
        arguments = arguments_read(ToolCall(1, call.tool, arguments_of(call), False, b"", {}), projection)
    except InvalidMessage:
        return None
    totals = {item.name: call.totals[item.name] for item in reads.counters}
    names = sorted(call.arguments) if reads.names else None
    about = Projection(reads.caller, guarded=False).of(call.caller)
    return question("server", call.tool, arguments, totals, keys=names, caller=about)


def whole(call: Call) -> bytes:
    """The question with all arguments, all counters and all that is known of the caller."""
    asked = {"version": 1, "method": "tools/call", "server": "server", "tool": call.tool}
    known = {"arguments": arguments_of(call), "keys": sorted(call.arguments), "counters": call.totals, **call.caller}
    return _json({"input": {**asked, **known}})


def verdict(decision: Decision, wanted: Verdict) -> Verdict:
    """A decision in the evaluator's words, its reasons those that are wanted where they say the same."""
    approval = decision.approval
    reasons = [each.reason for each in wanted.violations] + [""] * len(decision.violations)
    return Verdict(
        decision.action, decision.rule, _told(wanted.reason, decision.reason, decision.kind), decision.kind,
        tuple(
            Refusal(it.rule, _told(reason, it.reason, it.kind), it.kind, it.monitor, it.shadow)
            for it, reason in zip(decision.violations, reasons, strict=False)
        ),
        tuple(map(_taken, decision.reserve)),
        Approval(approval.timeout, approval.use_within, approval.approvers, _grant(approval.grant))
        if approval
        else None,
    )  # fmt: skip


def _grant(grant: Granting | None) -> Json:
    """A standing approval that is offered, as the policies that are drawn here write it."""
    if grant is None:
        return None
    said: dict[str, Json] = {
        "for": f"{grant.seconds}s",
        "calls": Decimal(grant.calls),
        "same": [paths.shown("args", path) for path in grant.same],
    }
    return said | {"at_most": [paths.shown("args", path) for path in grant.at_most]} if grant.at_most else said


def _told(wanted: str, said: str, kind: str) -> str:
    """The reason that is wanted if it is the one that is said, else that one."""
    if kind == "invalid_amount":
        # There are several ways to write a path, and what cannot be seen is escaped where a message is shown.
        (words, _, paths), (other, _, others) = (each.partition(" needs a number at ") for each in (wanted, said))
        if not paths:
            return said
        same = [steps(path) for path in paths.split(" times ")] == [steps(path) for path in others.split(" times ")]
        return wanted if same and words == visible(other) else said
    # What failed, in plain words, follows a reason that is not the policy's own.
    return wanted if said.startswith(f"{wanted}\n") and _STANDARD.match(wanted) else said


_STANDARD = re.compile("Denied by rule |Amount exceeds ")


def _taken(item: Reserve) -> Taken:
    limit = None if item.limit is None else Decimal(item.limit)
    amount = Decimal(item.amount)
    return Taken(
        item.rule, item.reason, item.kind, amount, limit, item.exclusive, item.seconds, item.scope, item.sliding,
        item.shadow,
    )  # fmt: skip


@pytest.mark.fuzz
@settings(EXACT, max_examples=120 * TIMES)
@given(examples())
def test_the_engine_decides_as_the_language_says(example: tuple[dict[str, Any], list[Call]]) -> None:
    policy, calls = example
    bundle = bundle_of(policy)
    questions = {at: asked for at, call in enumerate(calls) if (asked := projected(bundle, call)) is not None}
    for at, call in enumerate(calls):
        if at in questions:
            assert not has_look_alikes(policy, call.tool, call.arguments), call
        else:
            assert may_have_look_alikes(policy, call.tool, call.arguments), call
    for at, decision in zip(questions, ask(bundle, list(questions.values())), strict=True):
        call = calls[at]
        wanted = decide(policy, call.tool, call.arguments, call.totals, call.caller)
        assert verdict(decision, wanted) == wanted, (yaml(policy), call)


@settings(EXACT, max_examples=50)
@given(examples())
def test_what_is_left_out_of_a_question_does_not_matter(example: tuple[dict[str, Any], list[Call]]) -> None:
    policy, calls = example
    bundle = bundle_of(policy)
    pairs = [(asked, whole(call)) for call in calls if (asked := projected(bundle, call))]
    answers = ask(bundle, [asked for pair in pairs for asked in pair])
    assert answers[::2] == answers[1::2]


HIDES = [[], ["t"], ["*"], ["t", "*"], ["get.*", "a/?"], ["T", "??"], ["[ab]/*", "\\*"], UNLISTED, GLOBS, TOOLS]


@pytest.mark.parametrize("hide", HIDES, ids=lambda hide: yaml(hide[:4]))
@pytest.mark.parametrize("default", ["allow", "deny"])
def test_a_list_shows_what_the_language_does_not_hide(hide: list[str], default: str) -> None:
    bundle = bundle_of({"default": default, "hide": hide, "tools": {"t": {"rules": [{"action": "deny"}]}}})
    tools = [*TOOLS, *UNLISTED, *GLOBS, "", "a/b\nc", "get.x.y"]
    hidden = [tool for tool in tools if is_hidden({"hide": hide}, tool)]
    answer = ask_visible(bundle, tools)
    assert list(answer.visible) == [tool for tool in tools if tool not in hidden]
    assert answer.hidden == dict.fromkeys(hidden, "(hidden)")


@settings(EXACT, max_examples=40)
@given(policies())
def test_a_list_shows_what_could_be_called_where_the_policy_says_so(policy: dict[str, Any]) -> None:
    tools = [*TOOLS, *UNLISTED, *(name for name in GLOBS if name not in policy["tools"]), "get.x.y"]
    shown = is_callable if policy.get("list") == "callable" else lambda policy, tool: not is_hidden(policy, tool)
    answer = ask_visible(bundle_of(policy), tools)
    assert list(answer.visible) == [tool for tool in tools if shown(policy, tool)]


@pytest.mark.parametrize("tools", [["t1", "t2"], ["t?"], ["t*", "t1"], ["t1", "*2"]])
def test_a_rule_of_a_class_counts_each_tool_by_itself(tools: list[str]) -> None:
    classes = {"Write": {"rules": [{"rate_limit": "5/hour"}, {"state": {"counter": "n", "window": "day"}}]}}
    entries = {tool: {"class": "Write"} for tool in tools} | {"*": {"rules": [{"rate_limit": "9/day"}]}}
    bundle = bundle_of({"default": "allow", "classes": classes, "tools": entries})
    counted = [
        (each.counter, call.tool if each.each_tool else "")
        for call in (Call("t1", {}), Call("t2", {}))
        for each in ask(bundle, [whole(call)])[0].reserve
    ]
    assert len(counted) == 6
    assert len(set(counted)) == 5  # what is counted for every tool is counted together


NESTED: list[Json] = [*NUMBERS[::3], Decimal("1e307"), Decimal("10e306")]


@pytest.mark.parametrize("also", ["args.c", "args.a", "args.a.b.c", "args.a.c"])
def test_look_alike_keys_are_refused_wherever_a_rule_reads_one(also: str) -> None:
    rules = [{"conditions": [{"path": path, "op": "exists", "value": False}]} for path in ("args.a.b", also)]
    bundle = bundle_of({"default": "allow", "tools": {"t": {"rules": rules}}})
    assert projected(bundle, Call("t", {"a": {"b": Decimal(1), "B": Decimal(2)}})) is None


@pytest.mark.parametrize("rule", [
    {"spend_limit": {"path": "args.a.b", "per_call": Decimal(5)}},
    {"state": {"counter": "n", "window": "day", "increment_from": "args.a.b"}},
    {"action": "require_approval", "conditions": [{"path": "args.a.b", "op": "eq", "value": "x"}]},
    {"action": "require_approval", "state": {"counter": "n", "window": "day", "increment_from": "args.a.b"}},
    {"action": "require_approval", "grant": {"for": "1h", "calls": Decimal(5), "same": ["args.a.b"]}},
    {"action": "require_approval", "grant": {
        "for": "1h", "calls": Decimal(5), "same": ["args.x"], "at_most": ["args.a.b"],
    }},
])  # fmt: skip
@pytest.mark.parametrize("entry", ["t", "t*", "?", "*"])
def test_look_alike_keys_are_refused_in_every_kind_of_rule_and_entry(rule: dict[str, Any], entry: str) -> None:
    bundle = bundle_of({"default": "allow", "tools": {entry: {"rules": [rule]}}})
    assert projected(bundle, Call("t", {"a": {"b": Decimal(1), "B": Decimal(2)}})) is None
    assert projected(bundle, Call("t", {"a": {"b": Decimal(1), "c": Decimal(2)}})) is not None


WITHIN: list[dict[str, Any]] = [{}, {"approval_timeout": "90s"}, {"approval_timeout": "3h"}]
PEOPLE: list[dict[str, Any]] = [{}, {"approvers": Decimal(2)}, {"approvers": Decimal(3), "grant": GRANTS[0]}]
WHEN: list[dict[str, Any]] = [
    {}, {"mode": "monitor"}, {"mode": "shadow"}, {"conditions": [{"path": "args.n", "op": "gt", "value": Decimal(5)}]},
]  # fmt: skip
ASKING = [
    {"action": "require_approval", "reason": "ask", **times, **people, **when}
    for times, people, when in product(WITHIN, PEOPLE, WHEN)
]
"""Rules that ask, each in another way."""


def test_whatever_rules_ask_together_the_strictest_of_them_is_asked_for() -> None:
    pairs = list(product(ASKING, ASKING[::2]))
    rules = [[{"name": "one", **one}, {"name": "other", **other}] for one, other in pairs]
    tools = {f"t{at}": {"rules": both} for at, both in enumerate(rules)}
    policy = {"default": "allow", "approvals": {"timeout": "45m", "use_within": "90s"}, "tools": tools}
    calls = [Call(tool, {"n": Decimal(number)}) for tool in tools for number in (1, 9)]
    answers = ask(bundle_of(policy), list(map(whole, calls)))
    for call, decision in zip(calls, answers, strict=True):
        wanted = decide(policy, call.tool, call.arguments, {})
        assert verdict(decision, wanted) == wanted, (yaml(tools[call.tool]), call)


AWKWARD: list[Json] = [
    *NUMBERS, *TEXTS, True, False, None, [], {}, [[]], [None], [{}], [True], ["true"], ["5"], {"a": []}, {"a": None},
    *([each] for each in NESTED), *({"a": each} for each in NESTED), [Decimal(1), "b"], ["b", Decimal(1)],
]  # fmt: skip


def test_every_awkward_amount_is_counted_exactly_or_refused() -> None:
    tools: dict[str, Any] = {
        "spent": {"rules": [{"spend_limit": {"path": "args.x", "max": Decimal("1e30"), "window": "day"}}]},
        "counted": {"rules": [{"state": {"counter": "n", "window": "day", "increment_from": "args.x"}}]},
        "once": {"rules": [{"spend_limit": {"path": "args.x", "per_call": Decimal("1e30")}}]},
        "watched": {"rules": [{"mode": "monitor", "spend_limit": {"path": "args.x", "per_call": Decimal(5)}}]},
    }
    policy = {"default": "allow", "tools": tools}
    calls = [Call(tool, {"x": value}) for tool in tools for value in (*AMOUNTS, *AWKWARD)]
    missing: list[dict[str, Json]] = [{}, {"X": Decimal(5)}, {"x.y": Decimal(5)}]
    calls += [Call(tool, arguments) for tool in tools for arguments in missing]
    answers = ask(bundle_of(policy), list(map(whole, calls)))
    for call, decision in zip(calls, answers, strict=True):
        wanted = decide(policy, call.tool, call.arguments, {})
        assert verdict(decision, wanted) == wanted, call
