"""Single conditions, in each kind of rule: the engine and the plain evaluator say the same of every awkward value.

And whatever a condition cannot judge works for safety, and no value passes both a condition and its denial.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.decision.decision import Decision
from sidecar.policy.bundle import Bundle
from tests.policy.drawing import (
    DECIMAL_TEXTS,
    FOLDERS,
    HOSTS,
    NAMES_OF_HOSTS,
    NUMBERS,
    OF_NUMBERS,
    OPERANDS,
    OPTIONAL,
    TEXTS,
    Call,
    near,
    path_texts,
    values,
    ways,
)
from tests.policy.evaluator import decide
from tests.policy.judging import EACH, PATTERNS, Json, Step, Way, judged, number_in
from tests.policy.test_agreement import AWKWARD, EXACT, ask, bundle_of, projected, whole
from tests.policy.texts import decimal_of
from tests.support.fuzzing import TIMES

pytestmark = pytest.mark.timeout(400)  # many runs of the engine: more than a minute on two busy cores


def ask_as_the_sidecar_does(bundle: Bundle, calls: list[Call]) -> list[Decision]:
    """The engine's answers on calls, of which it gets what the policy reads."""
    questions = [asked for call in calls if (asked := projected(bundle, call)) is not None]
    assert len(questions) == len(calls)
    return ask(bundle, questions)


ODD_FILES: list[Json] = [
    "/", "//", "/srv", "/srv/", "/srv/data", "/srv/data/", "/srv//data/./a", "/srv/data/../data/a", "/srv/data/..",
    "/srv/data/../x", "/srv/database", "/srv/DATA/a", "/srv/data/../../srv/data", "/../srv/data", "/srv/data/...",
    "/srv/data/a\u0000", "/srv/data/\n", "/srv/data/\x7f", "/srv/data/\x85", "/srv/data\\..\\x", "~", "~/x", "/~", "",
    ".", "..", "srv/data", "./srv/data", " /srv/data", "/srv/data ", "/srv/naïve dir/x", "/srv/nai\u0308ve dir/x", "/a",
    "/b", "/b/c", "/b/c/..", "/b/cc", "/b/c/../../a", "/etc/passwd", "file:///srv/data", "/srv/data/%2e%2e", "/srv/.",
]  # fmt: skip
ODD_URLS: list[Json] = [
    f"{scheme}://{host}{port}{tail}"
    for scheme, port, tail in (
        ("https", "", ""), ("http", "", "/x"), ("HTTPS", ":443", "?a"), ("https", ":80", "#a"), ("ftp", "", "/"),
        ("https", ":8443", "/@"), ("https", ":", "/"), ("https", ":65536", ""), ("https", "", "/a b"),
    )
    for host in NAMES_OF_HOSTS[18:]
]  # fmt: skip
ODD_URLS += [
    f"{start}example.com{end}"
    for start, end in (
        ("https:", ""), ("https:/", ""), ("https:///", ""), ("//", ""), ("", ""), ("https:\\\\", ""), (" https://", ""),
        ("https://", "\t"), ("https://", "\\@evil.test"), ("https://", "?@evil.test"), ("https://", "#@evil.test"),
        ("https://", "/\u0085"), ("https://", ":443:443"), ("https://", ":+443"), ("https://", ":４４３"),
        ("https://x@", ""), ("https://x:y@", ""), ("https://@", ""), ("https://evil.test/", ""), ("https://", ":-1"),
    )
]  # fmt: skip
PAIRS: list[dict[str, Any]] = [
    *({"op": op, "value": value} for op in ("eq", "contains", "not_contains") for value in AWKWARD[::2]),
    *({"op": op, "value": number} for op in ("lt", "lte", "gt", "gte") for number in NUMBERS[::2]),
    *({"op": "neq", "value": value} for value in AWKWARD[::4]),
    *({"op": op, "value": [value, "no"]} for op in ("in", "not_in") for value in AWKWARD[1::4]),
    *({"op": op, "value": pattern} for op in ("regex", "not_regex") for pattern in PATTERNS),
    *({"op": "exists", "value": value} for value in (True, False)),
    *({"op": "within", "value": folders} for folders in FOLDERS),
    *({"op": "host_in", "value": hosts} for hosts in HOSTS),
]
PAIRS += [
    {**pair, "decimal_text": True}
    for pair in PAIRS[1::3]
    if pair["op"] in OF_NUMBERS and not isinstance(pair["value"], str)
]
_IN_THE_WAY: list[Json] = [None, True, False, Decimal(0), "", '{"z":5}', [], [{"z": Decimal(5)}], {}]
_AT_THE_END: list[Json] = [None, True, Decimal(5), "5", "abc", [], {}, [Decimal(5)], {"z": "z"}]
WAYS: list[dict[str, Json]] = [{"x": {"y": value}} for value in _IN_THE_WAY]
WAYS += [{"x": {"y": {"z": value}}} for value in _AT_THE_END]
LISTS: list[dict[str, Json]] = [{"x": value} for value in _IN_THE_WAY]
LISTS += [{"x": [{"z": value}]} for value in (*_AT_THE_END, "/srv/data", "https://example.com", "5.0")]
LISTS += [{"x": [{"z": one}, {"z": other}]} for one in _AT_THE_END for other in _AT_THE_END]
LISTS += [{"x": [{"z": Decimal(5)}, other]} for other in _AT_THE_END]
OF_FILES = [pair for pair in PAIRS if pair["op"] == "within"]
OF_HOSTS = [pair for pair in PAIRS if pair["op"] == "host_in"]
OTHERS = [pair for pair in PAIRS if pair["op"] not in ("within", "host_in")]


