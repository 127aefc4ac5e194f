"""The policy that README shows is right, and decides calls as its comments say."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Final

from tests.support import ROOT
from tests.support.desk import desk

SECTION: Final = (
    (ROOT / "README.md").read_text(encoding="utf-8").split("\n## What a policy can say\n")[1].split("\n## ")[0]
)
CALLS: Final = [
    ("transfer {}", "refused"),  # no entry, and default: deny
    ("close_position {}", "refused"),
    ("account_balance {}", "passes"),
    *[('place_order {"symbol": "BTC-USDT", "amount": 100}', "passes")] * 10,
    ('place_order {"symbol": "BTC-USDT", "amount": 100}', "spent"),
    ('place_order {"symbol": "BTC-USDT", "amount": 100.1}', "refused"),
    ('place_order {"symbol": "BTC-USDT", "amount": 0}', "refused"),
    ('place_order {"symbol": "DOGE-USDT", "amount": 1}', "refused"),
    *[('create_charge {"amount": 500}', "passes")] * 10,
    ('create_charge {"amount": 1}', "spent"),
    ('cancel_order {"id": "1"}', "asks"),
]
"""Calls one after the other, and what must become of each."""


def test_the_policy_of_readme_decides_as_it_says(tmp_path: Path) -> None:
    (policy,) = re.findall(r"^```yaml\n(.*?)^```$", SECTION, re.M | re.S)

    async def test() -> list[str]:
        async with desk(policy, tmp_path) as found:
            return await found.outcomes([call for call, _ in CALLS])

    assert asyncio.run(test()) == [outcome for _, outcome in CALLS]
