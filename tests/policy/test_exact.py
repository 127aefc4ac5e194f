"""Decimals, products and sums in the engine are Python's exact ones, however the client wrote the numbers."""

from __future__ import annotations

import json
import re
from decimal import Context, Decimal
from fractions import Fraction
from typing import Final, Literal, TypeAlias

import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from sidecar.engine import binary
from sidecar.ledger.values import Amount
from sidecar.policy.bundle import library
from sidecar.policy.rego import array
from tests.support import OPA
from tests.support.fuzzing import examples

WIDE: Final = Context(prec=2500)
"""More digits than a product of two tokens of 400 characters and exponents within ±400 has places."""

FEW: Final = settings(examples(12), phases=[Phase.generate])
"""Making a failing batch small takes minutes of engine runs."""

Answer: TypeAlias = Amount | None
"""What a function of the engine gives, as the sidecar reads the numbers of an answer; None if it is undefined."""

exponents = st.integers(-3, 3) | st.integers(-35, 35) | st.integers(-300, 260)


@st.composite
def numbers(draw: st.DrawFn, most: int = 36) -> Decimal:
    """Short and long ones, many of them with digits that are all nines or end in zeros."""
    length = draw(st.integers(1, 4) | st.integers(1, most))
    digits = draw(st.integers(0, 10**length - 1) | st.just(10**length - 1) | st.just(10 ** (length - 1)))
    return Decimal(draw(st.sampled_from([1, 1, -1])) * digits).scaleb(draw(exponents), WIDE)


@st.composite
def tokens(draw: st.DrawFn, values: st.SearchStrategy[Decimal]) -> str:
    """One of the ways to write a number in JSON: the dot somewhere, zeros at the end, and an exponent to match."""
    number = draw(values)
    power = draw(st.just(0) | st.integers(-5, 5) | st.just(number.adjusted()))
    mantissa = f"{number.scaleb(-power, WIDE):f}"
    zeros = "0" * draw(st.sampled_from([0, 0, 1, 2, 30]))
    if zeros:
        mantissa += zeros if "." in mantissa else f".{zeros}"
    exponent = ""
    if power or draw(st.booleans()):
        sign = "-" if power < 0 else draw(st.sampled_from(["", "+"]))
        exponent = draw(st.sampled_from("eE")) + sign + draw(st.sampled_from(["", "0", "00"])) + str(abs(power))
    return mantissa + exponent


def digits(number: Decimal) -> int:
    """How many digits count, without zeros at the ends."""
    return len(str(abs(int("".join(map(str, number.as_tuple().digits))))).strip("0"))


def answers(query: str, document: str, policy: str = "") -> str:
    """The engine's answer on a document, beside a module with what a policy says."""
    files = library() | ({"written/written.rego": policy} if policy else {})
    return binary.evaluate(OPA, " ".join(query.split()), document, files)


def undefined(function: str, arguments: str) -> str:
    """A query for what a function gives for each row of the input, null where that is undefined."""
    return f"[answer | some row in input; answer := object.get({{0: n | n := {function}({arguments})}}, 0, null)]"


def read(answer: str) -> list[Answer]:
    """The numbers of an answer, as exactly as the sidecar reads them; None also in the place of `{"blocked"}`."""
    found = msgspec.json.decode(answer, type=list[Answer | tuple[Literal["blocked"]]])
    return [None if isinstance(each, tuple) else each for each in found]


def rows(found: list[str]) -> str:
    """JSON of tokens that stay as they are."""
    return f"[{','.join(found)}]"


def product(one: str, other: str) -> Decimal | None:
    """The exact product, if it has no more digits than may be; by two arithmetics that share nothing."""
    exact = WIDE.multiply(Decimal(one), Decimal(other))
    assert Fraction(exact) == Fraction(one) * Fraction(other)
    return exact if digits(exact) <= 34 and abs(exact) < Decimal("1e308") else None


def amount(exact: Decimal | None) -> Decimal | None:
    """The number if a counter can hold it."""
    countable = exact is not None and (exact == 0 or Decimal("1e-30") <= exact < Decimal("1e31"))
    return exact if countable and exact is not None and digits(exact) <= 34 else None


