"""Numbers that a server may read as binary doubles: the engine's idea of the nearest double is Python's."""

from __future__ import annotations

import math
import sys
from decimal import Context, Decimal
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.engine import binary
from sidecar.policy.bundle import library
from sidecar.policy.rego import literal
from tests.policy.test_agreement import Call, ask, bundle_of, whole
from tests.support import OPA
from tests.support.fuzzing import examples

WIDE = Context(prec=1200)
"""Enough digits for every double and for the middle of any two."""

LONGEST = Context(prec=390)
"""A number token has 400 characters at most."""

doubles = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**60), 2**60).map(float)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[str, str]:
    """Two numbers that are the same double, or nearly: about the middle between a double and the next.

    The first as a client may write it, the second as the compiler does.
    """
    double = draw(doubles)
    other = math.nextafter(double, draw(st.sampled_from([math.inf, -math.inf])))
    if math.isinf(other):
        other = math.nextafter(double, 0)
    exact, following = Decimal(double), Decimal(other)
    middle = WIDE.divide(WIDE.add(exact, following), Decimal(2))
    tiny = Decimal((0, (1,), middle.adjusted() - 60))
    near = [exact, following, middle, WIDE.add(middle, tiny), WIDE.subtract(middle, tiny), Decimal(repr(double))]
    numbers = st.sampled_from(near).map(LONGEST.plus)
    return token(draw, draw(numbers)), literal(draw(numbers))


def token(draw: st.DrawFn, number: Decimal) -> str:
    """One of the ways to write a number, as far as a message may hold it."""
    ways = [f"{number:E}", f"{number:e}", f"{number:f}"]
    if number == number.to_integral():
        ways.append(f"{number.to_integral():f}.0")
    return draw(st.sampled_from([way for way in ways if len(way) <= 400]))


@st.composite
def batches(draw: st.DrawFn) -> list[tuple[str, str]]:
    return draw(st.lists(pairs(), min_size=40, max_size=60))


def asked(query: str, batch: list[tuple[str, str]]) -> list[bool]:
    """The library's answer for each pair."""
    document = "[" + ",".join(f"[{one},{other}]" for one, other in batch) + "]"
    found = binary.evaluate(OPA, f"[answer | some pair in input; answer := {query}]", document, library())
    return msgspec.json.decode(found, type=list[bool])


ALIKE = "count([1 | data.intercept.operator.{}]) == 1"


@pytest.mark.fuzz
@examples(8)
@given(batches())
def test_two_numbers_are_alike_when_they_are_equal_or_the_same_double(batch: list[tuple[str, str]]) -> None:
    same = [float(one) == float(other) for one, other in batch]
    assert asked(ALIKE.format("read_as_one_of(pair[0], [pair[1]])"), batch) == same
    assert asked(ALIKE.format("read_as_one_of([{`a`: pair[0]}], [[{`a`: pair[1]}]])"), batch) == same
    assert asked(ALIKE.format("none_of(pair[0], [`x`, pair[1]])"), batch) == [not each for each in same]
    exact = [Fraction(one) == Fraction(other) for one, other in batch]
    assert asked(ALIKE.format("one_of(pair[0], [pair[1]])"), batch) == exact
    at_most = [Fraction(one) <= Fraction(other) for one, other in batch]
    assert asked(ALIKE.format("at_most(pair[0], pair[1])"), batch) == at_most
    above = [Fraction(one) > Fraction(other) for one, other in batch]
    assert asked(ALIKE.format("above(pair[0], pair[1])"), batch) == above


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
    batch = [(one, other) for one in EDGES for other in EDGES]
    found = asked(ALIKE.format("read_as_one_of(pair[0], [pair[1]])"), batch)
    wrong = [pair for pair, alike in zip(batch, found, strict=True) if alike is not (float(pair[0]) == float(pair[1]))]
    assert wrong == []


def test_a_rule_with_a_number_beyond_every_double_is_judged_exactly_and_breaks_nothing() -> None:
    rules = [{"conditions": [{"path": "args.n", "op": "not_in", "value": [Decimal("1e309"), Decimal("-1e390")]}]}]
    bundle = bundle_of({"default": "allow", "tools": {"t": {"rules": rules}}})
    calls = [Call("t", {"n": Decimal(token)}) for token in ("1e308", "-1e308", "0", "5")]
    assert [each.action for each in ask(bundle, list(map(whole, calls)))] == ["allow"] * len(calls)
