"""Decimals, products and sums in the engine are Python's exact ones, however the client wrote the numbers."""

from __future__ import annotations

import json
import re
from decimal import Context, Decimal
from fractions import Fraction
from random import Random
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

FEW: Final = settings(examples(6), phases=[Phase.generate])
"""Making a failing batch small takes minutes of engine runs."""

ROWS: Final = 300
"""What one run of the engine is asked about."""

Answer: TypeAlias = Amount | None
"""What a function of the engine gives, as the sidecar reads the numbers of an answer; None if it is undefined."""

# Batches are drawn by Python's generator from a seed: of hundreds of numbers Hypothesis would make most of them 0.
randoms = st.integers(0, 2**64 - 1).map(Random)


def number(random: Random, most: int = 36) -> Decimal:
    """A short one or a long one, often all nines or with zeros at its end, rarely far from 1."""
    length = random.choice([random.randint(1, 4), random.randint(1, most), most - random.randint(0, 2)])
    digits = random.choice([random.randrange(10**length), 10**length - 1, 10 ** (length - 1), random.randrange(10)])
    exponent = random.choice(
        [random.randint(-3, 3), random.randint(-length - 1, 0), -length // 2, random.randint(-35, 35)]
    )
    if random.random() < 0.1:
        exponent = random.randint(-300, 260)
    return Decimal(random.choice([1, 1, 1, -1]) * digits).scaleb(exponent, WIDE)


def token(random: Random, value: Decimal) -> str:
    """One of the ways to write a number in JSON: the dot somewhere, zeros at the end, and an exponent to match."""
    power = random.choice([0, random.randint(-5, 5), value.adjusted()])
    mantissa = f"{value.scaleb(-power, WIDE):f}"
    zeros = "0" * random.choice([0, 0, 0, 1, 2, 30])
    if zeros:
        mantissa += zeros if "." in mantissa else f".{zeros}"
    if not power and random.random() < 0.7:
        return mantissa
    sign = "-" if power < 0 else random.choice(["", "+"])
    return f"{mantissa}{random.choice('eE')}{sign}{random.choice(['', '0', '00'])}{abs(power)}"


def common(random: Random) -> str:
    """A number as most clients write it: few digits, no exponent, not negative."""
    digits = random.choice([random.randrange(10 ** random.randint(1, 18)), 10 ** random.randint(1, 18) - 1])
    return f"{Decimal(digits).scaleb(random.randint(-9, 0), WIDE):f}"


def anyhow(random: Random, most: int = 36) -> str:
    """A number as somebody writes it, or with a sign."""
    return random.choice([common(random), f"-{common(random)}", token(random, number(random, most))])


def positive(random: Random) -> str:
    """A number of any form that is not negative, short enough for a product."""
    return token(random, abs(number(random, 17)))


def digits(value: Decimal) -> int:
    """How many digits count, without zeros at the ends."""
    return len("".join(map(str, value.as_tuple().digits)).strip("0"))


def answers(query: str, document: str, policy: str = "") -> str:
    """The engine's answer on a document, beside a module with what a policy says."""
    files = library() | ({"written/written.rego": policy} if policy else {})
    return binary.evaluate(OPA, " ".join(query.split()), document, files)


def each(function: str, arguments: str) -> str:
    """A query for what a function gives for each row of the input, null where that is undefined."""
    return f"[answer | some row in input; answer := object.get({{0: n | n := {function}({arguments})}}, 0, null)]"


def read(answer: str) -> list[Answer]:
    """The numbers of an answer, as exactly as the sidecar reads them; None also in the place of `{"blocked"}`."""
    found = msgspec.json.decode(answer, type=list[Answer | tuple[Literal["blocked"]]])
    return [None if isinstance(item, tuple) else item for item in found]


def rows(found: list[str]) -> str:
    """JSON of tokens that stay as they are."""
    return f"[{','.join(found)}]"


def product(one: str, other: str) -> Decimal | None:
    """The exact product, if it has no more digits than may be; by two arithmetics that share nothing."""
    exact = WIDE.multiply(Decimal(one), Decimal(other))
    assert Fraction(exact) == Fraction(one) * Fraction(other)
    # Below is whatever has up to 308 digits before its dot.
    return exact if digits(exact) <= 34 and abs(exact) < Decimal("1e308") else None


def amount(exact: Decimal | None) -> Decimal | None:
    """The number if a counter can hold it."""
    if exact is None or digits(exact) > 34:
        return None
    return exact if exact == 0 or Decimal("1e-30") <= exact < Decimal("1e31") else None


def counted(one: str, other: str) -> Decimal | None:
    """The exact product, if neither factor is negative and a counter can hold it."""
    return amount(product(one, other)) if min(Decimal(one), Decimal(other)) >= 0 else None


def total(found: list[Decimal | None]) -> Decimal | None:
    """The exact sum, if every element and the sum itself can be counted; by two arithmetics that share nothing."""
    amounts = [amount(item) for item in found]
    known = [item for item in amounts if item is not None]
    exact = Decimal(0)
    for item in known:
        exact = WIDE.add(exact, item)
    assert Fraction(exact) == sum(map(Fraction, known))
    return amount(exact) if len(known) == len(found) else None


@pytest.mark.fuzz
@FEW
@given(randoms)
def test_a_product_is_exact_however_its_factors_are_written(random: Random) -> None:
    batch = [(anyhow(random), anyhow(random)) for _ in range(ROWS)]
    document = rows([rows(list(pair)) for pair in batch])
    exact = [product(*pair) for pair in batch]
    assert read(answers(each("data.intercept.exact.product", "row[0], row[1]"), document)) == exact
    listed = "data.intercept.exact.products([row[0] | some row in input], [row[1] | some row in input])"
    assert read(answers(listed, document)) == exact
    amounts = [counted(*pair) for pair in batch]
    assert read(answers(each("data.intercept.exact.counted_product", "row[0], row[1]"), document)) == amounts


COMPARISONS: Final = """
	[[number == bound, number in [bound], number < bound, number <= bound, number > bound, number >= bound] |
		some position, row in input;
		number := data.intercept.exact.product(data.intercept.exact.decimal(row[0]), row[1]);
		some bound in data.written.bounds[position]]
"""


@pytest.mark.fuzz
@FEW
@given(randoms)
def test_a_product_is_on_the_right_side_of_what_a_policy_says(random: Random) -> None:
    pairs = [(f"{number(random, 17):f}"[:400], anyhow(random, 17)) for _ in range(ROWS // 3)]
    bounds, expected = list[tuple[Decimal, ...]](), list[list[bool]]()
    for text, factor in pairs:
        exact = product(text, factor) if number_of(text) is not None else None
        bounds.append(() if exact is None else borders(exact))
        for bound in bounds[-1]:
            assert exact is not None
            same, less = Fraction(exact) == Fraction(bound), Fraction(exact) < Fraction(bound)
            expected.append([same, same, less, less or same, not less and not same, not less])
    assert len(expected) > ROWS  # most of the products are known
    policy = "package written\n\nbounds := [" + ", ".join(map(array, bounds)) + "]\n"
    document = rows([rows([json.dumps(text), factor]) for text, factor in pairs])
    assert msgspec.json.decode(answers(COMPARISONS, document, policy), type=list[list[bool]]) == expected


def borders(exact: Decimal) -> tuple[Decimal, ...]:
    """The number itself, and others that differ from it late, at its last digit, or early."""
    last = Decimal((0, (1,), int(exact.as_tuple().exponent)))
    late = Decimal((0, (1,), exact.adjusted() - 45))
    near = {WIDE.add(exact, step) for step in (0 * last, last, -last, late, -late)}
    return (*sorted(near), Decimal(0), Decimal(1000), WIDE.minus(exact))


PLAIN: Final = re.compile(r"(?!-?0[0-9])-?[0-9]+(?:[.](?=[0-9])[0-9]*)?")
"""A plain decimal, said in another way than the engine's pattern does."""


def number_of(text: str) -> Decimal | None:
    """What a text says, if it is a plain decimal within the bounds of a number that a message may hold."""
    if not PLAIN.fullmatch(text) or len(text) > 400:
        return None
    value = Decimal(text)
    return value if digits(value) <= 34 and abs(value) < Decimal("1e308") else None


def nearly(random: Random) -> str:
    """A plain decimal, or a text near to one: something put in, taken away, written twice, or many zeros at an end."""
    text = random.choice([common(random), f"{number(random):f}", token(random, number(random)), ""])
    where = random.randint(0, len(text))
    put = random.choice(
        ["0", "00", ".", "-", "+", "e", "E2", " ", "\n", "\t", ",", '","', "]", '"', "_", "\u0661", "\uff11"]
    )
    zeros = "0" * random.randint(300, 420)
    return random.choice(
        [text, text, text[:where] + put + text[where:], text[:where] + text[where + 1 :], put + text, text + put,
         text * 2, f"{text}{zeros}", f"0.{zeros}{text}"]
    )  # fmt: skip


@pytest.mark.fuzz
@FEW
@given(randoms)
def test_a_plain_decimal_is_its_number_and_any_other_text_is_none(random: Random) -> None:
    batch = [nearly(random) for _ in range(ROWS)]
    expected = [number_of(text) for text in batch]
    document = json.dumps(batch)
    assert read(answers(each("data.intercept.exact.decimal", "row"), document)) == expected
    assert read(answers("data.intercept.exact.decimals(input)", document)) == expected


@pytest.mark.fuzz
@FEW
@given(randoms)
def test_a_list_of_texts_is_read_as_each_of_them(random: Random) -> None:
    batch = [[random.choice([common, common, common, nearly])(random) for _ in range(3)] for _ in range(ROWS)]
    query = "[found | some row in input; some found in data.intercept.exact.decimals(row)]"
    assert read(answers(query, json.dumps(batch))) == [number_of(text) for texts in batch for text in texts]


@pytest.mark.fuzz
@FEW
@given(randoms)
def test_a_total_is_the_exact_sum_of_amounts(random: Random) -> None:
    batch = [elements(random) for _ in range(ROWS)]
    found = read(answers(each("data.intercept.exact.total", "row"), rows([rows(found) for found in batch])))
    assert found == [
        total([Decimal(element) if re.fullmatch("[-+0-9.eE]+", element) else None for element in found])
        for found in batch
    ]


def elements(random: Random) -> list[str]:
    """A list of amounts, in which one element may be none."""
    count = random.randint(0, 5)
    far = random.choice([Decimal("1e-30"), Decimal("1e31"), Decimal("9.9e-31"), Decimal("9.9e30")])
    found = random.choice(
        [
            [common(random) for _ in range(count)],
            [token(random, Decimal(common(random))) for _ in range(count)],
            [token(random, abs(number(random, 35))) for _ in range(min(count, 2))],
        ]
    )
    other = random.choice([anyhow(random), "null", '"5"', "[1]", "{}", "true", token(random, far)])
    return [*found, other] if random.random() < 0.3 else found


@pytest.mark.fuzz
@FEW
@given(randoms)
def test_a_total_of_products_is_the_exact_sum_of_what_is_counted(random: Random) -> None:
    batch = [pairs(random) for _ in range(ROWS)]
    query = each("data.intercept.exact.total_of_products", "[pair[0] | some pair in row], [pair[1] | some pair in row]")
    document = rows([rows([rows(list(pair)) for pair in found]) for found in batch])
    assert read(answers(query, document)) == [total([counted(*pair) for pair in found]) for found in batch]


def pairs(random: Random) -> list[tuple[str, str]]:
    """Factors of amounts, of which one may be negative."""
    kind = random.choice([common, common, positive])
    found = [(kind(random), kind(random)) for _ in range(random.randint(0, 3))]
    other = random.choice([(common(random), f"-{common(random)}"), (f"-{common(random)}", common(random))])
    return [*found, other] if random.random() < 0.1 else found
