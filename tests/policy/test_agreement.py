"""Random policies and random calls: the engine on the compiled bundle and a plain evaluator say the same.

The evaluator is written from the language's description alone. Values are drawn from short lists of awkward ones, so
that a call often meets what its policy asks for, or misses it by very little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sidecar.decision.arguments import Projection, arguments_read
from sidecar.decision.decision import Decision, Reserve, Visible
from sidecar.decision.question import question, question_about_list
from sidecar.engine import binary
from sidecar.errors import InvalidMessage
from sidecar.mcp import strict_json
from sidecar.mcp.tool_call import ToolCall
from sidecar.policy.bundle import Bundle, build
from sidecar.policy.check import check
from sidecar.policy.compile import compile_policy
from sidecar.policy.merge import merge
from sidecar.policy.read import read
from sidecar.text import visible
from tests.policy.evaluator import (
    PATTERNS,
    SECONDS,
    Approval,
    Json,
    Refusal,
    Taken,
    Verdict,
    decide,
    has_look_alikes,
    is_hidden,
    length,
    rules_about,
    steps,
    written,
)
from tests.support import OPA


@dataclass(frozen=True, slots=True)
class Call:
    """A call, and the totals that the counters have before it, by the paths that read them."""

    tool: str
    arguments: dict[str, Json]
    totals: dict[str, Decimal] = field(default_factory=dict)


pytestmark = pytest.mark.timeout(400)  # many runs of the engine: more than a minute on two busy cores

EXACT = settings(
    max_examples=120,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],  # making a failing example small takes minutes of engine runs: add Phase.shrink by hand
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)

# What policies and calls are made of.

NUMBERS = [
    Decimal(token)
    for token in (
        "0", "-0", "0.0", "1", "1.0", "1.1", "1.10", "-1", "5", "5.0", "05e0", "-5", "0.5", "5e-1", "10", "12",
        "1e6", "1000000", "1000000.0", "9007199254740992", "9007199254740993", "18446744073709551616",
        "123456789012345678901234567890", "123456789012345678901234567891", "100", "100.00000000000000001",
        "0.1", "0.10", "0.30000000000000004", "1e-7", "0.0000001", "1e307", "10e306", "-1e308", "1e-400",
        "9" * 308, "9" * 307 + "8",
    )
]  # fmt: skip
TEXTS = [
    "", "a", "b", "ab", "abc", "aBc", "a\nc", "true", "false", "True", "null", "5", "5.0", "05", ".5", "0.5", "-5",
    "-0", "0", "1.1", "1.10", "10", "12", "1000000", "1e6", "1E+6", "9007199254740993", "9007199254740992", "0.0000001",
    "1e-7", "é", "e\u0301", "日本", 'q"t', "back\\slash", "`", "${a}", "# METADATA", "\u2028", "\u0000", "😀",
    "\U000e0001", "\ufeff",
]  # fmt: skip
KEYS = [
    *["a"] * 6, *["b"] * 4, "c", "0", "x-y", "$id", "naïve", "if", "with blank", 'q"t', "back\\slash", "日本",
    "default", "`", "_", "line\nend", "\u2028", "input", "😀", "args",
]  # fmt: skip
WIDE = Context(prec=390)
CASE_TWINS = {"a": "A", "b": "B", "naïve": "NAÏVE", "args": "Args"}
TOOLS = ["t", "u", "T", "get.order", "a/b", "create_test", "日本", 'say "hi"', "back\\slash", "<&>", r"\u003c", "t#1"]
GLOBS = ["?", "t*", "*t", "get.*", "*.*", "a/?", "[ab]/*", "create_tes?", "**", "*u*", "??", "\\*", "<*>", "?#?", "日?"]
UNLISTED = [
    "other",
    "*",
    "_global",
    "<b>&amp;",
    r"\u003c",
    'q"t',
    "back\\",
    "Ünlisted",
    "tt",
    "getXorder",
    "a\n",
    "\\d",
]
NAMES = [
    "r",
    "first rule",
    'say "no"',
    "back\\slash",
    "é",
    "two\nlines",
    "\u2028",
    "# METADATA",
    "\x7f",
    "<b>",
    "\u202e",
]

scalars: st.SearchStrategy[Json] = st.one_of(
    st.sampled_from(NUMBERS), st.sampled_from(TEXTS), st.booleans(), st.none(), st.integers(-20, 20).map(Decimal)
)
keys = st.sampled_from(KEYS)
values: st.SearchStrategy[Json] = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)),
    max_leaves=5,
)
paths = st.lists(keys, min_size=1, max_size=3).map(lambda path: ".".join(["args", *path]))


def condition(op: str, value: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"path": paths, "op": st.just(op), "value": value})


conditions = st.one_of(
    *[condition(op, values) for op in ("eq", "neq", "contains")],
    *[condition(op, st.lists(values, max_size=4)) for op in ("in", "not_in")],
    *[condition(op, st.sampled_from(NUMBERS)) for op in ("lt", "lte", "gt", "gte")],
    condition("regex", st.sampled_from(list(PATTERNS))),
    condition("exists", st.booleans()),
)
evaluates = st.fixed_dictionaries(
    {"conditions": st.lists(conditions, min_size=1, max_size=2)}, optional={"action": st.just("evaluate")}
)
short_limits = st.builds("{}/{}".format, st.integers(1, 10**18 - 1), st.sampled_from(list(SECONDS)))
limit_blocks = st.fixed_dictionaries(
    {"max": st.integers(1, 99).map(Decimal), "window": st.sampled_from([Decimal(1), Decimal(90), "minute", "day"])},
    optional={"scope": st.sampled_from(["global", "session"])},
)
limits = st.fixed_dictionaries({"rate_limit": short_limits | limit_blocks}, optional={"action": st.just("allow")})

# What can be counted, what cannot, and what lies beside it on either side.
AMOUNTS: list[Json] = [
    *(Decimal(token) for token in (
        "0", "-0", "0.0", "1", "1.10", "2", "4.5", "5", "5.00", "5.0000000000000000000000000000001", "10", "1e3",
        "1e-30", "9.9e-31", "1e-31", "9.99e30", "1e31", "1.0E31", "-1", "-1e-30", "0.1", "100.00000000000000001",
        "1234567890123456789012345678901234e-4", "12345678901234567890123456789012345e-5", "1e307",
        "1.2345678901234567890123456789012340000", "0.00000123456789012345678901234567890123",
    )),
    "5", "", "NaN", True, False, None, [Decimal(5)], {"a": Decimal(5)},
]  # fmt: skip
COUNTERS = ["n", "m", "é x", 'q"t', "_other"]
SCOPES = ["global", "session", "principal"]
windows = st.sampled_from(["minute", "hour", "day", "90s", "15m", "12h", Decimal(60), Decimal(86400)])
bounds = st.sampled_from([Decimal(token) for token in ("-1", "0", "0.5", "1", "5", "5.0", "10", "1e30", "100.1")])
state_blocks = st.fixed_dictionaries(
    {"counter": st.sampled_from(COUNTERS), "window": windows},
    optional={
        "scope": st.sampled_from(SCOPES),
        "increment": st.sampled_from([Decimal(1), Decimal("0.5"), Decimal("2.50"), Decimal(10)]),
        "increment_from": paths,
    },
)
counting = st.fixed_dictionaries(
    {"state": state_blocks}, optional={"action": st.just("allow"), "refund": st.just("never")}
)
limiting = st.fixed_dictionaries({
    "state": state_blocks,
    "own": st.lists(st.tuples(st.sampled_from(["lt", "lte", "lte", "gte"]), bounds), min_size=1, max_size=3),
    "conditions": st.lists(conditions, max_size=1),
})  # fmt: skip
per_call = st.fixed_dictionaries({"path": paths, "per_call": bounds.map(abs)})
in_total = st.fixed_dictionaries(
    {"path": paths, "max": bounds.map(abs), "window": windows},
    optional={"per_call": bounds.map(abs), "scope": st.sampled_from(SCOPES)},
)
spending = st.fixed_dictionaries({"spend_limit": per_call | in_total}, optional={"action": st.just("allow")})
approvals = st.fixed_dictionaries(
    {"action": st.just("require_approval"), "reason": st.sampled_from(["a person must agree", *TEXTS[1:9]])},
    optional={
        "conditions": st.lists(conditions, min_size=1, max_size=2),
        "approval_timeout": st.sampled_from(["90s", "2h"]),
        "approvers": st.sampled_from([Decimal(1), Decimal(3)]),
        "state": state_blocks,
    },
)
approvals_of_spending = st.fixed_dictionaries(
    {"action": st.just("require_approval"), "reason": st.just("too dear"), "spend_limit": per_call | in_total}
)
KINDS: list[st.SearchStrategy[dict[str, Any]]] = [
    *[evaluates] * 8, *[limits] * 2, *[counting] * 2, *[limiting] * 4, *[spending] * 3, *[approvals] * 4,
    approvals_of_spending, st.just({"action": "deny"}), st.just({"action": "allow"}),
]  # fmt: skip


@st.composite
def rule_lists(draw: st.DrawFn, entry: str) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = [
        dict(draw(kind))
        for kind in draw(st.lists(st.sampled_from(KINDS), min_size=draw(st.integers(0, 3)), max_size=5))
    ]
    for rule, name in zip(rules, draw(st.permutations(NAMES)), strict=False):
        if draw(st.booleans()):
            rule["name"] = name
        if draw(st.booleans()) and "reason" not in rule:
            rule[draw(st.sampled_from(["reason", "on_deny"]))] = draw(st.sampled_from(TEXTS))
        if not draw(st.integers(0, 6)):
            rule["mode"] = "monitor"
        for op, value in rule.pop("own", []):
            path = counter_path(entry, rule["state"]["counter"])
            rule["conditions"] = [{"path": path, "op": op, "value": value}, *rule["conditions"]]
    return without_double_counters(rules)


def counter_path(entry: str, counter: str) -> str:
    return f"state.{'_global' if entry == '*' else entry}.{counter}"


def without_double_counters(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Drop what no policy may have: two rules of one tool that count on the same counter."""
    kept, seen = [], set()
    for rule in rules:
        match rule:
            case {"rate_limit": str(text)}:
                counter: Any = text.partition("/")[2]
            case {"rate_limit": block}:
                counter = (length(block["window"]), block.get("scope", "session"))
            case {"spend_limit": {"window": window, **block}}:
                counter = (length(window), block.get("scope", "global"), block["path"])
            case {"state": block}:
                counter = block["counter"]
            case _:
                counter = object()
        if counter not in seen:
            kept.append(rule)
        seen.add(counter)
    return kept


