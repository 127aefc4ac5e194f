"""Whether each part works, as far as events tell."""

from __future__ import annotations

import pytest

from sidecar.events import (
    BundleFetched,
    EngineFailed,
    Event,
    Settled,
    StoreFailed,
    UpstreamAnswered,
    UpstreamFailed,
)
from sidecar.mcp.tool_call import Outcome
from sidecar.observe.metrics import Metrics
from sidecar.observe.metrics.components import STORE_FAILURE_LASTS
from tests.observe.decided import READY, counted, decided, denied, tell
from tests.observe.metrics.test_metrics import metrics_after, value

ANSWERED = Settled("stub", "d", "t", Outcome.SUCCEEDED, 0, 0, 0.01)
LOST = Settled("stub", "d", "t", Outcome.UNKNOWN, 0, 0, 0.01, cause="lost")


def up(metrics: Metrics, component: str) -> float | None:
    return value(metrics, "component_up", component=component)


def test_before_the_engine_has_a_policy_neither_is_up() -> None:
    metrics = Metrics("stub", "1.22.4")
    assert [up(metrics, part) for part in ("engine", "policy", "store", "upstream")] == [0, 0, 1, 1]
    tell(metrics, READY)
    assert [up(metrics, part) for part in ("engine", "policy", "store", "upstream")] == [1, 1, 1, 1]


@pytest.mark.parametrize("mended", [READY, decided()])
def test_the_engine_is_down_until_it_answers_again(mended: Event) -> None:
    metrics = metrics_after(EngineFailed("stub", "timeout", "late"))
    assert up(metrics, "engine") == 0
    tell(metrics, denied(kind="engine_unavailable", rule=""))
    tell(metrics, decided(engine_seconds=None, remembered=True))
    assert (up(metrics, "engine"), up(metrics, "policy")) == (0, 1)
    tell(metrics, mended)
    assert up(metrics, "engine") == 1


def test_without_a_policy_the_policy_is_down() -> None:
    assert up(metrics_after(EngineFailed("stub", "no_policy", "none")), "policy") == 0


def test_the_store_is_down_until_a_call_was_counted_or_for_a_while() -> None:
    assert up(metrics_after(StoreFailed("stub", "gone")), "store") == 0
    assert up(metrics_after(StoreFailed("stub", "gone"), decided()), "store") == 0
    assert up(metrics_after(StoreFailed("stub", "gone"), decided(**counted("per day", 1))), "store") == 1
    now = [100.0]
    metrics = Metrics("stub", "1.22.4", lambda: now[0])
    tell(metrics, StoreFailed("stub", "gone"))
    assert up(metrics, "store") == 0
    now[0] += STORE_FAILURE_LASTS
    assert up(metrics, "store") == 1


@pytest.mark.parametrize("mended", [UpstreamAnswered("stub"), ANSWERED])
def test_the_server_is_down_until_it_answers_again(mended: Event) -> None:
    metrics = metrics_after(UpstreamFailed("stub", "refused", 0, "nobody listens"), LOST)
    assert up(metrics, "upstream") == 0
    tell(metrics, mended)
    assert up(metrics, "upstream") == 1


def test_what_failed_upstream_is_counted_by_reason_and_takes_no_time_of_the_server() -> None:
    metrics = metrics_after(UpstreamFailed("stub", "dns", 0, "?"), UpstreamFailed("stub", "made up", 0, "?"), LOST)
    assert value(metrics, "upstream_errors_total", reason="dns") == 1
    assert value(metrics, "upstream_errors_total", reason="_other") == 1
    assert value(metrics, "upstream_errors_total", reason="tls") == 0
    assert value(metrics, "upstream_duration_seconds_count", tool="t") == 0
    assert value(metrics, "calls_settled_total", tool="t", outcome="unknown") == 1
    assert value(metrics, "calls_settled_total", tool="t", outcome="success") == 0


def test_the_source_of_bundles_is_shown_once_it_was_asked() -> None:
    assert up(metrics_after(), "bundle_source") is None
    assert up(metrics_after(BundleFetched("stub", news=False, trouble="away")), "bundle_source") == 0
    assert up(metrics_after(BundleFetched("stub", news=True)), "bundle_source") == 1
