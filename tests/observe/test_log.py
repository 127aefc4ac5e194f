"""Events as lines for the operator: denials and failures are said once, and never with a value."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from sidecar.auth.caller import Caller
from sidecar.events import (
    AnswerSeen,
    ApprovalTried,
    AuditFailed,
    BundleFetched,
    BundleJudged,
    Dropped,
    EngineFailed,
    Event,
    HttpRefused,
    NoticeSent,
    Passed,
    Refused,
    Reloaded,
    Settled,
    SpansSent,
    Started,
    StoreFailed,
    UpstreamAnswered,
    UpstreamFailed,
)
from sidecar.mcp.tool_call import Outcome
from sidecar.observe.comparison import Comparison
from sidecar.observe.log.calls import MOST_REFUSED
from sidecar.observe.log.observer import Log
from sidecar.system.sparing import MOST, PERIOD
from tests.observe.decided import READY, SECRET, answer, changed, decided, denied, record, tell

FAILED = EngineFailed("stub", "timeout", "the policy engine did not answer in 250 ms")
ENDED = EngineFailed("stub", "exit", "opa ended with status 137")


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[Log]:
    with caplog.at_level(logging.DEBUG, "sidecar"):
        yield Log(Comparison())


def said(log: Log, caplog: pytest.LogCaptureFixture, *events: Event) -> list[tuple[str, str]]:
    """Level and text of every line."""
    for event in events:
        tell(log, event)
    return [(record.levelname, record.getMessage()) for record in caplog.records]


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """The fields of a line."""
    found: dict[str, Any] = vars(record)["fields"]
    return found


def test_a_denial_is_said_with_tool_rule_kind_and_id(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    assert said(log, caplog, denied()) == [("INFO", "denied t by per day (rate_limit): No more [i-1]")]
    assert vars(caplog.records[0])["event"] == "call_denied"
    tell(log, READY)
    assert said(log, caplog, denied())
    assert {"file": "policy.yaml", "line": 3}.items() <= fields_of(caplog.records[1]).items()
    said_of = {"decision_id": "i-1", "tool": "t", "rule": "per day", "kind": "rate_limit", "client": "agent"}
    assert said_of.items() <= fields_of(caplog.records[0]).items()


def test_what_was_refused_dropped_or_broke_is_said(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    events = (
        Refused("i-2", "stub", Caller("s1"), -32700, "not JSON"),
        Dropped("stub", "server", "why"),
        StoreFailed("stub", "gone"),
    )
    assert said(log, caplog, *events) == [
        ("WARNING", "refused a message of the client: not JSON [i-2]"),
        ("WARNING", "dropped a message of the server: why"),
        ("ERROR", "gone"),
    ]


def test_a_flood_of_messages_to_drop_does_not_fill_the_log_and_its_size_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = [0.0]
    log, drop = Log(Comparison(), lambda: now[0]), Dropped("stub", "server", "why")
    with caplog.at_level(logging.DEBUG, "sidecar"):
        lines = said(log, caplog, *[drop] * 10_000)
        assert len(lines) == MOST + 1
        assert "mcp_policy_dropped_messages_total" in lines[-1][1]
        now[0] = PERIOD
        assert said(log, caplog, drop)[MOST + 1 :] == [
            ("WARNING", f"{10_000 - MOST} more messages were dropped"),
            ("WARNING", "dropped a message of the server: why"),
        ]


def test_of_what_hand_written_rules_make_of_a_call_a_part_is_said(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    ((_, text),) = said(log, caplog, denied(rule="r" * 60_000, reason="x\u202e" * 60_000, kind="custom"))
    assert len(text) < 10_000
    assert "\u202e" not in text
    assert text.endswith("[i-1]")


def test_a_flood_of_refused_calls_is_said_and_its_size(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    log = Log(Comparison(), lambda: now[0])
    with caplog.at_level(logging.DEBUG, "sidecar"):
        assert len(said(log, caplog, *[denied()] * 3000)) == MOST_REFUSED + 1
        now[0] = PERIOD
        assert said(log, caplog, denied())[-2] == ("INFO", f"{3000 - MOST_REFUSED} more calls were refused")


def test_a_server_that_fails_is_said_when_it_begins_changes_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    log = Log(Comparison(), lambda: now[0])
    refused = UpstreamFailed("stub", "refused", 0, "the MCP server cannot be reached: connection refused")
    status = UpstreamFailed("stub", "status", 502, "the MCP server answers with status 502")
    with caplog.at_level(logging.DEBUG, "sidecar"):
        assert len(said(log, caplog, refused, refused, refused, status, status)) == 2
        now[0] = PERIOD
        assert len(said(log, caplog, status, status)) == 3
        lines = said(log, caplog, UpstreamAnswered("stub"), UpstreamAnswered("stub"))
        assert lines[3:] == [("WARNING", "the MCP server answers again, after 60 s and 7 failures")]
        assert [fields_of(record).get("cause") for record in caplog.records] == ["refused", "status", "status", None]
        assert len(said(log, caplog, refused)) == 5


def test_a_call_that_the_server_did_not_answer_is_said_with_its_decision(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    lost = Settled("stub", "i-7", "t", Outcome.UNKNOWN, 0, 0, 0.1, "lost")
    well = Settled("stub", "i-8", "t", Outcome.SUCCEEDED, 0, 0, 0.1)
    assert said(log, caplog, well, lost) == [
        ("WARNING", "the call of t was not answered (lost): it may have run [i-7]")
    ]
    assert fields_of(caplog.records[0])["decision_id"] == "i-7"


def test_what_the_audit_log_does_not_take_is_said_once(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    full = [AuditFailed("stub", lost, "disk full") for lost in (1, 2)]
    lines = said(log, caplog, *full, AuditFailed("stub", 0, ""))
    assert [level for level, _ in lines] == ["ERROR", "WARNING"]
    assert lines[1][1] == "the audit log is written again; 3 lines are missing"


def test_trouble_that_costs_no_line_of_the_audit_log_is_said_as_such(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    text = "cannot put the full audit log a.jsonl aside: Operation not permitted"
    both = AuditFailed("stub", 0, text), AuditFailed("stub", 0, "")
    assert said(log, caplog, *both) == [("ERROR", f"{text}; it is written on as it is")]


def test_a_flood_of_refused_requests_is_said_and_its_size(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    refusal = HttpRefused("stub", "clients", 401, "credentials", "show a token", "192.0.2.7")
    lines = said(log, caplog, *[refusal] * 1000)
    assert len(lines) == MOST + 1
    assert fields_of(caplog.records[0]) == {
        "status": 401, "kind": "credentials", "listener": "clients", "cause": "show a token", "peer": "192.0.2.7",
    }  # fmt: skip


def test_what_goes_well_is_not_worth_a_line(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    assert said(log, caplog, READY, decided(), Passed("stub", "ping")) == []


def test_an_engine_that_fails_is_said_once_and_its_return_once(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    lines = said(log, caplog, FAILED, FAILED, FAILED, READY, READY, FAILED)
    assert [level for level, _ in lines] == ["ERROR", "WARNING", "ERROR"]
    assert lines[0][1].endswith("; calls are denied until it answers again")
    assert lines[1][1].startswith("the policy engine answers again")


def test_every_end_of_the_engine_is_said(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    assert len(said(log, caplog, ENDED, FAILED, ENDED)) == 2


@pytest.mark.parametrize("kind", ["version", "no_policy", "unverified", "foreign", "canary"])
def test_what_only_the_operator_can_mend_is_said_once_though_another_failure_was_said_before(
    log: Log, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    wrong = EngineFailed("stub", kind, "the engine is a wrong one")
    lines = said(log, caplog, FAILED, wrong, FAILED, wrong)
    assert [text for _, text in lines] == [
        f"{event.text}; calls are denied until it answers again" for event in (FAILED, wrong)
    ]


def test_no_argument_value_is_said(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    assert SECRET not in str(said(log, caplog, decided(), denied()))


@pytest.mark.parametrize("tool", ["line\\nbreak", "right\\u202eleft", "\\u001b[31mred", "x" * 5000])
def test_a_name_from_outside_cannot_fool_a_terminal(log: Log, caplog: pytest.LogCaptureFixture, tool: str) -> None:
    ((_, text),) = said(log, caplog, denied(tool))
    assert text.isprintable()
    assert len(text) < 300


def test_what_monitor_mode_would_refuse_is_said_as_that(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    assert said(log, caplog, denied(mode="monitor")) == [
        ("INFO", "would deny t by per day (rate_limit): No more [i-1]")
    ]


def test_a_changed_policy_is_said_whether_it_is_taken_or_not(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    events = (Reloaded("stub", True, ""), Reloaded("stub", True, "p:1: mind"), Reloaded("stub", False, "p:1: bad"))
    assert said(log, caplog, *events) == [
        ("WARNING", "the changed policy is in force"),
        ("WARNING", "the changed policy is in force; p:1: mind"),
        ("ERROR", "the changed policy is refused, the old one stays in force: p:1: bad"),
    ]


@pytest.mark.parametrize(
    ("reporting", "end"), [(0, "mode enforce"), (2, "mode enforce, and 2 of the rules only report")]
)
def test_the_start_says_how_many_rules_only_report(
    log: Log, caplog: pytest.LogCaptureFixture, reporting: int, end: str
) -> None:
    start = Started("stub", "1.0", "1.2", "http", "stdio", "jwt", "enforce", False, "r", 1, reporting=reporting)
    [(level, text)] = said(log, caplog, start)
    assert (level, text) == (
        "INFO",
        f"sidecar 1.0 serves stub: clients over http, the server over stdio, opa 1.2, {end}",
    )
    assert fields_of(caplog.records[0]).get("reporting") == (reporting or None)


# Approvals.


def test_a_call_that_a_person_is_asked_about_is_held_back_not_denied(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    assert said(log, caplog, denied(kind="approval_required")) == [
        ("INFO", "held back t by per day (approval_required): No more [i-1]")
    ]


def test_each_change_of_an_approval_is_said_with_who_did_it(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    events = (
        changed(), changed("approved", answer()), changed("in_use"), changed("consumed"), changed("expired"),
        AnswerSeen("okx", record("denied"), answer("deny", via="cli")),
    )  # fmt: skip
    assert said(log, caplog, *events) == [
        ("INFO", "approval apr_1 for cancel_order: asked for by agent 1.0"),
        ("INFO", "approval apr_1 for cancel_order: approved by alice (page)"),
        ("INFO", "approval apr_1 for cancel_order: in use"),
        ("INFO", "approval apr_1 for cancel_order: consumed"),
        ("INFO", "approval apr_1 for cancel_order: expired"),
        ("INFO", "approval apr_1 for cancel_order: denied by alice (cli)"),
    ]


def test_that_nobody_knows_whether_a_call_ran_is_a_warning_that_says_what_to_do(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    line = (
        "nobody knows whether cancel_order ran: the same call is refused until a person looks and says "
        "`sidecar approvals resolve apr_1 --committed` or `--failed`"
    )
    assert said(log, caplog, changed("unknown")) == [("WARNING", line)]


def test_no_argument_of_a_call_that_waits_is_said(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    assert SECRET not in str(said(log, caplog, changed(), changed("unknown"), changed("approved", answer())))


def tried(number: int = 1) -> ApprovalTried:
    return ApprovalTried("okx", "", "api", "192.0.2.9\u202e", "approve", f"apr_{number}", 401, "no such token")


def test_a_try_that_is_refused_is_said_fit_to_show(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    line = "refused a try at approvals: approve of apr_1 by nobody known (api, from 192.0.2.9\\u202e): no such token"
    assert said(log, caplog, tried()) == [("WARNING", line)]


def test_a_flood_of_tries_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    log = Log(Comparison(), lambda: now[0])
    lines = said(log, caplog, *(tried(number) for number in range(1_000)))
    assert len(lines) == MOST + 1
    assert lines[-1][1] == "more tries at approvals are refused; the audit log has all of them"
    now[0] = PERIOD
    assert said(log, caplog, tried())[MOST + 1][1] == f"{1_000 - MOST} more tries at approvals were refused"


def sent(why: str = "", *, attempts: int = 1, given_up: bool = False) -> NoticeSent:
    return NoticeSent("okx", "apr_1", "pending", attempts, why, given_up)


def test_a_webhook_that_fails_is_said_when_that_begins_and_when_it_ends(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    failing = sent("it answered with status 500")
    line = (
        "the webhook did not take approval.pending of apr_1: it answered with status 500; what is not taken is sent "
        "again, for a day at most"
    )
    assert said(log, caplog, sent(), failing, failing, failing, sent(), sent()) == [
        ("WARNING", line),
        ("WARNING", "the webhook takes messages again"),
    ]


def test_what_the_webhook_never_took_is_said(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    lines = said(log, caplog, sent("no", attempts=28, given_up=True))
    assert lines[-1] == ("ERROR", "approval.pending of apr_1 is not sent any more, after 28 attempts: no")


def test_a_flood_of_messages_given_up_does_not_fill_the_log(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    assert len(said(log, caplog, *(sent("no", given_up=True) for _ in range(1_000)))) == MOST + 2


def test_a_source_that_fails_is_said_once_and_when_it_is_back(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    away, back = BundleFetched("stub", news=False, trouble="no such host\x1b[2J"), BundleFetched("stub", news=True)
    lines = said(log, caplog, away, away, back, back)
    assert [level for level, _ in lines] == ["ERROR", "WARNING"]
    assert "no such host\\u001b[2J" in lines[0][1]
    assert lines[1][1] == "bundles can be fetched again"


def test_a_bundle_is_said_to_be_in_force_or_refused_and_why(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    lines = said(
        log, caplog, BundleJudged("stub", 8, "c0ffee"), BundleJudged("stub", 7, "", "older", "it has serial 7"),
        BundleJudged("stub", 0, "", "unsigned", "it is not signed"),
    )  # fmt: skip
    assert lines == [
        ("WARNING", "the bundle with serial 8 (commit c0ffee) is in force"),
        ("ERROR", "the bundle with serial 7 is refused (older), the old policy stays in force: it has serial 7"),
        ("ERROR", "a bundle is refused (unsigned), the old policy stays in force: it is not signed"),
    ]


def test_spans_that_are_not_taken_are_said_once_and_how_many_were_lost_when_they_are_taken_again(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    away = SpansSent("stub", 0, 0, "the connection is refused")
    lost, taken = SpansSent("stub", 0, 512, "the connection is refused"), SpansSent("stub", 3, 0, "")
    assert said(log, caplog, taken, away, away, lost, lost, taken, taken) == [
        (
            "WARNING",
            "spans are not taken by the collector (--otlp): the connection is refused; no call waits for that",
        ),
        ("WARNING", "the collector (--otlp) takes spans again; 1024 were lost"),
    ]


def test_a_collector_that_takes_spans_now_and_then_is_not_said_each_time(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    log = Log(Comparison(), lambda: now[0])
    some, all_ = SpansSent("stub", 1, 1, "it rejected 1 spans: late"), SpansSent("stub", 2, 0, "")
    with caplog.at_level(logging.DEBUG, "sidecar"):
        assert len(said(log, caplog, *[some, all_] * 9)) == 2
        now[0] = PERIOD
        assert said(log, caplog, *[some, all_] * 9)[3:] == [
            ("WARNING", "the collector (--otlp) takes spans again; 9 were lost")
        ]