def readable(policy: dict[str, Any]) -> list[str]:
    """The paths of all counters that a condition may read."""
    found = []
    for entry, body in policy["tools"].items():
        for rule in body["rules"]:
            match rule:
                case {"state": block}:
                    found.append(counter_path(entry, block["counter"]))
                case {"rate_limit": str(text)}:
                    found.append(counter_path(entry, f"_rate_{text.partition('/')[2]}"))
    return found


@st.composite
def policies(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from([*TOOLS, *TOOLS, *GLOBS, *["*"] * 6]), min_size=2, max_size=4, unique=True))
    policy: dict[str, Any] = {"default": draw(st.sampled_from(["allow", "allow", "allow", "deny"]))}
    if not draw(st.integers(0, 4)):
        hide = st.sampled_from([*TOOLS, *GLOBS[:-4], *UNLISTED, "*"])
        policy["hide"] = draw(st.lists(hide, max_size=2, unique=True))
    if draw(st.booleans()):
        policy["approvals"] = {"timeout": "45m", "use_within": "90s"}
    policy["tools"] = {name: {"rules": draw(rule_lists(name))} for name in names}
    if counters := readable(policy):
        reading = [rule for body in policy["tools"].values() for rule in body["rules"] if "conditions" in rule]
        for rule in reading:
            if not draw(st.integers(0, 2)):
                op, value = draw(st.sampled_from(READINGS))
                path = draw(st.sampled_from(counters))
                rule["conditions"] = [*rule["conditions"], {"path": path, "op": op, "value": value}]
    return policy


