"""What takes hours: eight of them are put into Prometheus' store as blocks, and the shipped alerts asked there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

import pytest

from tests.observability.queries import RULES, rules
from tests.observability.test_exposition import promtool
from tests.support.prometheus import LINES, Prometheus, prometheus

pytestmark = pytest.mark.observability

STEP: Final = 30
"""Seconds between two samples."""
HOURS: Final = 8
BAD: Final = 2
"""So many hours ago decisions began to be slow."""
SERVERS: Final = {"fast": 0.0, "slow": 0.2, "bad": 0.07}
"""Of each server the share of decisions that took longer than 10 ms in these last hours."""


@pytest.fixture(scope="module")
def now() -> float:
    """The time at which all is looked at."""
    return float(int(time.time()) // STEP * STEP)


@pytest.fixture(scope="module", params=LINES)
def past(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, now: float) -> Iterator[Prometheus]:
    """A Prometheus whose store has the past."""
    folder = tmp_path_factory.mktemp(f"blocks-{request.param}")
    text = folder / "past.txt"
    text.write_text("".join(exposition(now)))
    promtool(request.param, "tsdb", "create-blocks-from", "openmetrics", str(text), str(folder / "data"))
    with prometheus(request.param, folder) as server:
        yield server


def exposition(now: float) -> Iterator[str]:
    """Eight hours of histograms in OpenMetrics, ten decisions a second for each server."""
    yield "# TYPE mcp_policy_decision_duration_seconds histogram\n"
    start = now - HOURS * 3600
    for server, share in SERVERS.items():
        labels = f'namespace="shop",server="{server}",phase="total",cache="miss"'
        quick = count = 0.0
        for step in range(HOURS * 3600 // STEP + 1):
            moment = start + step * STEP
            count += 10 * STEP
            quick += 10 * STEP * (1 - share if moment > now - BAD * 3600 else 1)
            for le, value in (("0.01", quick), ("+Inf", count)):
                yield f'mcp_policy_decision_duration_seconds_bucket{{{labels},le="{le}"}} {value} {moment}\n'
            yield f"mcp_policy_decision_duration_seconds_count{{{labels}}} {count} {moment}\n"
    yield "# EOF\n"


@pytest.mark.parametrize(
    ("alert", "servers"),
    [("McpDecisionsSlow", {"slow"}), ("McpDecisionsSlowly", {"slow"}), ("McpDecisionBudgetShrinks", {"slow", "bad"})],
)
def test_slow_decisions_of_hours_burn_the_budget(past: Prometheus, now: float, alert: str, servers: set[str]) -> None:
    found = past.query(spelled_out(rules("alert")[alert]["expr"]), now)
    assert {series["metric"]["server"] for series in found} == servers


def spelled_out(expr: str) -> str:
    """An alert's query with what rules record in the place of its name: nobody recorded anything in that past."""
    for name, rule in rules("record").items():
        expr = expr.replace(name, f"({rule['expr']})")
    return expr


def test_the_rules_record_what_their_names_say() -> None:
    assert RULES.is_file()
    for name, rule in rules("record").items():
        window = name.rpartition("rate")[2]
        assert name.startswith("mcp_policy:")
        assert ":ratio_rate" not in name or f"[{window}]" in rule["expr"]
