"""The names of counters in stores: those of the first edition stay, and no two counters share one."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sidecar.decision.question import question
from sidecar.policy.check import check
from sidecar.policy.facts import facts
from sidecar.policy.merge import merge
from sidecar.policy.model import SCOPES, Amount, Policy, PolicyEntry, RateLimit, Rule, SpendLimit, State, Window
from sidecar.policy.problem import Place, Problem
from sidecar.policy.read import read
from sidecar.policy.terms import CounterRead, read_terms
from tests.policy.test_agreement import ask
from tests.policy.test_compile import bundle_of
from tests.support.fuzzing import examples

HERE = Place("p.yaml", 1, 1)


def look(*texts: str) -> tuple[Policy, list[Problem]]:
    """A policy with one tool `t` that has these rules, and what is wrong with it."""
    file, problems = read("tools:\n  t:\n    rules:\n" + "".join(f"      - {text}\n" for text in texts), "p.yaml")
    policy, more = merge([file])
    return policy, [problem for problem in (*problems, *more, *check(policy)) if not problem.warning]


def rules(*texts: str) -> list[str]:
    """The names in stores of the counters of a tool `t` with these rules."""
    policy, problems = look(*texts)
    assert problems == []
    return [fact["limit"]["counter"] for fact in facts(policy)["tools"]["t"]]


@pytest.mark.parametrize(("text", "name"), [
    ("rate_limit: 5/hour", "t._rate_hour"),
    ("rate_limit: {max: 5, window: hour}", "t._rate_3600_session"),
    ("rate_limit: {max: 5, window: 90s, scope: global, sliding: false}", "t._rate_90_global"),
    ("spend_limit: {path: args.o.a, max: 5, window: day}", "t._spend_86400_global_o/a"),
    ("spend_limit: {path: 'args.a b', max: 5, window: day, decimal_text: false}", "t._spend_86400_global_a b"),
    ("action: allow, state: {counter: n, window: day}", "t.n"),
    ("action: allow, state: {counter: 'a:,%[b', window: day, increment_from: args.x.y}", "t.a:,%[b"),
])  # fmt: skip
def test_a_counter_of_the_first_edition_keeps_its_name(text: str, name: str) -> None:
    assert rules(f"{{{text}}}") == [name]


@pytest.mark.parametrize(("text", "name"), [
    ("rate_limit: {max: 5, window: hour, sliding: true}", "t._rate_sliding:_rate_3600_session"),
    ("action: allow, state: {counter: 'a:%,b', window: day, sliding: true}", "t._rate_sliding:a:%25,b"),
    ("spend_limit: {path: args.o.a, max: 5, window: day, sliding: true}",
     "t._rate_spend,sliding:_spend_86400_global_o/a"),
    ("spend_limit: {path: 'args.o[*].a', max: 5, window: day}", "t._rate_spend:_spend_86400_global_/args%2Eo[*]%2Ea"),
    ("spend_limit: {path: args.sz, times: args.o.px, decimal_text: true, max: 5, window: day}",
     "t._rate_spend,times=args%2Eo%2Epx,decimal_text:_spend_86400_global_sz"),
    ("action: allow, state: {counter: n, window: day, increment_from: args.sz, times: args.px}",
     "t._rate_times=args%2Epx:n"),
    ("action: allow, state: {counter: n, window: day, increment_from: 'args.o[*].sz', decimal_text: true}",
     "t._rate_decimal_text:n"),
])  # fmt: skip
def test_what_slides_or_is_read_in_another_way_is_another_counter(text: str, name: str) -> None:
    assert rules(f"{{{text}}}") == [name]


def test_one_limit_of_a_tool_may_slide_beside_one_that_does_not() -> None:
    block = "rate_limit: {max: 5, window: hour%s}"
    assert len(set(rules(f"{{name: a, {block % ''}}}", f"{{name: b, {block % ', sliding: true'}}}"))) == 2


@pytest.mark.parametrize("texts", [
    ("{action: allow, state: {counter: n, window: day}}",
     "{action: allow, state: {counter: n, window: day, sliding: true}}"),
    ("{rate_limit: {max: 5, window: hour, sliding: true}}", "{rate_limit: {max: 6, window: 1h, sliding: true}}"),
    ("{spend_limit: {path: args.a, max: 5, window: hour}}",
     "{action: allow, state: {counter: _spend_3600_global_a, window: 1h}}"),
])  # fmt: skip
def test_two_rules_with_one_counter_are_an_error(texts: tuple[str, str]) -> None:
    _, problems = look(*texts)
    assert ["keep one" in problem.text for problem in problems] == [True]


# No two counters share a name.

PIECES = st.sampled_from(
    ["a", "b", ".", ":", ",", "/", "%", "%2E", '"', "[", "]", "[*]", "args", "spend", "sliding", "decimal_text",
     "times=", "_", "_rate_", "_spend_60_global_", "_global"]
)  # fmt: skip
TEXTS = st.lists(PIECES, min_size=1, max_size=5).map("".join)
STEPS = st.one_of(st.none(), TEXTS)
PATHS = st.lists(STEPS, max_size=3).map(tuple)
AMOUNTS = st.builds(Amount, st.tuples(TEXTS).flatmap(lambda first: PATHS.map(lambda rest: (*first, *rest))),
                    st.none() | st.tuples(TEXTS), st.booleans())  # fmt: skip
WINDOWS = st.builds(lambda sliding: Window(60, "60", sliding), st.booleans())
SCOPED = st.sampled_from(SCOPES)
COUNTING = st.one_of(
    st.builds(RateLimit, st.just(5), WINDOWS, SCOPED, st.just(False)),
    st.builds(SpendLimit, AMOUNTS, st.none(), st.just(Decimal(5)), WINDOWS, SCOPED),
    st.builds(State, TEXTS, WINDOWS, st.just(Decimal(1)), st.none() | AMOUNTS, SCOPED),
)
Counting = RateLimit | SpendLimit | State


def is_named_well(counting: Counting) -> bool:
    """Whether a file may say so."""
    if isinstance(counting, State):
        return "." not in counting.counter and not counting.counter.startswith("_rate_")
    return True


def name(tool: str, counting: Counting) -> str:
    """The name of a counter in a store."""
    rule = Rule(
        tool, 1, None, "allow", (),
        counting if isinstance(counting, RateLimit) else None, counting if isinstance(counting, SpendLimit) else None,
        counting if isinstance(counting, State) else None, None, "not_run", False, None, HERE,
    )  # fmt: skip
    return f"{PolicyEntry(tool, (rule,), HERE).counters}.{rule.stored}"


def identity(tool: str, counting: Counting) -> object:
    """What tells counters apart, the scope of a `state` counter aside: its holders do."""
    slides = counting.window is not None and counting.window.sliding
    match counting:
        case RateLimit():
            return tool, "rate", slides, counting.scope
        case SpendLimit():
            return tool, "spend", slides, counting.scope, counting.amount
        case State():
            amount = counting.increment_from or Amount(())
            return tool, "state", slides, counting.counter, amount.times, amount.decimal_text


def may_have_the_name_of_a_spending_limit(counting: Counting) -> bool:
    """Whether it is a counter that a file names as stores have named spending limits since the first edition."""
    return isinstance(counting, State) and counting.counter.startswith("_spend_") and not counting.window.sliding


@pytest.mark.fuzz
@given(one=st.tuples(TEXTS, COUNTING), other=st.tuples(TEXTS, COUNTING), data=st.data())
@examples(300)
def test_no_two_counters_share_a_name(
    one: tuple[str, Counting], other: tuple[str, Counting], data: st.DataObject
) -> None:
    assume(is_named_well(one[1]))
    full = name(*one)
    # Somebody who wants them to: a tool and a counter made of parts of the name.
    cut = data.draw(st.sampled_from([at for at, letter in enumerate(full) if letter == "."]))
    if data.draw(st.booleans()):
        slides = data.draw(WINDOWS)
        taken = full[cut + 1 :].partition(":")[2] if data.draw(st.booleans()) else full[cut + 1 :]
        other = full[:cut] or "t", State(taken or "n", slides, Decimal(1), None, "global")
    elif data.draw(st.booleans()):
        other = full[:cut] or "t", other[1]
    assume(is_named_well(other[1]))
    assume(identity(*one) != identity(*other))
    # Within one policy that is an error, as is tested above.
    assume(not any(may_have_the_name_of_a_spending_limit(counting) for _, counting in (one, other)))
    assert full != name(*other)


# On the way to the sidecar.

SLIDING = """
tools:
  t:
    rules:
      - {name: calls, rate_limit: {max: 3, window: minute, scope: principal, sliding: true}}
      - {name: n, action: allow, state: {counter: n, window: 90s, sliding: true}}
      - {name: fixed, rate_limit: {max: 3, window: minute, scope: principal}}
      - {name: reads, conditions: [{path: state.t.n, op: lt, value: 5}]}
"""


def test_the_facts_say_what_slides_and_the_sidecar_reads_it() -> None:
    file, _ = read(SLIDING, "p.yaml")
    policy, _ = merge([file])
    known = facts(policy)
    limits = [fact.get("limit", {}) for fact in known["tools"]["t"]]
    assert [limit.get("sliding") for limit in limits] == [True, True, None, None]
    assert read_terms(known).reads_of("t").counters == (
        CounterRead("state.t.n", "t._rate_sliding:n", 90, "global", sliding=True),
    )


def test_the_engine_says_of_what_it_reserves_whether_it_slides() -> None:
    totals = {"state.t.n": 0}
    (answer,) = ask(bundle_of(SLIDING), [question("s", "t", {}, totals)])
    assert [(item.rule, item.counter, item.sliding) for item in answer.reserve] == [
        ("calls", "t._rate_sliding:_rate_60_principal", True), ("n", "t._rate_sliding:n", True),
        ("fixed", "t._rate_60_principal", False),
    ]  # fmt: skip
