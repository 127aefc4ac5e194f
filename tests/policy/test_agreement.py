"""Random policies and random calls: the engine on the compiled bundle and a plain evaluator say the same.

The evaluator is written from the language's description alone. Values are drawn from short lists of awkward ones, so
that a call often meets what its policy asks for, or misses it by very little.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Context, Decimal
from typing import Any, TypeAlias

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sidecar import jsonrpc
from sidecar.decision import Decision, question, question_about
from sidecar.engine import binary
from sidecar.errors import InvalidMessage
from sidecar.policy.bundle import Bundle, build
from sidecar.policy.compile import compile_policy
from sidecar.policy.read import read
from sidecar.protocol import ToolCall
from tests.policy.evaluator import (
    PATTERNS,
    SECONDS,
    Json,
    Refusal,
    Taken,
    Verdict,
    decide,
    has_look_alikes,
    steps,
    written,
)
from tests.support import OPA

Call: TypeAlias = tuple[str, dict[str, Json]]

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
        "0.1", "0.10", "0.30000000000000004", "1e-7", "0.0000001", "1e350", "10e349", "-1e400", "1e-400",
        "9" * 399, "9" * 398 + "8",
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
UNLISTED = ["other", "*", "_global", "<b>&amp;", r"\u003c", 'q"t', "back\\", "Ünlisted"]
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


@st.composite
def rule_lists(draw: st.DrawFn) -> list[dict[str, Any]]:
    kinds = [evaluates] * 9 + [limits] * 2 + [st.just({"action": "deny"}), st.just({"action": "allow"})]
    rules: list[dict[str, Any]] = [
        dict(draw(kind))
        for kind in draw(st.lists(st.sampled_from(kinds), min_size=draw(st.integers(0, 3)), max_size=5))
    ]
    for rule, name in zip(rules, draw(st.permutations(NAMES)), strict=False):
        if draw(st.booleans()):
            rule["name"] = name
        if draw(st.booleans()):
            rule[draw(st.sampled_from(["reason", "on_deny"]))] = draw(st.sampled_from(TEXTS))
    return without_double_counters(rules)


def without_double_counters(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Drop what no policy may have: two limits of one tool on the same counter."""
    kept, seen = [], set()
    for rule in rules:
        match rule.get("rate_limit"):
            case str(text):
                counter: Any = text.partition("/")[2]
            case {"window": window, **rest}:
                counter = (SECONDS.get(window, window), rest.get("scope", "session"))
            case _:
                counter = object()
        if counter not in seen:
            kept.append(rule)
        seen.add(counter)
    return kept


@st.composite
def policies(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from([*TOOLS, "*", "*"]), min_size=2, max_size=4, unique=True))
    tools = {name: {"rules": draw(rule_lists())} for name in names}
    return {"default": draw(st.sampled_from(["allow", "allow", "deny"])), "tools": tools}


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


@st.composite
def calls_of(draw: st.DrawFn, policy: dict[str, Any]) -> Call:
    tool = draw(st.sampled_from([*policy["tools"]] * 8 + UNLISTED))
    arguments: dict[str, Json] = draw(st.dictionaries(keys, values, max_size=1))
    rules = [rule for name in (tool, "*") if name in policy["tools"] for rule in policy["tools"][name]["rules"]]
    for rule in rules:
        for each in rule.get("conditions", []):
            if draw(st.integers(0, 9)):
                path = steps(each["path"])
                close = near(each["value"], each["op"])
                put(arguments, path, draw(st.one_of(close, close, close, values)))
                if path[-1] in CASE_TWINS and not draw(st.integers(0, 7)):
                    put(arguments, [*path[:-1], CASE_TWINS[path[-1]]], draw(scalars))
    return tool, arguments


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
    value, _ = jsonrpc.read_value(_json(call[1]))
    assert isinstance(value, dict)
    return value


