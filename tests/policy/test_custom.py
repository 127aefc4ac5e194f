"""Random policies with random hand-written Rego beside them: it adds to a decision, and takes nothing away.

The decision with it is held against the one without it and what its own sets hold, read straight from the engine. The
calls are those that the policy's own tests draw, so that many are proved to pass, are reserved for, or are asked about.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from sidecar.decision.arguments import Projection, arguments_read
from sidecar.decision.decision import Approval, Decision, Violation
from sidecar.decision.question import question
from sidecar.engine import binary, custom_rego
from sidecar.errors import InvalidMessage
from sidecar.mcp.tool_call import ToolCall
from sidecar.policy.bundle import FACTS, Bundle, build
from sidecar.policy.check import check
from sidecar.policy.compile import compile_policy
from sidecar.policy.custom import CUSTOM, CheckedCustom
from sidecar.policy.merge import merge
from sidecar.policy.model import Policy
from sidecar.policy.read import read
from tests.policy.drawing import Call, examples
from tests.policy.judging import Json
from tests.policy.test_agreement import arguments_of, whole, yaml
from tests.support import OPA, ROOT
from tests.support.fuzzing import TIMES

TIME = "2026-11-30T10:00:00Z"
BOUNDED = [
    "true", "false", 'input.tool == "t"', 'startswith(input.tool, "get")', 'input.server == "server"',
    "input.arguments.a", "not input.arguments.a", "input.arguments.a > 5", "input.arguments.b <= 5",
    'input.arguments["x-y"] == 5', "input.arguments.a.b == 5", "typed.at_most(input.arguments.a, 5)", "not small",
    "some x in input.arguments.a; x == 5", "input.arguments.a[_].b", 'input.arguments.a != "a"',
    "is_string(input.arguments.b)", '"a" in input.keys', "count(input.keys) > 1", 'input.principal.subject != ""',
    "not input.principal", "input.principal.claims.groups", 'input.session.client.name == "a"', "input.workload",
    'input.time > "2026"', "every x in input.arguments.b { x == 5 }",
]  # fmt: skip
UNBOUNDED = [
    "x := input; x.arguments.a", "count(input.arguments) > 1", "input.arguments[_] == 5", "walk(input, [_, 5])",
]  # fmt: skip
VIOLATION = 'violations contains {"rule": "r", "reason": "no"}'
VIOLATIONS = ["", ', "monitor": true', ', "monitor": false']
APPROVALS = ["", ', "timeout": 60', ', "approvers": 2', ', "timeout": 100000, "approvers": 3']
HELPERS = "small if typed.at_most(input.arguments.b, 5)\n"


@st.composite
def modules(draw: st.DrawFn) -> str:
    """A module with some rules; most of what it says is not said of every call."""
    rules = []
    every = draw(st.sampled_from([BOUNDED, BOUNDED, BOUNDED + UNBOUNDED]))
    for at in range(draw(st.integers(1, 3))):
        name, more = draw(st.sampled_from([("violations", VIOLATIONS)] * 2 + [("approvals", APPROVALS)]))
        said = f'{{"rule": "own {draw(st.integers(0, 2))}", "reason": "because {at}"{draw(st.sampled_from(more))}}}'
        conditions = draw(st.lists(st.sampled_from(every), min_size=1, max_size=2, unique=True))
        rules.append(f"{name} contains {said} if {{\n\t" + "\n\t".join(conditions) + "\n}\n")
    body = "\n".join(rules)
    if body.count("x :=") + body.count("some x") > 1:
        body = body.replace("x :=", "y :=").replace("; x.arguments", "; y.arguments")
    used = "import data.intercept.typed\n\n" if "typed." in body or "small" in body else ""
    return f"package intercept.custom\n\n{used}{body}\n" + (HELPERS if "small" in body else "")


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, Any], list[Call], str]:
    """A policy, a module beside it, and calls, many of which have arguments that the module looks at."""
    policy, calls = draw(examples())
    values: list[Json] = [Decimal(5), Decimal(6), "5", None, True, [Decimal(5)], [{"b": Decimal(1)}], {"b": Decimal(5)}]
    looked_at = st.dictionaries(st.sampled_from(["a", "b", "x-y"]), st.sampled_from(values), max_size=2)
    calls = [Call(call.tool, call.arguments | draw(looked_at), call.totals, call.caller) for call in calls]
    return policy, calls, draw(modules())


def model_of(policy: dict[str, Any]) -> Policy:
    file, problems = read(yaml(policy), "policy.yaml")
    model, clashes = merge([file])
    assert [problem for problem in (*problems, *clashes, *check(model)) if not problem.warning] == []
    return model


def checked(text: str) -> CheckedCustom:
    return custom_rego.check(OPA, {f"{CUSTOM}/own.rego": text})


class Said(msgspec.Struct):
    """What hand-written Rego says of one call, as it stands in its sets."""

    violations: list[dict[str, Any]]
    approvals: list[dict[str, Any]]


class Answers(msgspec.Struct):
    """The decision, the one by going through the rules, and what hand-written Rego says by itself."""

    decision: Decision
    walk: Decision
    said: Said


EACH = """\
{at: {"decision": decision, "walk": walk, "said": {"violations": violations, "approvals": approvals}} |
    some at, question in input
    decision := data.intercept.decision with input as question
    walk := data.intercept.worked_out with input as question
    violations := [each | some each in data.intercept.custom.violations with input as question]
    approvals := [each | some each in data.intercept.custom.approvals with input as question]
}
"""


def asked(bundle: Bundle, questions: Sequence[bytes]) -> list[Answers]:
    inputs = [bytes(msgspec.json.decode(each, type=dict[str, msgspec.Raw])["input"]).decode() for each in questions]
    found = binary.evaluate(OPA, EACH, f"[{','.join(inputs)}]", bundle.files)
    by_place = msgspec.json.decode(found, type=dict[str, Answers])
    assert len(by_place) == len(questions)
    return [by_place[str(at)] for at in range(len(questions))]


def added(without: Decision, said: Said, facts: dict[str, Any]) -> Decision:
    """The decision that must come of the one without hand-written Rego and what that says."""
    if without.kind in ("hidden", "default_deny", "canary"):
        return without
    own = sorted(said.violations, key=lambda each: (each["rule"], each["reason"], each.get("monitor", False)))
    new = [Violation(each["rule"], each["reason"], "custom", each.get("monitor", False)) for each in own]
    violations = (*without.violations, *new)
    refusing = [each for each in violations if not each.monitor]
    changed = msgspec.structs.replace(without, violations=violations)
    if refusing:
        first = refusing[0]
        return msgspec.structs.replace(
            changed, action="deny", rule=first.rule, reason=first.reason, kind=first.kind, reserve=(), approval=None
        )
    if not said.approvals:
        return changed
    first_asked = min(said.approvals, key=lambda each: (each["rule"], each["reason"]))
    if without.action != "require_approval":
        changed = msgspec.structs.replace(
            changed, action="require_approval", rule=first_asked["rule"], reason=first_asked["reason"],
            kind="approval_required",
        )  # fmt: skip
    return msgspec.structs.replace(changed, approval=_together(without.approval, said, facts))


def _together(policys: Approval | None, said: Said, facts: dict[str, Any]) -> Approval:
    """The strictest of all that is asked for."""
    common = facts["approvals"]
    timeouts = [each.get("timeout", common["timeout"]) for each in said.approvals]
    approvers = [each.get("approvers", 1) for each in said.approvals]
    within = [common["use_within"]]
    contents = {facts["custom"]["content"]}
    if policys is not None:
        timeouts.append(policys.timeout)
        approvers.append(policys.approvers)
        within.append(policys.use_within)
        contents |= set(policys.content.split(" "))
    return Approval(min(timeouts), min(within), max(approvers), " ".join(sorted(contents)), None)


def everything(bundle: Bundle, call: Call) -> bytes:
    """The question with all that there is, the time too; of counters only those that the policy has asked for."""
    names = [item.name for item in bundle.terms.reads_of(call.tool).counters]
    called = Call(call.tool, call.arguments, {name: call.totals[name] for name in names}, call.caller)
    question_ = msgspec.json.decode(whole(called), type=dict[str, dict[str, msgspec.Raw]])
    return msgspec.json.encode({"input": question_["input"] | {"time": TIME}})


def projected(bundle: Bundle, call: Call) -> bytes | None:
    """The question as the sidecar asks it; None where it refuses to."""
    reads = bundle.terms.reads_of(call.tool)
    projection = Projection(reads.paths, reads.only or (), beside=reads.shadow_paths, whole=reads.whole)
    try:
        arguments = arguments_read(ToolCall(1, call.tool, arguments_of(call), False, b"", {}), projection)
    except InvalidMessage:
        return None
    totals = {item.name: call.totals[item.name] for item in reads.counters}
    about = Projection(reads.caller, guarded=False, whole=reads.whole).of(call.caller)
    keys = sorted(call.arguments) if reads.names else None
    return question("server", call.tool, arguments, totals, keys=keys, caller=about, time=TIME if reads.time else "")


OFTEN = settings(
    max_examples=30 * TIMES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],  # making a failing example small takes minutes of engine runs: add Phase.shrink by hand
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)


@pytest.mark.fuzz
@pytest.mark.slow
@pytest.mark.timeout(400)
@OFTEN
@given(cases())
def test_it_adds_what_it_says_and_takes_nothing_away(case: tuple[dict[str, Any], list[Call], str]) -> None:
    policy, calls, text = case
    note(f"{yaml(policy)}\n{text}")
    model, custom = model_of(policy), checked(text)
    plain, joined = build(compile_policy(model), 7), build(compile_policy(model, custom), 7)
    facts = msgspec.json.decode(joined.files[FACTS])
    questions = [everything(plain, call) for call in calls]
    for call, without, with_it in zip(calls, asked(plain, questions), asked(joined, questions), strict=True):
        assert with_it.decision == with_it.walk, call
        expected = added(without.decision, with_it.said, facts)
        assert msgspec.structs.replace(with_it.decision, revision=expected.revision) == expected, call
        assert with_it.decision.revision == joined.revision


@pytest.mark.fuzz
@pytest.mark.slow
@pytest.mark.timeout(400)
@OFTEN
@given(cases())
def test_what_is_left_out_of_a_question_does_not_matter_to_it(case: tuple[dict[str, Any], list[Call], str]) -> None:
    policy, calls, text = case
    note(f"{yaml(policy)}\n{text}")
    bundle = build(compile_policy(model_of(policy), checked(text)), 7)
    pairs = [(each, everything(bundle, call)) for call in calls if (each := projected(bundle, call)) is not None]
    answers = [each.decision for each in asked(bundle, [each for pair in pairs for each in pair])]
    assert answers[::2] == answers[1::2]


def test_a_policy_without_it_is_compiled_as_if_there_were_no_such_thing() -> None:
    model = model_of({"default": "allow", "tools": {"t": {"rules": [{"rate_limit": "5/hour"}]}}})
    files = compile_policy(model)
    assert "quiet" not in "".join(files.values())
    assert "custom" not in msgspec.json.decode(files[FACTS])


def test_what_the_facts_say_of_it_is_what_their_schema_says() -> None:
    rules = [
        'approvals contains {"rule": "r", "reason": "no"} if input.principal.subject == input.arguments.a',
        VIOLATION,
    ]
    custom = checked("\n\n".join(["package intercept.custom", *rules]) + "\n")
    facts = build(compile_policy(model_of({"tools": {"t": {"rules": []}}}), custom), 1).files[FACTS]
    validator = Draft7Validator(json.loads((ROOT / "rego/schemas" / FACTS).read_text(encoding="utf-8")))
    assert json.loads(facts)["custom"] == custom.facts
    assert [error.message for error in validator.iter_errors(json.loads(facts))] == []


def test_every_proof_needs_it_to_be_quiet() -> None:
    limit = {"rules": [{"rate_limit": "5/hour"}]}
    tools = {"t": limit, "t*": limit, "free": {"rules": []}, "*": {"rules": []}}
    custom = checked(f"package intercept.custom\n\n{VIOLATION}\n")
    files = compile_policy(model_of({"default": "allow", "tools": tools}), custom)
    proofs = [
        rule
        for text in files.values()
        for rule in text.split("\n\n")
        if rule.startswith(("proved ", "others_proved ")) or "\nproved " in rule or "\nothers_proved " in rule
    ]
    assert len(proofs) == 2
    assert all(rule.count("data.intercept.quiet") == 1 for rule in proofs), proofs


def test_it_is_part_of_the_revision() -> None:
    model = model_of({"tools": {"t": {"rules": []}}})
    head = "package intercept.custom\n\nviolations contains"
    texts = [f'{head} {{"rule": "r", "reason": "{reason}"}} if false\n' for reason in ("no", "never")]
    revisions = {build(compile_policy(model, checked(text)), 1).revision for text in texts}
    assert len(revisions | {build(compile_policy(model), 1).revision}) == 3
