"""Numbers that a server may read as binary doubles: the engine's idea of the nearest double is Python's."""

from __future__ import annotations

import json
import math
import sys
from decimal import Context, Decimal
from fractions import Fraction
from typing import TypeAlias

import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from sidecar.engine import binary
from sidecar.policy.bundle import library
from sidecar.policy.rego import array, literal, readings, spellings
from tests.policy.drawing import Call
from tests.policy.judging import Json
from tests.policy.test_agreement import ask, bundle_of, whole
from tests.support import OPA
from tests.support.fuzzing import examples

WIDE = Context(prec=1200)
"""Enough digits for every double and for the middle of any two."""

LONGEST = Context(prec=390)
"""A number token has 400 characters at most."""

Pair: TypeAlias = tuple[str, Decimal]
"""A number as a client may write it, and one of a policy."""

doubles = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**60), 2**60).map(float)


@st.composite
def pairs(draw: st.DrawFn) -> Pair:
    """Two numbers that are the same double, or nearly: about the middle between a double and the next."""
    double = draw(doubles)
    other = math.nextafter(double, draw(st.sampled_from([math.inf, -math.inf])))
    if math.isinf(other):
        other = math.nextafter(double, 0)
    exact, following = Decimal(double), Decimal(other)
    middle = WIDE.divide(WIDE.add(exact, following), Decimal(2))
    tiny = Decimal((0, (1,), middle.adjusted() - 60))
    near = [exact, following, middle, WIDE.add(middle, tiny), WIDE.subtract(middle, tiny), Decimal(repr(double))]
    numbers = st.sampled_from(near).map(LONGEST.plus)
    return token(draw, draw(numbers)), draw(numbers)


def token(draw: st.DrawFn, number: Decimal) -> str:
    """One of the ways to write a number, as far as a message may hold it."""
    ways = [f"{number:E}", f"{number:e}", f"{number:f}"]
    if number == number.to_integral():
        ways.append(f"{number.to_integral():f}.0")
    return draw(st.sampled_from([way for way in ways if len(way) <= 400]))


class Found(msgspec.Struct):
    """What the library says of each pair."""

    eq: list[bool]
    neq: list[bool]
    alike: list[bool]
    nested: list[bool]
    at_most: list[bool]
    above: list[bool]


QUERY = """
	{name: [answer | some pair in input; answer := pair[0] in {
		"eq": {value | value := pair[0]; data.intercept.operator.one_of(0, value, pair[1])},
		"neq": {value | value := pair[0]; data.intercept.operator.none_of(0, value, pair[2])},
		"alike": {value | value := pair[0]; data.intercept.operator.read_as_one_of(0, value, pair[2])},
		"nested": {value | value := pair[0]; data.intercept.operator.read_as_one_of(0, [{"a": value}], pair[3])},
		"at_most": {value | value := pair[0]; data.intercept.operator.at_most(0, value, pair[4])},
		"above": {value | value := pair[0]; data.intercept.operator.above(0, value, pair[4])},
	}[name]] | some name in ["eq", "neq", "alike", "nested", "at_most", "above"]}
"""


def found(batch: list[Pair]) -> Found:
    """The library's answers, with what the compiler writes for the numbers of the policy."""
    rows = [
        ",".join((token, array(spellings(number)), array(readings(number)), array([({"a": number},)]), literal(number)))
        for token, number in batch
    ]
    query = " ".join(QUERY.split())
    answer = binary.evaluate(OPA, query, f"[{','.join(f'[{row}]' for row in rows)}]", library())
    return msgspec.json.decode(answer, type=Found)


def expected(batch: list[Pair]) -> Found:
    """The same by Python's arithmetic."""
    same = [float(token) == float(number) for token, number in batch]
    exact = [(Fraction(token), Fraction(number)) for token, number in batch]
    return Found(
        eq=[one == other for one, other in exact], neq=[not each for each in same], alike=same, nested=same,
        at_most=[one <= other for one, other in exact], above=[one > other for one, other in exact],
    )  # fmt: skip


@pytest.mark.fuzz
@settings(examples(12), phases=[Phase.generate])  # making a failing batch small takes minutes of engine runs
@given(st.lists(pairs(), min_size=40, max_size=60))
def test_two_numbers_are_alike_when_they_are_equal_or_the_same_double(batch: list[Pair]) -> None:
    assert found(batch) == expected(batch)


EDGES = [
    "0", "-0", "0.0", "-0.0", "0e5", "-1e-400", "1e-400", "2.4703282292062327e-324", "2.4703282292062328e-324",
    "5e-324",
    "2.2250738585072014e-308", "2.2250738585072011e-308", "9007199254740991", "9007199254740992", "9007199254740993",
    "9007199254740994", "9007199254740995", "9007199254740996", "9007199254740993.0", "9.007199254740993e15",
    "1", "1.0", "1.00000000000000011102230246251565404236316680908203125",
    "1.00000000000000011102230246251565404236316680908203126", "1.0000000000000002220446049250313", "0.1", "1e-1",
    "0.1000000000000000055511151231257827021181583404541015625", "1e22", "1e23", "99999999999999991611392",
    str(int(sys.float_info.max)), "1.7976931348623157e308", "1.7976931348623158e308", "-1.7976931348623157e308",
    "18446744073709551615", "18446744073709551616", "-9223372036854775808", "-9223372036854775809",
]  # fmt: skip


def test_every_pair_of_edges_is_told_apart_as_doubles_are() -> None:
    batch = [(one, Decimal(other)) for one in EDGES for other in EDGES]
    assert found(batch) == expected(batch)


def test_a_rule_with_a_number_beyond_every_double_is_judged_exactly_and_breaks_nothing() -> None:
    rules = [{"conditions": [{"path": "args.n", "op": "not_in", "value": [Decimal("1e309"), Decimal("-1e390")]}]}]
    bundle = bundle_of({"default": "allow", "tools": {"t": {"rules": rules}}})
    calls = [Call("t", {"n": Decimal(token)}) for token in ("1e308", "-1e308", "0", "5")]
    assert [each.action for each in ask(bundle, list(map(whole, calls)))] == ["allow"] * len(calls)


FRACTIONS = [f"0.{number:05}" for number in range(1, 20_001)]


@pytest.mark.parametrize(("path", "op", "value", "given"), [
    ("args.x", "neq", [[Decimal(1)]], f"[[{','.join(FRACTIONS)}]]"),
    ("args.x[*]", "not_in", [[Decimal(1)], {"a": Decimal(1)}], f"[{','.join(f'[{each}]' for each in FRACTIONS)}]"),
    ("args.x", "not_contains", [Decimal(1)], f"[{','.join(f'[{each}]' for each in FRACTIONS)}]"),
])  # fmt: skip
def test_many_fractions_in_lists_take_no_time_that_grows_with_their_square(
    path: str, op: str, value: list[Json], given: str
) -> None:
    # It would be minutes: the engine's run ends after one.
    bundle = bundle_of({"tools": {"t": {"rules": [{"conditions": [{"path": path, "op": op, "value": value}]}]}}})
    numbers = json.loads(f'{{"x":{given}}}', parse_float=Decimal)
    [decision] = ask(bundle, [whole(Call("t", numbers))])
    assert decision.action == "allow"