READINGS: list[tuple[str, Json]] = [
    *((op, Decimal(5)) for op in ("lt", "lte", "gt", "gte", "eq", "neq")), ("lte", Decimal("0.5")), ("eq", "5"),
    ("in", [Decimal(0), "5"]), ("not_in", [Decimal("5.0")]), ("exists", True), ("exists", False), ("regex", "5"),
]  # fmt: skip


def near(value: Json, op: str) -> st.SearchStrategy[Json]:
    """What an operator and its value may say yes to, and what only looks like it."""
    close: list[Json] = [value, value, [value], str(value)]
    match value:
        case bool():
            close += [written(value), not value]
        case Decimal():
            tiny = Decimal("1e-30")
            close += [WIDE.add(value, step) for step in (1, -1, tiny, -tiny)]
            close += [written(value), WIDE.multiply(value, Decimal("1.0")), [written(value)]]
        case str() if op == "regex":
            close += ["a", "abc", "AbC", "b", "", "1.1", "12", "é", "`", '"', "ab\n"]
        case str():
            close += [f"x{value}y", value.upper(), [[value]], ["x", value]]
        case list() if op in ("in", "not_in"):
            close += value
        case list() | dict():
            close += list(value.values()) if isinstance(value, dict) else value[:1]
    return st.sampled_from(close)