@pytest.mark.fuzz
@FEW
@given(st.lists(st.tuples(tokens(numbers()), tokens(numbers())), min_size=60, max_size=100))
def test_a_product_is_exact_however_its_factors_are_written(batch: list[tuple[str, str]]) -> None:
    document = rows([rows(list(pair)) for pair in batch])
    exact = [product(*pair) for pair in batch]
    assert read(answers(undefined("data.intercept.exact.product", "row[0], row[1]"), document)) == exact
    counted = [
        None if min(map(Decimal, pair)) < 0 else amount(number) for pair, number in zip(batch, exact, strict=True)
    ]
    assert read(answers(undefined("data.intercept.exact.counted_product", "row[0], row[1]"), document)) == counted
    listed = "data.intercept.exact.products([row[0] | some row in input], [row[1] | some row in input])"
    assert read(answers(listed, document)) == exact


COMPARISONS: Final = """
	[[number == bound, number in [bound], number < bound, number <= bound, number > bound, number >= bound] |
		some position, row in input;
		number := data.intercept.exact.product(data.intercept.exact.decimal(row[0]), row[1]);
		some bound in data.written.bounds[position]]
"""


@pytest.mark.fuzz
@FEW
@given(st.lists(st.tuples(numbers(17), tokens(numbers(17))), min_size=30, max_size=50))
def test_a_product_is_on_the_right_side_of_what_a_policy_says(batch: list[tuple[Decimal, str]]) -> None:
    pairs = [(text, token) for number, token in batch if len(text := f"{number:f}") <= 400]
    bounds, expected = list[tuple[Decimal, ...]](), list[list[bool]]()
    for text, token in pairs:
        exact = product(text, token)
        near = () if exact is None else borders(exact)
        bounds.append(near)
        for bound in near:
            assert exact is not None
            same, less = Fraction(exact) == Fraction(bound), Fraction(exact) < Fraction(bound)
            expected.append([same, same, less, less or same, not less and not same, not less])
    policy = "package written\n\nbounds := [" + ", ".join(map(array, bounds)) + "]\n"
    document = rows([rows([json.dumps(text), token]) for text, token in pairs])
    assert msgspec.json.decode(answers(COMPARISONS, document, policy), type=list[list[bool]]) == expected


def borders(exact: Decimal) -> tuple[Decimal, ...]:
    """The number itself, and others that differ from it late, at its last digit, or early."""
    last = Decimal((0, (1,), int(exact.as_tuple().exponent)))
    late = Decimal((0, (1,), exact.adjusted() - 45))
    near = {WIDE.add(exact, step) for step in (0 * last, last, -last, late, -late)}
    return (*sorted(near), Decimal(0), Decimal(1000), WIDE.minus(exact))


PLAIN: Final = re.compile(r"(?!-?0[0-9])-?[0-9]+(?:[.](?=[0-9])[0-9]*)?")
"""A plain decimal, said in another way than the engine's pattern does."""

nearly = st.text("0123456789.-+eE_, \n\t\u0660\u0661\uff11", max_size=12) | st.from_regex(
    r"[-+ ]?(0|00|[1-9][0-9]{0,36})?(\.[0-9]{0,36})?([eE][-+]?[0-9]|[\n .-])?"
)
plain = numbers(40).map(lambda number: f"{number:f}") | st.tuples(
    st.sampled_from(["0.", "1.", "-2.5", "-0.", "7"]), st.integers(0, 420)
).map(lambda start: start[0] + "0" * start[1])


@pytest.mark.fuzz
@FEW
@given(st.lists(nearly | plain, min_size=100, max_size=200))
def test_a_plain_decimal_is_its_number_and_any_other_text_is_none(batch: list[str]) -> None:
    document = json.dumps(batch)
    expected = [number_of(text) for text in batch]
    assert read(answers(undefined("data.intercept.exact.decimal", "row"), document)) == expected
    assert read(answers("data.intercept.exact.decimals(input)", document)) == expected


