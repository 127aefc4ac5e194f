"""What passes, is asked about or refused under policies/okx-approval.yaml, whatever size and price say."""

from __future__ import annotations

import asyncio
import json
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Final

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from tests.policy.test_compile import bundle_of
from tests.policy.test_okx_worth import ORDER, WIDE, amounts, as_the_exchange_reads_it
from tests.support import ROOT
from tests.support.desk import desk
from tests.support.fuzzing import examples

POLICY: Final = (ROOT / "policies" / "okx-approval.yaml").read_text(encoding="utf-8")
AT_ONCE: Final = POLICY.replace("hold: 45s", "hold: 0")
"""The policy for those who do not wait for an answer that nobody gives."""


def order(**changes: str) -> str:
    return f"place_order {json.dumps({**ORDER, 'sz': '1', 'px': '100', **changes})}"


def outcomes(calls: list[str]) -> list[str]:
    async def test(folder: Path) -> list[str]:
        async with desk(AT_ONCE, folder) as found:
            return await found.outcomes(calls)

    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(test(Path(folder)))


CALLS: Final = [
    (order(), "passes"), (order(sz="0.5", px="200.00"), "passes"),
    (order(sz="1.00000001"), "asks"), (order(px="100.00000001"), "asks"), (order(sz="2", px="499"), "asks"),
    (order(sz="2", px="500.01"), "asks"), (order(sz="50"), "asks"), (order(sz="50", px="100.01"), "refused"),
    (order(instId="BTC-USDT", sz="5"), "refused"), (order(tdMode="cross", sz="5"), "refused"),
    (order(ordType="market", sz="5"), "refused"), (order(px="99.99", sz="5"), "refused"),
    (order(sz="1e3"), "refused"), (order(tgtCcy="quote_ccy", sz="5"), "refused"),
    ('cancel_order {"instId": "SOL-USDT", "ordId": "1"}', "asks"), ('cancel_order {"instId": "SOL-USDC"}', "asks"),
    ('cancel_order {"instId": "BTC-USDT", "ordId": "1"}', "refused"), ("cancel_order {}", "refused"),
    ('close_positions {"instId": "SOL-USDT", "mgnMode": "cross"}', "refused"), ("market_tickers {}", "passes"),
    ("withdraw {}", "refused"),
]  # fmt: skip


def test_small_orders_pass_larger_ones_and_every_cancel_are_asked_about() -> None:
    calls = [call for call, _ in CALLS]
    assert list(zip(calls, outcomes(calls), strict=True)) == CALLS


@settings(examples(4), phases=[Phase.explicit, Phase.generate])  # each starts an engine
@given(st.lists(st.tuples(amounts, amounts), min_size=60, max_size=90))
@example(
    [("1", "100"), ("1", "100.0000001"), ("1.0", "100.00"), ("0.00000001", "99999999"), ("50", "100"), ("50", "101")]
)
def test_no_order_that_is_worth_more_than_a_hundred_passes_unasked(orders: list[tuple[str, str]]) -> None:
    found = outcomes([f"place_order {json.dumps({**ORDER, 'sz': sz, 'px': px})}" for sz, px in orders])
    for (sz, px), outcome in zip(orders, found, strict=True):
        if outcome in ("passes", "asks"):
            size, price = as_the_exchange_reads_it(sz), as_the_exchange_reads_it(px)
            assert size is not None, sz
            assert price is not None, px
            worth = WIDE.multiply(size, price)
            assert (outcome == "asks") is (worth > 100), (sz, px, outcome)
            assert Decimal(0) < worth <= 5000, (sz, px, outcome)


@pytest.mark.parametrize(("tool", "asks"), [("place_order", True), ("cancel_order", True), ("close_positions", False)])
def test_the_sidecar_knows_of_which_tools_people_are_asked(tool: str, asks: bool) -> None:
    assert bundle_of(POLICY).terms.asks(tool) is asks


def test_people_may_agree_to_more_than_one_order_only_where_it_is_small() -> None:
    rules = {
        rule["name"]: rule
        for rule in json.loads(bundle_of(POLICY).files["intercept/facts/data.json"])["tools"]["place_order"]
    }
    grant = rules["small orders"]["approval"]["grant"]
    fixed = {path for (path,) in grant["same"]}
    assert fixed | {"clOrdId", "tag"} == set(ORDER) | {"sz", "px", "clOrdId", "tag"}
    assert "grant" not in rules["large orders"]["approval"]
