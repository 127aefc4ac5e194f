"""What an order may be worth under policies/okx-trading.yaml, for any text in the place of size and price."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from decimal import Context, Decimal, InvalidOperation
from pathlib import Path
from typing import Final

from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from tests.support import ROOT
from tests.support.desk import desk
from tests.support.fuzzing import examples

POLICY: Final = (ROOT / "policies" / "okx-trading.yaml").read_text(encoding="utf-8")
ORDER: Final = {"instId": "SOL-USDT", "tdMode": "cash", "side": "buy", "ordType": "limit"}
WIDE: Final = Context(prec=200)

digits = st.text("0123456789", min_size=1, max_size=12)
plain = st.builds(lambda whole, part: f"{int(whole)}{part}", digits, st.just("") | digits.map(".{}".format))
near = st.sampled_from(
    ["2", "500", "1", "1000", "10", "100", "99.99", "0.5", "2000", "3.3333333333333333", "300"]
).flatmap(
    lambda text: st.sampled_from([text, f"{text}.0", f"{text}.00000000000001", f"{text}000", f"0.{text}", text[:-1]])
)
odd = st.builds(
    lambda text, at, more: f"{text[:at]}{more}{text[at:]}", near | plain, st.integers(0, 6),
    st.sampled_from(["e", "e1", "E-3", "-", "+", " ", "\n", ".", ",", "_", "0", "00", "\u0661", "\uff12", "x", "%"]),
)  # fmt: skip
amounts = near | near | plain | odd | st.text(max_size=4)
at_the_limit = st.builds(
    lambda sz, tiny: (sz, f"{Decimal(1000) / Decimal(sz) + Decimal(tiny):f}"),
    st.sampled_from(["2", "0.5", "1", "8", "0.00001", "1.25", "10.0"]),
    st.sampled_from(["0", "1e-8", "-1e-8", "0.01", "-0.01"]),
)  # fmt: skip


def as_the_exchange_reads_it(text: str) -> Decimal | None:
    """The number that a lenient reader finds in a text."""
    try:
        found = Decimal(text.strip().replace("_", "").replace(",", ""))
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def must_pass(sz: str, px: str) -> bool:
    """True for an order within the limits whose size and price are plain decimals, short enough to be counted."""
    if not all(re.fullmatch(r"(0|[1-9][0-9]*)(\.[0-9]+)?", text, re.ASCII) and len(text) < 16 for text in (sz, px)):
        return False
    return Decimal(sz) > 0 and Decimal(px) >= 100 and WIDE.multiply(Decimal(sz), Decimal(px)) <= 1000


@settings(examples(6), phases=[Phase.explicit, Phase.generate])  # each starts an engine
@given(st.lists(st.tuples(amounts, amounts) | at_the_limit, min_size=60, max_size=90))
@example(
    [
        ("2", "500"),
        ("2", "500.01"),
        ("2.0", "500.00"),
        ("10", "100"),
        ("10.000001", "100"),
        ("2", "500.00000001"),
        ("0.00000001", "99999999"),
    ]
)
def test_what_passes_is_worth_a_thousand_at_most_however_it_is_read(orders: list[tuple[str, str]]) -> None:
    async def outcomes(folder: Path) -> list[str]:
        async with desk(POLICY, folder) as found:
            calls = [json.dumps({**ORDER, "sz": sz, "px": px}) for sz, px in orders]
            return await found.outcomes(f"place_order {call}" for call in calls)

    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(outcomes(Path(folder)))
    for (sz, px), outcome in zip(orders, found, strict=True):
        # What the day's sum or the rate stops has passed every rule.
        passed = outcome in ("passes", "spent")
        assert passed or not must_pass(sz, px), (sz, px, outcome)
        if passed:
            size, price = as_the_exchange_reads_it(sz), as_the_exchange_reads_it(px)
            assert size is not None, sz
            assert price is not None, px
            assert size > 0, sz
            assert price >= 100, px
            assert WIDE.multiply(size, price) <= 1000, (sz, px)