def put(arguments: dict[str, Json], path: Sequence[str], value: Json) -> None:
    """Set what stands at a path, as far as objects lead there."""
    *way, last = path
    for step in way:
        inner = arguments.setdefault(step, {})
        if not isinstance(inner, dict):
            return
        arguments = inner
    arguments[last] = value


TOTALS = [Decimal(token) for token in ("0", "1", "4.5", "4.9999999999999999999", "5", "5.0", "6", "1e30")]


@st.composite
def calls_of(draw: st.DrawFn, policy: dict[str, Any]) -> Call:
    tool = draw(st.sampled_from([*policy["tools"]] * 6 + TOOLS + UNLISTED))
    arguments: dict[str, Json] = draw(st.dictionaries(keys, values, max_size=1))
    for rule in rules_about(policy, tool):
        if rule.amount_path and draw(st.integers(0, 9)):
            good = st.sampled_from(AMOUNTS[:9])
            put(arguments, steps(rule.amount_path), draw(st.one_of(good, good, st.sampled_from(AMOUNTS))))
        for each in rule.conditions:
            if each["path"].startswith("args.") and draw(st.integers(0, 9)):
                path = steps(each["path"])
                close = near(each["value"], each["op"])
                put(arguments, path, draw(st.one_of(close, close, close, values)))
                if path[-1] in CASE_TWINS and not draw(st.integers(0, 7)):
                    put(arguments, [*path[:-1], CASE_TWINS[path[-1]]], draw(scalars))
    return Call(tool, arguments, {path: draw(st.sampled_from(TOTALS)) for path in readable(policy)})


@st.composite
def examples(draw: st.DrawFn) -> tuple[dict[str, Any], list[Call]]:
    policy = draw(policies())
    return policy, draw(st.lists(calls_of(policy), min_size=20, max_size=30))


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
    try:
        arguments = arguments_read(ToolCall(1, call.tool, arguments_of(call), False, b""), Projection(reads.paths))
    except InvalidMessage:
        return None
    return question("server", call.tool, arguments, {item.name: call.totals[item.name] for item in reads.counters})


def whole(call: Call) -> bytes:
    """The question with all arguments and all counters."""
    return question("server", call.tool, arguments_of(call), dict(call.totals))


