"""What the readiness probe says beyond the engine: a store that fails, and bundles that do not come into force."""

from __future__ import annotations

import pytest

from sidecar.events import (
    BundleFetched,
    Event,
    Passed,
    Settled,
    StoreFailed,
    UpstreamAnswered,
    UpstreamFailed,
)
from sidecar.mcp.tool_call import Outcome
from sidecar.observe.readiness import LASTS, Readiness
from tests.observe.decided import decided, tell

FAILED = StoreFailed("stub", "the store of counters cannot be used: database or disk is full")


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_store_that_fails_is_said_until_something_is_counted() -> None:
    readiness = Readiness(Clock())
    assert readiness.trouble() is None
    tell(readiness, FAILED)
    tell(readiness, decided())
    tell(readiness, Passed("stub", "ping"))
    assert readiness.trouble() == FAILED.text
    tell(readiness, decided(left=(("per day", 2.0),)))
    assert readiness.trouble() is None


def test_a_failure_counts_only_for_a_while_or_no_call_would_come_that_could_end_it() -> None:
    clock = Clock()
    readiness = Readiness(clock)
    tell(readiness, FAILED)
    clock.now += LASTS
    assert readiness.trouble() is None


def test_a_source_that_cannot_be_reached_is_told_until_it_can() -> None:
    readiness = Readiness(Clock())
    tell(readiness, BundleFetched("stub", news=False, trouble="no such host"))
    assert readiness.notes() == ["no bundle can be fetched: no such host"]
    tell(readiness, BundleFetched("stub", news=False))
    assert readiness.notes() == []


def settled(cause: str) -> Settled:
    return Settled("stub", "d", "t", Outcome.UNKNOWN if cause else Outcome.SUCCEEDED, 0, 0, 0.1, cause)


@pytest.mark.parametrize("answer", [UpstreamAnswered("stub"), settled("")])
def test_a_server_that_fails_is_told_since_when_until_it_answers(answer: Event) -> None:
    time = Clock()
    readiness = Readiness(Clock(), time)
    time.now = 12 * 3600 + 3 * 60 + 4
    tell(readiness, UpstreamFailed("stub", "refused", 0, "the MCP server cannot be reached (127.0.0.1:9)"))
    time.now += 60
    tell(readiness, UpstreamFailed("stub", "status", 503, "the MCP server answered\nstatus 503"))
    tell(readiness, settled("status"))
    assert readiness.notes() == ["since 1970-01-01T12:03:04Z the MCP server answered\\nstatus 503"]
    assert readiness.trouble() is None
    tell(readiness, answer)
    assert readiness.notes() == []


def test_a_server_that_refuses_one_request_is_not_told() -> None:
    readiness = Readiness(Clock())
    for cause, status in (("status", 404), ("unreadable", 0), ("unsent", 0), ("busy", 0)):
        tell(readiness, UpstreamFailed("stub", cause, status, "it answered oddly"))
    assert readiness.notes() == []
