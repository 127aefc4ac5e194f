"""From a point in a graph to the audit line of that very decision: exemplar, decision id, log store."""

from __future__ import annotations

import pytest

from tests.observability.conftest import Watched
from tests.support.prometheus import LINES

pytestmark = pytest.mark.observability


@pytest.mark.parametrize("line", LINES)
def test_an_exemplar_of_a_denial_leads_to_its_audit_line(watched: Watched, line: str) -> None:
    selector = 'mcp_policy_decisions_total{decision="deny",tool="delete_page",namespace="shop"}'
    found = watched.servers[line].exemplars(selector, watched.start, watched.end + 1)
    assert found
    exemplar = found[-1]
    (audited,) = watched.store.find(f'event:decision decision_id:"{exemplar["labels"]["decision_id"]}"')
    assert audited["tool"] == exemplar["series"]["tool"] == "delete_page"
    assert audited["rule"] == exemplar["series"]["rule"] == "nobody deletes"
    assert audited["reason"] == "Pages are kept for seven years"
    assert audited["trace_id"] == exemplar["labels"]["trace_id"]


@pytest.mark.parametrize("line", LINES)
def test_an_exemplar_of_a_slow_decision_leads_to_its_audit_line(watched: Watched, line: str) -> None:
    selector = 'mcp_policy_decision_duration_seconds_bucket{phase="total",cache="miss",namespace="shop"}'
    found = watched.servers[line].exemplars(selector, watched.start, watched.end + 1)
    slowest = max(found, key=lambda exemplar: float(exemplar["value"]))
    (audited,) = watched.store.find(f'event:decision decision_id:"{slowest["labels"]["decision_id"]}"')
    assert audited["server"] == "shop"
