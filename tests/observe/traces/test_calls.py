"""One span for each call, once it ended: what is kept of it, and of how many."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.decision.decision import Violation
from sidecar.events import Listed
from sidecar.mcp.tool_call import Outcome
from sidecar.mcp.trace_context import TraceContext
from sidecar.observe.traces import calls, otlp
from tests.observe.decided import READY, SECRET, decided, denied
from tests.observe.traces.spans import TRACE, settled, spans_of, traced


def test_a_refused_call_is_a_span_at_once_and_a_forwarded_one_when_it_ended() -> None:
    assert [span.decision_id for span in spans_of(denied(decision_id="i-1"), decided(decision_id="i-2"))] == ["i-1"]
    (span,) = spans_of(decided(decision_id="i-2"), settled("i-2", Outcome.UNKNOWN, "status", 503))
    assert (span.decision_id, span.took, span.outcome, span.cause, span.status) == (
        "i-2", 0.25, Outcome.UNKNOWN, "status", 503,
    )  # fmt: skip


def test_what_monitor_mode_lets_pass_is_a_span_when_it_ended() -> None:
    would = denied(mode="monitor")
    assert spans_of(would) == []
    assert [span.outcome for span in spans_of(would, settled())] == [Outcome.SUCCEEDED]


def test_the_end_of_a_call_that_was_not_noted_is_no_span() -> None:
    assert spans_of(settled("i-9"), denied(), settled("i-1")) == spans_of(denied())


def test_a_call_of_a_trace_that_nobody_records_has_no_span() -> None:
    unsampled = TraceContext(TRACE.trace_id, TRACE.parent_id, False)
    assert spans_of(traced(unsampled), settled(), traced(unsampled, allowed=False)) == []
    assert len(spans_of(traced(TRACE), settled())) == 1


def test_of_too_many_open_calls_the_oldest_is_passed_on_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "MAX_OPEN", 2)
    spans = spans_of(*(decided(decision_id=f"i-{number}") for number in range(4)), settled("i-0"), settled("i-3"))
    assert [(span.decision_id, span.outcome) for span in spans] == [
        ("i-0", None), ("i-1", None), ("i-3", Outcome.SUCCEEDED),
    ]  # fmt: skip


def test_at_the_end_open_calls_are_passed_on_without_one() -> None:
    assert [(span.took, span.outcome) for span in spans_of(decided(), end=True)] == [(None, None)]


def test_only_tools_that_policy_or_the_server_name_stand_in_names() -> None:
    listed = Listed("stub", ["listed"], True)
    told = [READY, listed, *(denied(tool=tool) for tool in ("t", "listed", "made up"))]
    assert [(span.tool, span.is_known) for span in spans_of(*told)] == [
        ("t", True), ("listed", True), ("made up", False),
    ]  # fmt: skip


def test_a_server_that_lists_more_and_more_tools_makes_no_more_names() -> None:
    lists = [Listed("stub", [f"tool {place}-{number}" for number in range(700)], False) for place in range(9)]
    known = [span.is_known for span in spans_of(*lists, denied(tool="tool 0-0"), denied(tool="tool 8-0"))]
    assert known == [True, False]


def test_nothing_of_the_arguments_is_kept_and_no_more_than_a_line_of_a_name() -> None:
    (span,) = spans_of(denied(tool="x" * 100_000))
    assert len(span.tool) < 200
    assert SECRET not in repr(span)


@pytest.mark.parametrize("mode", ["enforce", "monitor"])
def test_no_more_is_kept_of_what_hand_written_rules_say_than_a_span_has(mode: str) -> None:
    long = "x" * 1_000_000
    said = Violation(long, long, "custom", False)
    event = denied(rule=long, reason=long, violations=(said,), mode=mode)
    (span,) = spans_of(event, settled())
    assert len(repr(span.ruling)) < 3_000
    assert len(otlp.encoded(span, "stub")) < 5_000
    (allowed,) = spans_of(decided(violations=(said,)), settled())
    assert len(repr(allowed.ruling)) < 3_000


@given(st.lists(st.tuples(st.sampled_from(["allow", "deny", "settle"]), st.integers(0, 5)), max_size=40))
def test_each_decision_has_one_span_whatever_comes_in_which_order(steps: list[tuple[str, int]]) -> None:
    events: list[Any] = []
    ids: list[str] = []
    for step, number in steps:
        id_ = f"i-{number}"
        if step == "settle":
            events.append(settled(id_))
        elif id_ not in ids:
            ids.append(id_)
            events.append(decided(decision_id=id_) if step == "allow" else denied(decision_id=id_))
    assert sorted(span.decision_id for span in spans_of(*events, end=True)) == sorted(ids)