def bundle_of(policy: dict[str, Any]) -> Bundle:
    text = yaml(policy)
    made, problems = read(text, "policy.yaml")
    assert [str(problem) for problem in problems if not problem.warning] == [], text
    return build(compile_policy(made), serial=7)


def ask(bundle: Bundle, questions: list[bytes]) -> list[Decision]:
    """The engine's answers, all in one run."""
    inputs = [bytes(msgspec.json.decode(each, type=dict[str, msgspec.Raw])["input"]).decode() for each in questions]
    query = "[decision | some question in input; decision := data.intercept.decision with input as question]"
    found = binary.evaluate(OPA, query, f"[{','.join(inputs)}]", bundle.files)
    decisions = msgspec.json.decode(found, type=list[Decision])
    assert len(decisions) == len(questions)
    return decisions


def projected(bundle: Bundle, call: Call) -> bytes | None:
    """The question as the sidecar asks it; None where it refuses to."""
    try:
        return question_about(ToolCall(1, call[0], arguments_of(call), False, b""), "server", bundle)
    except InvalidMessage:
        return None


def verdict(decision: Decision) -> Verdict:
    """A decision in the evaluator's words."""
    first = decision.violations[0] if decision.violations else None
    spoken = (first.rule, first.reason, first.kind) if first else ("", "", "allow")
    assert (decision.rule, decision.reason, decision.kind) == spoken
    return Verdict(
        decision.action,
        tuple(Refusal(each.rule, each.reason, each.kind) for each in decision.violations),
        tuple(Taken(each.rule, each.reason, each.limit, each.seconds, each.scope) for each in decision.reserve),
    )


@EXACT
@given(examples())
def test_the_engine_decides_as_the_language_says(example: tuple[dict[str, Any], list[Call]]) -> None:
    policy, calls = example
    bundle = bundle_of(policy)
    questions = {at: asked for at, call in enumerate(calls) if (asked := projected(bundle, call)) is not None}
    refused = [at for at, (tool, arguments) in enumerate(calls) if has_look_alikes(policy, tool, arguments)]
    assert [at for at in range(len(calls)) if at not in questions] == refused
    for at, decision in zip(questions, ask(bundle, list(questions.values())), strict=True):
        assert verdict(decision) == decide(policy, *calls[at]), (yaml(policy), calls[at])


@EXACT
@given(examples())
def test_what_is_left_out_of_a_question_does_not_matter(example: tuple[dict[str, Any], list[Call]]) -> None:
    policy, calls = example
    bundle = bundle_of(policy)
    pairs = [
        (asked, question("server", call[0], arguments_of(call))) for call in calls if (asked := projected(bundle, call))
    ]
    short = ask(bundle, [asked for asked, _ in pairs])
    assert short == ask(bundle, [whole for _, whole in pairs])


NESTED: list[Json] = [*NUMBERS[::3], Decimal("1e350"), Decimal("10e349")]


@pytest.mark.parametrize("also", ["args.c", "args.a", "args.a.b.c", "args.a.c"])
def test_look_alike_keys_are_refused_wherever_a_rule_reads_one(also: str) -> None:
    rules = [{"conditions": [{"path": path, "op": "exists", "value": False}]} for path in ("args.a.b", also)]
    bundle = bundle_of({"default": "allow", "tools": {"t": {"rules": rules}}})
    assert projected(bundle, ("t", {"a": {"b": Decimal(1), "B": Decimal(2)}})) is None


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
    calls: list[Call] = [("t", {}), *(("t", {"x": value}) for value in AWKWARD)]
    answers = ask(bundle, [question("server", tool, arguments_of((tool, arguments))) for tool, arguments in calls])
    for call, decision in zip(calls, answers, strict=True):
        refused = {refusal.rule for refusal in decide(policy, *call).refusals}
        found = {violation.rule for violation in decision.violations}
        differing = [pairs[int(rule.removeprefix("t#")) - 1] for rule in refused ^ found]
        assert differing == [], call
