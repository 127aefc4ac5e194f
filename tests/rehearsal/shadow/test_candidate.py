"""A candidate in shadow, without its process: what a live decision costs, and what is kept of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sidecar.auth.caller import Caller
from sidecar.events import CandidateNotAsked, Decided, Event, Ruling
from sidecar.mcp.tool_call import ToolCall
from sidecar.rehearsal.outcome import said_by_policy
from sidecar.rehearsal.shadow.candidate import MAX_BYTES, MAX_CALLS, PAUSE, Candidate


def decided(raw: bytes = b"{}") -> Decided:
    ruling = Ruling(True, "enforce", "allow", "", "", (), "r", 1, None, False)
    return Decided("d", "server", Caller("s"), ToolCall(1, "t", {}, False, raw, {}), ruling, 0.0, None, (), False)


def skipped(events: list[Decided]) -> list[Event]:
    """What a candidate whose process never comes tells of decisions."""
    told: list[Event] = []

    async def test() -> None:
        candidate = Candidate(Path("p.yaml"), Path("opa"), "server", {})
        candidate._emit = told.append
        for event in events:
            candidate.handlers[Decided](event)
        await asyncio.sleep(2 * PAUSE)

    asyncio.run(test())
    return told


def test_calls_that_wait_are_bounded_by_their_number() -> None:
    assert skipped([decided()] * MAX_CALLS) == []
    assert skipped([decided()] * (MAX_CALLS + 3)) == [CandidateNotAsked("server", "skipped", 3)]


def test_calls_that_wait_are_bounded_by_their_size() -> None:
    assert skipped([decided(b"x" * (MAX_BYTES // 2))] * 2) == []
    assert skipped([decided(b"x" * (MAX_BYTES // 2))] * 3) == [CandidateNotAsked("server", "skipped", 1)]
    assert skipped([decided(b"[]," * (MAX_BYTES // 500))] * 3) == [CandidateNotAsked("server", "skipped", 1)]


@pytest.mark.parametrize(
    ("kind", "allowed", "approved", "said"),
    [
        ("allow", True, False, "allow"), ("allow", True, True, "approval"), ("rule", False, False, "deny"),
        ("rate_limit", False, False, "deny"), ("hidden", False, False, "deny"), ("custom", False, False, "deny"),
        ("approval_required", False, True, "approval"), ("approval_denied", False, True, "approval"),
        ("approvals_full", False, False, "approval"), ("engine_unavailable", False, False, None),
        ("store_unavailable", True, False, None), ("invalid_request", False, False, None),
        ("approval_in_use", False, True, None), ("outcome_unknown", False, True, None),
        ("cancelled", False, True, None),
    ],
)  # fmt: skip
def test_what_policy_said_is_told_apart_from_what_else_became_of_a_call(
    kind: str, allowed: bool, approved: bool, said: str | None
) -> None:
    assert said_by_policy(kind, allowed=allowed, approved=approved) == said