def verdict(decision: Decision) -> Verdict:
    """A decision in the evaluator's words."""
    approval = decision.approval
    return Verdict(
        decision.action, decision.rule, _said(decision.reason, decision.kind), decision.kind,
        tuple(Refusal(it.rule, _said(it.reason, it.kind), it.kind, it.monitor) for it in decision.violations),
        tuple(map(_taken, decision.reserve)),
        Approval(approval.timeout, approval.use_within, approval.approvers) if approval else None,
    )  # fmt: skip


def _said(reason: str, kind: str) -> str:
    # The engine escapes a name as JSON does; what cannot be seen is escaped where a message is shown.
    return visible(reason) if kind == "invalid_amount" else reason


def _taken(item: Reserve) -> Taken:
    limit = None if item.limit is None else Decimal(item.limit)
    amount = Decimal(item.amount)
    return Taken(item.rule, item.reason, item.kind, amount, limit, item.exclusive, item.seconds, item.scope)


@EXACT
@given(examples())
def test_the_engine_decides_as_the_language_says(example: tuple[dict[str, Any], list[Call]]) -> None:
    policy, calls = example
    bundle = bundle_of(policy)
    questions = {at: asked for at, call in enumerate(calls) if (asked := projected(bundle, call)) is not None}
    refused = [at for at, call in enumerate(calls) if has_look_alikes(policy, call.tool, call.arguments)]
    assert [at for at in range(len(calls)) if at not in questions] == refused
    for at, decision in zip(questions, ask(bundle, list(questions.values())), strict=True):
        call = calls[at]
        wanted = decide(policy, call.tool, call.arguments, call.totals)
        assert verdict(decision) == wanted, (yaml(policy), call)


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
])  # fmt: skip
@pytest.mark.parametrize("entry", ["t", "t*", "?", "*"])
def test_look_alike_keys_are_refused_in_every_kind_of_rule_and_entry(rule: dict[str, Any], entry: str) -> None:
    bundle = bundle_of({"default": "allow", "tools": {entry: {"rules": [rule]}}})
    assert projected(bundle, Call("t", {"a": {"b": Decimal(1), "B": Decimal(2)}})) is None
    assert projected(bundle, Call("t", {"a": {"b": Decimal(1), "c": Decimal(2)}})) is not None


AWKWARD: list[Json] = [
    *NUMBERS, *TEXTS, True, False, None, [], {}, [[]], [None], [{}], [True], ["true"], ["5"], {"a": []}, {"a": None},
    *([each] for each in NESTED), *({"a": each} for each in NESTED), [Decimal(1), "b"], ["b", Decimal(1)],
]  # fmt: skip


def test_every_operator_agrees_on_every_pair_of_awkward_values() -> None:
    pairs: list[tuple[str, Json]] = [(op, value) for op in ("eq", "contains") for value in AWKWARD]
    pairs += [(op, number) for op in ("lt", "lte", "gt", "gte") for number in NUMBERS]
    pairs += [("neq", value) for value in AWKWARD[::4]]
    pairs += [(op, [value, "no"]) for op in ("in", "not_in") for value in AWKWARD[::4]]
    pairs += [("regex", pattern) for pattern in PATTERNS] + [("exists", True), ("exists", False)]
    rules = [{"conditions": [{"path": "args.x", "op": op, "value": value}]} for op, value in pairs]
    policy = {"default": "allow", "tools": {"t": {"rules": rules}}}
    bundle = bundle_of(policy)
    calls = [Call("t", {}), *(Call("t", {"x": value}) for value in AWKWARD)]
    for call, decision in zip(calls, ask(bundle, list(map(whole, calls))), strict=True):
        refused = {refusal.rule for refusal in decide(policy, "t", call.arguments, {}).violations}
        found = {violation.rule for violation in decision.violations}
        differing = [pairs[int(rule.removeprefix("t#")) - 1] for rule in refused ^ found]
        assert differing == [], call