short = st.integers(-(10**10), 10**10).flatmap(
    lambda digits: st.integers(-9, 0).map(lambda exponent: f"{Decimal(digits).scaleb(exponent):f}")
)
"""Numbers as most texts say them."""


@pytest.mark.fuzz
@FEW
@given(
    st.lists(
        st.lists(short, max_size=4)
        | st.lists(short | nearly | st.sampled_from(["5,6", '5","6', "5]", '"5"']), max_size=3),
        min_size=100,
        max_size=200,
    )
)
def test_a_list_of_texts_is_read_as_each_of_them(batch: list[list[str]]) -> None:
    query = "[found | some row in input; some found in array.concat(data.intercept.exact.decimals(row), [0])]"
    expected = [number for texts in batch for number in (*map(number_of, texts), 0)]
    assert read(answers(query, json.dumps(batch))) == expected


def number_of(text: str) -> Decimal | None:
    """What a text says, if it is a plain decimal within the bounds of a number that a message may hold."""
    if not PLAIN.fullmatch(text) or len(text) > 400:
        return None
    number = Decimal(text)
    return number if digits(number) <= 34 and abs(number) < Decimal("1e308") else None


small = st.integers(0, 10**17).map(Decimal).flatmap(lambda number: st.integers(-17, 0).map(number.scaleb))
"""Amounts as most lists hold them."""
tens = st.integers(0, 10**10).flatmap(
    lambda digits: st.integers(-9, 0).map(lambda exponent: f"{Decimal(digits).scaleb(exponent):f}")
)
"""The same, written as the engine may take a list as a whole."""


@pytest.mark.fuzz
@FEW
@given(
    st.lists(
        st.lists(tokens(small), max_size=6)
        | st.lists(small.map(lambda number: f"{number:f}"), max_size=6)
        | st.lists(tokens(numbers(34).map(abs)), max_size=4)
        | st.lists(tokens(numbers()) | st.sampled_from(["null", '"5"', "[1]", "{}", "true", "1e31"]), max_size=3),
        min_size=60,
        max_size=100,
    )
)
def test_a_total_is_the_exact_sum_of_amounts(batch: list[list[str]]) -> None:
    found = read(answers(undefined("data.intercept.exact.total", "row"), rows([rows(each) for each in batch])))
    assert found == [total(each) for each in batch]


def total(elements: list[str]) -> Decimal | None:
    """The exact sum, if every element and the sum itself can be counted; by two arithmetics that share nothing."""
    exact = Decimal(0)
    for element in elements:
        each = amount(Decimal(element)) if re.fullmatch("[-0-9.eE+]+", element) else None
        if each is None:
            return None
        exact = WIDE.add(exact, each)
    assert Fraction(exact) == sum(map(Fraction, elements))
    return amount(exact)


@pytest.mark.fuzz
@FEW
@given(
    st.lists(
        st.lists(st.tuples(tokens(small), tokens(small)), max_size=4)
        | st.lists(st.tuples(tens, tens), max_size=4)
        | st.lists(st.tuples(tokens(numbers(17).map(abs)), tokens(numbers(17).map(abs))), max_size=2)
        | st.lists(st.tuples(tokens(numbers(17)), tens), max_size=2),
        min_size=60,
        max_size=100,
    )
)
def test_a_total_of_products_is_the_exact_sum_of_what_is_counted(batch: list[list[tuple[str, str]]]) -> None:
    query = undefined(
        "data.intercept.exact.total_of_products", "[pair[0] | some pair in row], [pair[1] | some pair in row]"
    )
    document = rows([rows([rows(list(pair)) for pair in pairs]) for pairs in batch])
    assert read(answers(query, document)) == [total_of_products(pairs) for pairs in batch]


def total_of_products(pairs: list[tuple[str, str]]) -> Decimal | None:
    """The exact sum, if no factor is negative and each product and the sum can be counted."""
    exact = Decimal(0)
    for pair in pairs:
        each = amount(product(*pair)) if min(map(Decimal, pair)) >= 0 else None
        if each is None:
            return None
        exact = WIDE.add(exact, each)
    return amount(exact)
