"""The telemetry endpoint over real HTTP: three paths, nothing else, and nothing secret."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from sidecar.http.endpoint import serve_gets
from sidecar.observe.endpoint import telemetry
from sidecar.observe.metrics import Metrics
from tests.engine.asking import get, http
from tests.observe.decided import READY, SECRET, decided, tell


def fetch(
    request: str, not_ready: Callable[[], str | None] = lambda: None, notes: Callable[[], list[str]] = list
) -> tuple[int, dict[str, str], str]:
    """The answer to one request."""

    async def exchange() -> tuple[int, dict[str, str], str]:
        metrics = Metrics("stub", "1.22.4")
        tell(metrics, READY)
        tell(metrics, decided())
        server = await serve_gets("127.0.0.1", 0, telemetry(metrics.exposition, not_ready, notes))
        try:
            status, headers, body = await http(server.port, request)
        finally:
            await server.close()
        return status, headers, body.decode()

    return asyncio.run(exchange())


def test_metrics_are_served_as_text() -> None:
    status, headers, body = fetch(get("/metrics"))
    assert status == 200
    assert headers["content-type"].startswith("text/plain")
    assert "mcp_policy_decisions" in {family.name for family in read_text(body)}
    assert SECRET not in body


def test_metrics_are_served_as_openmetrics_to_who_asks_for_it() -> None:
    status, headers, body = fetch(get("/metrics", Accept="application/openmetrics-text; version=1.0.0; charset=utf-8"))
    assert status == 200
    assert headers["content-type"].startswith("application/openmetrics-text")
    assert "mcp_policy_decisions" in {family.name for family in read_openmetrics(body)}  # type: ignore[no-untyped-call] # the library's


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz", "/nothing"])
def test_head_is_answered_as_get_is_but_for_the_body(path: str) -> None:
    asked, looked_at = fetch(get(path)), fetch(get(path).replace("GET", "HEAD", 1))
    assert (looked_at[0], looked_at[1]["content-type"]) == (asked[0], asked[1]["content-type"])
    assert int(looked_at[1]["content-length"]) > 0
    assert looked_at[2] == ""


def test_a_query_changes_nothing() -> None:
    assert fetch(get("/metrics?name[]=x"))[0] == 200


def test_a_sidecar_is_ready_while_its_engine_is() -> None:
    assert fetch(get("/readyz"))[::2] == (200, "ready\n")


def test_what_there_is_to_know_beside_that_follows_in_lines_of_its_own() -> None:
    notes = ["a bundle is refused (unsigned): it is not signed"]
    assert fetch(get("/readyz"), notes=lambda: notes)[::2] == (200, f"ready\n{notes[0]}\n")


def test_a_sidecar_without_its_engine_is_not_ready_and_says_why_but_lives() -> None:
    def gone() -> str:
        return "the policy engine does not answer"

    assert fetch(get("/readyz"), gone)[::2] == (503, "the policy engine does not answer\n")
    assert fetch(get("/healthz"), gone)[::2] == (200, "ok\n")


@pytest.mark.parametrize(
    "path", ["/", "/metrics/", "/METRICS", "/debug", "/bundles/intercept.tar.gz", "/readyz/x", "/../metrics"]
)
def test_anything_else_is_not_found(path: str) -> None:
    assert fetch(get(path))[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_changed(method: str) -> None:
    assert fetch(get("/metrics").replace("GET", method, 1))[0] == 405


def test_a_scrape_for_which_no_thread_can_be_had_is_refused_and_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    status, _, body = fetch(get("/metrics"))
    assert (status, "no thread can be started" in body) == (503, True)
    assert fetch(get("/healthz"))[0] == 200