def test_every_request_for_an_approval_agrees_on_every_pair_of_awkward_values() -> None:
    pairs: list[tuple[str, Json]] = [(op, value) for op in ("eq", "contains") for value in AWKWARD[::2]]
    pairs += [(op, number) for op in ("lt", "lte", "gt", "gte") for number in NUMBERS[::2]]
    pairs += [(op, [value, "no"]) for op in ("in", "not_in") for value in AWKWARD[1::4]]
    pairs += [("neq", value) for value in AWKWARD[::4]]
    pairs += [("regex", pattern) for pattern in PATTERNS] + [("exists", True), ("exists", False)]
    rules = [
        {"action": "require_approval", "mode": "monitor", "conditions": [{"path": path, "op": op, "value": value}]}
        for op, value in pairs
        for path in ("args.x", "args.x.y.z")
    ]
    policy = {"default": "allow", "tools": {"t": {"rules": rules}}}
    calls = [Call("t", {}), *(Call("t", {"x": value}) for value in AWKWARD[::2]), *(Call("t", at) for at in WAYS)]
    for call, decision in zip(calls, ask(bundle_of(policy), list(map(whole, calls))), strict=True):
        wanted = {refusal.rule for refusal in decide(policy, "t", call.arguments, {}).violations}
        found = {violation.rule for violation in decision.violations}
        assert [rules[int(rule.removeprefix("t#")) - 1] for rule in wanted ^ found] == [], call


_IN_THE_WAY: list[Json] = [None, True, False, Decimal(0), "", '{"z":5}', [], [{"z": Decimal(5)}], {}]
_AT_THE_END: list[Json] = [None, True, Decimal(5), "5", "abc", [], {}, [Decimal(5)], {"z": "z"}]
WAYS: list[dict[str, Json]] = [{"x": {"y": value}} for value in _IN_THE_WAY]
WAYS += [{"x": {"y": {"z": value}}} for value in _AT_THE_END]


there = values.filter(lambda value: value is not None)
NO_NUMBERS = there.filter(lambda value: not isinstance(value, Decimal))
UNJUDGED: dict[str, tuple[Json, st.SearchStrategy[Json]]] = {
    "lt": (Decimal(5), NO_NUMBERS),
    "lte": (Decimal(5), NO_NUMBERS),
    "gt": (Decimal(5), NO_NUMBERS),
    "gte": (Decimal(5), NO_NUMBERS),
    "regex": ("^$", there.filter(lambda value: not isinstance(value, str))),
    "contains": (["never"], there.filter(lambda value: not isinstance(value, list))),
}
"""For each operator that is about some types only: what it compares with, and what it cannot judge."""


@st.composite
def unjudged(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Json]]:
    """A condition, and arguments that it cannot judge: a value of another type, or something in the way."""
    path = draw(st.lists(keys, min_size=1, max_size=3))
    arguments: dict[str, Json] = {}
    if len(path) > 1 and draw(st.booleans()):
        each = draw(conditions)
        put(
            arguments,
            path[: draw(st.integers(1, len(path) - 1))],
            draw(there.filter(lambda it: not isinstance(it, dict))),
        )
    else:
        op = draw(st.sampled_from(sorted(UNJUDGED)))
        each = {"op": op, "value": UNJUDGED[op][0]}
        put(arguments, path, draw(UNJUDGED[op][1]))
    return {**each, "path": ".".join(["args", *path])}, arguments


@settings(EXACT, max_examples=20)
@given(st.lists(unjudged(), min_size=30, max_size=40))
def test_what_cannot_be_judged_asks(cases: list[tuple[dict[str, Any], dict[str, Json]]]) -> None:
    tools: dict[str, Any] = {
        f"tool {at}": {"rules": [{"action": "require_approval", "reason": "ask", "conditions": [each]}]}
        for at, (each, _) in enumerate(cases)
    }
    bundle = bundle_of({"default": "deny", "tools": tools})
    questions = [projected(bundle, Call(tool, arguments)) for tool, (_, arguments) in zip(tools, cases, strict=True)]
    answers = ask(bundle, [each for each in questions if each is not None])
    assert [answer.action for answer in answers] == ["require_approval"] * len(cases)


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
        assert verdict(decision) == decide(policy, call.tool, call.arguments, {}), call
