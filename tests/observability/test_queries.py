"""Every query that the project ships is run on both lines of Prometheus, and finds data where it should."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.observability.conftest import Watched
from tests.observability.empty import QUERIES
from tests.observability.queries import RULES, Query, dashboards, documented, hurried, panels, rules
from tests.support.prometheus import LINES, Prometheus

pytestmark = pytest.mark.observability


def test_there_are_three_dashboards() -> None:
    assert dashboards() == ["denials", "health", "limits-and-approvals"]


@pytest.mark.parametrize("name", dashboards())
def test_every_panel_has_data(watched: Watched, name: str) -> None:
    queries = list(panels(name))
    assert queries
    none_of(without_data(watched, queries))


def test_every_query_of_the_docs_has_data(watched: Watched) -> None:
    queries = documented()
    assert queries
    # Those that are alerts in the making find nothing where all is well, so each selector has to.
    none_of(unnamed(watched, queries))
    for query in queries:
        for line in LINES:
            results(watched.servers[line], watched, query)


def test_every_recording_rule_has_data(watched: Watched) -> None:
    none_of(without_data(watched, [Query(name, name) for name in rules("record")]))


def test_every_rule_is_healthy_on_both(watched: Watched) -> None:
    for line in LINES:
        states = {rule["name"]: (rule["health"], rule.get("lastError", "")) for rule in watched.servers[line].rules()}
        assert states.keys() == rules("alert").keys() | rules("record").keys()
        assert {name: state for name, state in states.items() if state != ("ok", "")} == {}


def test_every_alert_asks_for_what_is_there(watched: Watched) -> None:
    queries = [Query(name, rule["expr"]) for name, rule in rules("alert").items()]
    none_of(unnamed(watched, queries))


def test_a_query_that_asks_for_nothing_is_noticed_whatever_it_says_instead(watched: Watched) -> None:
    queries = [
        Query("a made-up label", 'sum(increase(mcp_policy_decisions_total{tool="nobody"}[1m])) or vector(0)'),
        Query("a misspelt metric", "sum(mcp_policy_decisionz_total) or vector(0)"),
        Query("good", "sum(mcp_policy_decisions_total) or vector(0)"),
    ]
    assert [line.partition(":")[0] for line in unnamed(watched, queries)] == ["a misspelt metric", "a made-up label"]
    assert len(without_data(watched, [Query("empty", "mcp_policy_decisions_total < 0")])) == len(LINES)


def test_alerts_are_hurried_in_nothing_but_how_long_they_wait() -> None:
    shipped = RULES.read_text(encoding="utf-8").splitlines()
    here = hurried("\n".join(shipped)).splitlines()
    changed = {(old.strip(), new.strip()) for old, new in zip(shipped, here, strict=True) if old != new}
    assert ("for: 2m", "for: 4s") in changed
    assert all(old.startswith("for: ") and new.startswith("for: ") for old, new in changed)
    waits = [line for line in shipped if line.strip().startswith("for: ")]
    assert len([line for line in here if line in waits]) == 0


def none_of(wrong: list[str]) -> None:
    """Fail with everything that is wrong, a line each."""
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)


def without_data(watched: Watched, queries: list[Query]) -> list[str]:
    """Queries without a value at any time on either line, and selectors in them that name no series."""
    empty = [
        f"{query.where}: no data in Prometheus {line}: {query.expr}"
        for query in queries
        for line in LINES
        if not has_value(results(watched.servers[line], watched, query))
        and not any(query.where.startswith(place) for place in QUERIES)
    ]
    return empty + unnamed(watched, queries)


def unnamed(watched: Watched, queries: list[Query]) -> list[str]:
    """Selectors in queries that name no series. With `or vector(0)` a query has a value whatever it asks for."""
    server = watched.servers["3"]
    found: dict[str, str] = {}
    for query in queries:
        for selector in server.selectors(query.expr):
            found.setdefault(selector, query.where)
    span = watched.start, watched.end + 1
    return [
        f"{where}: nothing is named by {selector}"
        for selector, where in sorted(found.items())
        if not server.query_range(selector, *span)
    ]


def results(server: Prometheus, watched: Watched, query: Query) -> list[dict[str, Any]]:
    """What a query gives over the time of the script; one about the whole of it, at its end."""
    if query.whole:
        return server.query(query.expr, watched.end)
    return server.query_range(query.expr, watched.start, watched.end + 1)


def has_value(series: list[dict[str, Any]]) -> bool:
    """True if any value is a number."""
    values = [value for one in series for value in one.get("values", [one.get("value")])]
    return any(not math.isnan(float(value[1])) for value in values)
