"""A call that takes more than a limit ever leaves is told apart from one that comes too early."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.desk import desk

POLICY = """
tools:
  pay: {rules: [{spend_limit: {path: args.n, max: 10, window: day}}]}
  pay_any_day: {rules: [{spend_limit: {path: args.n, max: 10, window: day, sliding: true}}]}
  send:
    rules:
      - state: {counter: c, window: day, increment_from: args.n}
        conditions: [{path: state.send.c, op: lt, value: 10}]
  send_any_day:
    rules:
      - state: {counter: c, window: day, increment_from: args.n, sliding: true}
        conditions: [{path: state.send_any_day.c, op: lt, value: 10}]
"""


def test_only_a_call_that_fits_another_time_is_told_when(tmp_path: Path) -> None:
    async def test() -> None:
        async with desk(POLICY, tmp_path) as found:
            for tool, too_much in (("pay", 11), ("pay_any_day", 11), ("send", 10), ("send_any_day", 10)):
                calls = [f'{tool} {{"n":{n}}}' for n in (too_much, 9, 9, too_much)]
                assert await found.outcomes(calls) == ["refused", "passes", "spent", "refused"], tool

    asyncio.run(test())
