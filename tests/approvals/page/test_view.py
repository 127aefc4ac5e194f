"""Approvals as values for the templates: what is said of each state, and what of limits and of calls like it."""

from __future__ import annotations

import time
from typing import Any, get_args

import pytest
from msgspec.structs import replace

from sidecar.approvals.document import After
from sidecar.approvals.page import view, words
from sidecar.ledger.approvals import Answer, Grant, GrantTerms, Record, State
from tests.browser.calls import GRANT, asked, order

NOW = 1_800_000_000.0
OF_SESSION = asked(holder="session 5f1c9e20")


def record(state: State = "pending", *answers: Answer, **others: Any) -> Record:
    """An approval that was asked for a minute ago."""
    return Record(
        "apr_1", others.pop("wants", asked()), state, NOW - 60, NOW - 30, NOW + 540, answers=answers, **others
    )


def said(verdict: Any, by: str = "alice", **others: Any) -> Answer:
    """What somebody said."""
    return Answer(by, NOW - 30, "page", "127.0.0.1", verdict, **others)


@pytest.mark.parametrize("state", get_args(State))
def test_every_state_has_words(state: State) -> None:
    status = view.status(record(state), NOW)
    assert status.headline
    assert status.detail.endswith(".")
    assert (status.left is not None) == (state in ("pending", "approved"))


@pytest.mark.parametrize(
    ("stands", "text"),
    [
        (record("expired"), "Nobody answered in time. The call did not run."),
        (record("expired", said("approve")), "It was approved, and the agent did not repeat the call in time."),
        (record("consumed", said("approve")), "The server answered the call."),
        (record("consumed", said("approve"), said("committed")), "A person said that the call happened."),
        (record("consumed", said("approve"), said("failed")), "A person said that the call did not happen."),
        (record("consumed", grant="apr_0"), "as one of the calls of a standing approval."),
        (record(wants=asked(approvers=3)), "3 different people have to agree."),
        (record("pending", said("approve"), wants=asked(approvers=3)), "alice agreed. It needs 2 more people."),
        (record("pending", said("approve"), said("approve", "bob"), wants=asked(approvers=3)), "alice and bob agreed."),
    ],
)  # fmt: skip
def test_what_is_said_of_an_approval(stands: Record, text: str) -> None:
    assert text in view.status(stands, NOW).detail


@pytest.mark.parametrize("stands", [record(wants=OF_SESSION), record(wants=replace(OF_SESSION, approvers=2))])
def test_where_an_approval_ends_with_its_session_that_is_said_before_the_answer(stands: Record) -> None:
    assert "If you approve, it can run only in session 5f1c9e20." in view.status(stands, NOW).detail
    agreed = view.status(replace(stands, state="approved"), NOW).detail
    assert agreed.startswith("The call runs once, when the agent repeats it, only in session 5f1c9e20.")


@pytest.mark.parametrize("state", ["pending", "approved"])
def test_of_an_approval_that_outlives_its_session_nothing_of_it_is_said(state: State) -> None:
    assert "session" not in view.status(record(state, wants=asked(holder="principal alice")), NOW).detail


def test_the_time_left_is_that_of_the_state() -> None:
    pending = view.status(record(), NOW).left
    assert pending is not None
    assert (pending.seconds, pending.of, pending.text) == (540, 600, "9 min")
    approved = view.status(record("approved"), NOW).left
    assert approved is not None
    assert (approved.seconds, approved.of) == (540, 570)
    over = view.status(record(), NOW + 1e6).left
    assert over is not None
    assert (over.seconds, over.text) == (0, "0 s")


def test_limits_are_those_of_the_call_with_where_they_would_stand() -> None:
    wants = order(NOW)
    after = (After("daily spend", 8052, 10000), After("rate", 21, 20))
    one, two = view.detail(record(wants=wants), after, NOW).limits
    assert (one.rule, one.total, one.most, one.window, one.share, one.over) == (
        "daily spend",
        "8052",
        "10000",
        "a day",
        80,
        False,
    )
    assert (two.window, two.share, two.over) == ("an hour", 100, True)
    # Once the call took its share, where a limit would stand after it is nobody's question.
    assert view.detail(record("consumed", wants=wants), (), NOW).limits == ()


@pytest.mark.parametrize(
    ("terms", "possible"),
    [
        (GRANT, True),
        (replace(GRANT, calls=1), False),
        (replace(GRANT, at_most=(("args.sz", None),)), False),
        (replace(GRANT, at_most=(("args.nothing", "1"),)), False),
    ],
)
def test_calls_like_it_are_offered_where_there_can_be_any(terms: GrantTerms, possible: bool) -> None:
    offer = view.detail(record(wants=order(NOW, grant=terms)), (), NOW).offer
    assert offer is not None
    assert offer.possible == possible
    assert "any other argument" not in offer.free
    assert (offer.more, offer.span) == (terms.calls - 1, "1 h")


def test_a_version_changes_with_what_is_shown() -> None:
    first = record()
    others = [
        record("denied"), replace(first, asked_times=2), replace(first, answers=(said("approve"),)),
        replace(first, id="apr_2"), replace(first, changed=NOW),
    ]  # fmt: skip
    versions = {view.version([one]) for one in (first, *others)}
    assert len(versions) == 1 + len(others)
    assert view.version([first]) == view.version([record()])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (-5, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min 59 s"),
        (3600, "1 h"),
        (3605, "1 h"),
        (90_000, "1 d 1 h"),
    ],
)
def test_spans_have_two_units_at_most(seconds: float, text: str) -> None:
    assert words.span(seconds) == text


def test_an_hour_of_an_agent_is_told_in_words() -> None:
    steps = view.detail(record(wants=order(time.time())), (), NOW).recent
    assert [(one.tool, one.did, one.refused) for one in steps][2:] == [
        ("place_order", "refused: a limit was reached", True), ("place_order", "went through", False),
    ]  # fmt: skip
    assert words.kind("something_new") == "refused: something new"


def test_what_the_policy_hides_is_not_told_by_what_must_be_equal() -> None:
    terms = GrantTerms(60, 2, (("args.key", "masked 0f3a"),), ())
    wants = asked(arguments='{"key":"[masked]"}', masked=("args.key",), grant=terms)
    offer = view.detail(record(wants=wants), (), NOW).offer
    assert offer is not None
    (bound,) = offer.same
    assert bound.row is not None
    assert bound.row.masked
    standing = Grant("apr_1", "okx", "t", "", "session 1", "", terms, NOW, NOW + 60, 1, ())
    assert "0f3a" not in str(view.standing(standing, NOW).same)


def test_a_name_that_an_agent_gives_itself_is_not_who_asks() -> None:
    wants = asked(client="alice@example.com", asker="", issuer="")
    assert view.card(record(wants=wants), NOW).who == "an agent that calls itself alice@example.com"
    known = asked(client="alice@example.com", asker="bot@example.com")
    assert view.card(record(wants=known), NOW).who == "bot@example.com"