@pytest.mark.parametrize(("path", "pairs", "calls"), [
    ("args.x", OTHERS, [{"x": value} for value in (*AWKWARD[::2], *DECIMAL_TEXTS)]),
    ("args.x", OF_FILES, [{"x": value} for value in (*ODD_FILES, *AWKWARD[::3])]),
    ("args.x", OF_HOSTS, [{"x": value} for value in (*ODD_URLS, *AWKWARD[::3])]),
    ("args.x.y.z", PAIRS[::2], WAYS),
    ("args.x[*].z", PAIRS[1::2], LISTS),
], ids=["values", "files", "hosts", "ways", "lists"])  # fmt: skip
@pytest.mark.parametrize("action", ["evaluate", "optional", "deny", "require_approval"])
def test_every_operator_agrees_on_every_pair_of_awkward_values(
    action: str, path: str, pairs: list[dict[str, Any]], calls: list[dict[str, Json]]
) -> None:
    said: dict[str, Any] = {"reason": "no"} if action == "optional" else {"action": action, "reason": "no"}
    said |= {"mode": "monitor"} if action == "require_approval" else {}
    more = {"optional": True} if action == "optional" else {}
    pairs = [pair for pair in pairs if not more or pair["op"] in OPTIONAL]
    rules = [{**said, "conditions": [{"path": path, **pair, **more}]} for pair in pairs]
    policy = {"default": "allow", "tools": {"t": {"rules": rules}}}
    bundle = bundle_of(policy)
    asked = [Call("t", {}), *(Call("t", arguments) for arguments in calls)]
    for at in range(0, len(asked), 40):  # all at once take the engine too long on a busy machine
        some = asked[at : at + 40]
        for call, decision in zip(some, ask_as_the_sidecar_does(bundle, some), strict=True):
            wanted = {refusal.rule for refusal in decide(policy, "t", call.arguments, {}).violations}
            found = {violation.rule for violation in decision.violations}
            differing = [(pairs[int(rule.removeprefix("t#")) - 1], rule in found) for rule in wanted ^ found]
            assert differing == [], call


there = values.filter(lambda value: value is not None)
no_numbers = there.filter(lambda value: not isinstance(value, Decimal))
no_texts = there.filter(lambda value: not isinstance(value, str))
no_objects = there.filter(lambda value: not isinstance(value, dict))
no_lists = there.filter(lambda value: not isinstance(value, list))
no_decimals = st.sampled_from(DECIMAL_TEXTS + TEXTS).filter(lambda text: decimal_of(text) is None)
UNJUDGED: dict[str, tuple[Json, st.SearchStrategy[Json]]] = {
    **dict.fromkeys(("lt", "lte", "gt", "gte"), (Decimal(5), no_numbers)),
    **dict.fromkeys(("regex", "not_regex"), ("^$", no_texts)),
    **dict.fromkeys(("contains", "not_contains"), (["never"], no_lists)),
    "within": ("/srv", no_texts | st.sampled_from(["", "srv", "./srv", "~/srv", "/srv/\n", "/srv/\\", "/srv\u0000"])),
    "host_in": (
        ["com"],
        no_texts | st.sampled_from(["", "com", "//com", "https://a@com", "https://com.", "ftp://com"]),
    ),
}
"""For each operator that is about some values only: what it compares with, and what it cannot judge."""


@st.composite
def unjudged(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Json]]:
    """A condition, and arguments that it cannot judge: a value of another type, something in the way, no product."""
    way = draw(ways())
    each: dict[str, Any]
    match draw(st.sampled_from(["type", "way", "text", "product", "factor"])):
        case "way" if len(way) > 1:
            op = draw(st.sampled_from(sorted(OPERANDS.keys() - {"exists"})))
            each = {"op": op, "value": draw(OPERANDS[op])}
            cut = draw(st.integers(1, len(way) - 1))
            arguments = at(way[:cut], draw(no_lists if way[cut] is EACH else no_objects))
        case "text":
            op = draw(st.sampled_from(OF_NUMBERS))
            each = {"op": op, "value": draw(OPERANDS[op]), "decimal_text": True}
            arguments = at(way, draw(no_decimals))
        case "product":
            op, decimal_text = draw(st.sampled_from(OF_NUMBERS)), draw(st.booleans())
            each = {"op": op, "value": draw(OPERANDS[op]), "times": "args.factor", "decimal_text": decimal_text}
            one = draw(no_decimals if decimal_text else no_numbers)
            factor: Json = draw(st.sampled_from([Decimal(0), Decimal(1), None]))
            arguments = at(way, one) | draw(st.sampled_from([{"factor": factor}, {}]))
        case "factor":
            op = draw(st.sampled_from(OF_NUMBERS))
            each = {"op": op, "value": draw(OPERANDS[op]), "times": "args.factor"}
            long = {"factor": Decimal("1.0000000000000000000000000000000001")}
            arguments = at(way, Decimal(11)) | draw(st.sampled_from([{}, {"factor": None}, long]))
        case _:
            op = draw(st.sampled_from(sorted(UNJUDGED)))
            each = {"op": op, "value": UNJUDGED[op][0]}
            arguments = at(way, draw(UNJUDGED[op][1]))
    return {"path": draw(path_texts(way)), **each}, arguments


def at(way: Sequence[Step], value: Json) -> dict[str, Json]:
    """Arguments with a value at the end of a way, alone in each list."""
    made: Json = value
    for step in reversed(way):
        made = [made] if step is None else {step: made}
    assert isinstance(made, dict)
    return made


@pytest.mark.fuzz
@settings(EXACT, max_examples=20 * TIMES)
@given(st.lists(unjudged(), min_size=30, max_size=40))
def test_what_cannot_be_judged_works_for_safety(cases: list[tuple[dict[str, Any], dict[str, Json]]]) -> None:
    said: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        ({}, {}, "deny"), ({}, {"optional": True}, "deny"), ({"action": "deny"}, {}, "deny"),
        ({"action": "require_approval", "reason": "ask"}, {}, "require_approval"),
    ]  # fmt: skip
    tools: dict[str, Any] = {}
    calls, wanted = [], []
    for condition, arguments in cases:
        for rule, more, outcome in said:
            tool = f"tool {len(tools)}"
            tools[tool] = {"rules": [{**rule, "conditions": [{**condition, **more}]}]}
            calls.append(Call(tool, arguments))
            wanted.append(outcome)
    answers = ask_as_the_sidecar_does(bundle_of({"default": "deny", "tools": tools}), calls)
    differing = [
        (tools[call.tool], call.arguments, answer.action)
        for call, answer, outcome in zip(calls, answers, wanted, strict=True)
        if answer.action != outcome
    ]
    assert differing == []


@st.composite
def judgements(draw: st.DrawFn) -> tuple[dict[str, Any], Json]:
    """A condition on one value, and the value."""
    op = draw(st.sampled_from(sorted(OPERANDS)))
    condition: dict[str, Any] = {"path": "args.x", "op": op, "value": draw(OPERANDS[op])}
    if op in OF_NUMBERS and draw(st.booleans()):
        condition["decimal_text"] = True
    close = near(condition)
    return condition, draw(st.one_of(close, close, values))


@pytest.mark.fuzz
@settings(EXACT, max_examples=30 * TIMES)
@given(st.lists(judgements(), min_size=40, max_size=60))
def test_no_value_passes_a_condition_and_its_denial(cases: list[tuple[dict[str, Any], Json]]) -> None:
    tools: dict[str, Any] = {}
    for place, (condition, _) in enumerate(cases):
        tools[f"evaluate {place}"] = {"rules": [{"action": "evaluate", "conditions": [condition]}]}
        tools[f"deny {place}"] = {"rules": [{"action": "deny", "conditions": [condition]}]}
    calls = [
        Call(f"{rule} {place}", {"x": value}) for place, (_, value) in enumerate(cases) for rule in ("evaluate", "deny")
    ]
    passed = [
        answer.action == "allow"
        for answer in ask(bundle_of({"default": "deny", "tools": tools}), list(map(whole, calls)))
    ]
    for (condition, value), met, refuted in zip(cases, passed[::2], passed[1::2], strict=True):
        assert not (met and refuted), (condition, value)
        found = number_in(value, condition.get("decimal_text", False))
        sure = None if isinstance(found, Way) else judged(condition, found, strict=True)
        if sure is not None and not isinstance(found, Way) and sure is judged(condition, found, strict=False):
            assert (met, refuted) == (sure, not sure), (condition, value)
        else:
            assert not met, (condition, value)
            assert not refuted, (condition, value)
