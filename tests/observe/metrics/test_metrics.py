"""Events as metrics: every documented one, from the start, and bounded whatever anybody makes up."""

from __future__ import annotations

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from sidecar.auth.caller import Caller
from sidecar.decision.decision import Violation
from sidecar.events import (
    ENGINE_ERRORS,
    AnswerSeen,
    ApprovalsCounted,
    AuditFailed,
    BundleFetched,
    BundleJudged,
    CandidateBegan,
    CandidateCompared,
    CandidateNotAsked,
    Dropped,
    EngineFailed,
    EngineReady,
    Event,
    HttpRefused,
    Listed,
    MethodDenied,
    NoticeSent,
    Passed,
    RecordingFailed,
    Refused,
    Reloaded,
    Settled,
    SpansSent,
    StoreFailed,
    UpstreamAnswered,
    UpstreamFailed,
)
from sidecar.ledger.approvals import OPEN, Counts, State
from sidecar.mcp.tool_call import Outcome
from sidecar.observe.metrics import Metrics
from sidecar.observe.metrics.approvals import MAX_SERVERS
from sidecar.observe.metrics.names import MAX_TOOLS
from tests.engine.asking import bundle_of
from tests.observe.decided import BUNDLE, READY, SECRET, answer, changed, decided, denied, record, tell

DOCUMENTED = {
    "decisions_total": {"server", "tool", "decision", "kind", "rule", "mode", "cache"},
    "decision_duration_seconds_count": {"server", "phase", "cache"},
    "upstream_duration_seconds_count": {"server", "tool"},
    "engine_errors_total": {"server", "kind"},
    "limit_max": {"server", "tool", "rule", "scope", "window"},
    "limit_remaining": {"server", "tool", "rule", "scope", "window"},
    "limit_resets_timestamp_seconds": {"server", "tool", "rule", "scope", "window"},
    "rule_matches_total": {"server", "tool", "rule"},
    "condition_problems_total": {"server", "tool", "rule", "problem"},
    "upstream_errors_total": {"server", "reason"},
    "calls_settled_total": {"server", "tool", "outcome"},
    "http_refusals_total": {"server", "status", "reason"},
    "component_up": {"server", "component"},
    "audit_lines_total": {"server", "event"},
    "audit_lost_lines_total": {"server"},
    "otlp_spans_total": {"server", "result"},
    "reservations_total": {"server", "result"},
    "bundle_info": {"server", "revision", "commit", "serial"},
    "bundle_activated_timestamp_seconds": {"server"},
    "rule_info": {"server", "tool", "rule", "file", "line", "kind", "class", "severity"},
    "agent_decisions_total": {"server", "client", "decision"},
    "reloads_total": {"server", "result"},
    "sessions": {"server"},
    "requests_total": {"server", "method"},
    "denied_methods_total": {"server", "method", "mode"},
    "approvals": {"server", "state"},
    "approvals_oldest_pending_seconds": {"server"},
    "approvals_decided_total": {"server", "result"},
    "approval_wait_seconds_count": {"server"},
    "approval_uses_total": {"server", "result", "standing"},
    "webhook_deliveries_total": {"server", "result"},
    "would_deny_total": {"server", "tool", "rule", "kind", "by"},
    "bundle_fetches_total": {"server", "result"},
    "bundle_last_fetch_timestamp_seconds": {"server"},
    "bundle_refusals_total": {"server", "reason"},
    "candidate_total": {"server", "live", "candidate"},
    "candidate_not_compared_total": {"server", "reason"},
    "candidate_info": {"server", "revision"},
    "unrecorded_calls_total": {"server"},
    "build_info": {"version", "opa"},
}
NOW = 100.0
"""The time of all metrics here, in the window of what calls count here."""
SETTLED = Settled("stub", "d", "t", Outcome.ERROR, 1, 1, 0.01)
EVERYTHING: list[Event] = [
    decided(left=(("per day", 2.0),)), denied(limited=True), SETTLED, EngineFailed("stub", "exit", "it ended"),
    Passed("stub", "ping"), Refused("i-2", "stub", Caller("s1"), -32700, "not JSON"), Dropped("stub", "server", "why"),
    MethodDenied("i-3", "stub", Caller("s1"), "x", "enforce"), StoreFailed("stub", "gone"),
    Listed("stub", ["t", "u"], True), Reloaded("stub", False, f"bad {SECRET}"),
    changed("approved", answer()), changed("consumed"), NoticeSent("stub", "apr_1", "pending", 1, "", False),
    ApprovalsCounted("stub", Counts({"pending": 1}, 1000.0), 5.0),
    decided(violations=(Violation("new", f"args.card is {SECRET}", "rule", monitor=True),)),
    BundleFetched("stub", news=True), BundleJudged("stub", 7, "abc", "older", f"older than {SECRET}"),
    CandidateBegan("stub", "r1"), CandidateCompared("stub", "t", "deny", "allow", "small", "", "", "", "i-1", 2),
    UpstreamFailed("stub", "refused", 0, "nobody listens"),
    HttpRefused("stub", "clients", 401, "credentials", "no", ""), AuditFailed("stub", 2, "full"),
    SpansSent("stub", 5, 1, "away"),
    CandidateNotAsked("stub", "skipped", 1), RecordingFailed("stub", 3, f"full: {SECRET}"),
]  # fmt: skip


def metrics_after(*events: Event) -> Metrics:
    metrics = Metrics("stub", "1.22.4", lambda: NOW)
    for event in (READY, *events):
        tell(metrics, event)
    return metrics


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """The value of one series, None when there is none."""
    return metrics.registry.get_sample_value(f"mcp_policy_{name}", {"server": "stub", **labels})


def families(metrics: Metrics) -> list[Metric]:
    return list(read_text(metrics.exposition("")[0].decode()))


def series(metrics: Metrics) -> int:
    return sum(len(family.samples) for family in families(metrics))


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_documented_metric_is_there_with_its_labels(name: str) -> None:
    samples = [sample for family in families(metrics_after(*EVERYTHING)) for sample in family.samples]
    labels = [set(sample.labels) for sample in samples if sample.name == f"mcp_policy_{name}"]
    assert labels
    assert all(found == DOCUMENTED[name] for found in labels)


def test_no_metric_is_there_under_another_name() -> None:
    names = {family.name for family in families(metrics_after(*EVERYTHING))}
    assert all(name.startswith(("mcp_policy_", "process_")) for name in names)


@pytest.mark.parametrize("result", ["reserved", "refused", "returned"])
def test_reservations_are_counted_from_0(result: str) -> None:
    assert value(metrics_after(), "reservations_total", result=result) == 0


@pytest.mark.parametrize("kind", ENGINE_ERRORS)
def test_failures_of_the_engine_are_counted_from_0(kind: str) -> None:
    assert value(metrics_after(), "engine_errors_total", kind=kind) == 0


def test_failures_of_the_store_are_counted_from_0() -> None:
    assert value(metrics_after(), "store_errors_total") == 0


@pytest.mark.parametrize("sender", ["client", "server"])
def test_dropped_messages_are_counted_from_0(sender: str) -> None:
    assert value(metrics_after(), "dropped_messages_total", sender=sender) == 0


@pytest.mark.parametrize("remembered", [False, True])
@pytest.mark.parametrize(("rule", "kind"), [("per day", "rate_limit"), ("small", "rule")])
def test_the_first_denial_by_a_rule_is_an_increase(rule: str, kind: str, remembered: bool) -> None:
    labels = {
        "tool": "t", "decision": "deny", "kind": kind, "rule": rule, "mode": "enforce",
        "cache": "hit" if remembered else "miss",
    }  # fmt: skip
    metrics = metrics_after()
    assert value(metrics, "decisions_total", **labels) == 0
    tell(metrics, denied(rule=rule, kind=kind, remembered=remembered))
    assert value(metrics, "decisions_total", **labels) == 1


def test_a_decision_counts_for_its_tool_its_client_and_its_time() -> None:
    metrics = metrics_after(decided(left=(("per day", 2.0),)))
    assert value(metrics, "agent_decisions_total", client="agent", decision="allow") == 1
    assert value(metrics, "limit_remaining", tool="t", rule="per day", scope="global", window="86400") == 2
    assert value(metrics, "reservations_total", result="reserved") == 1
    assert value(metrics, "decision_duration_seconds_sum", phase="total", cache="miss") == 0.001
    assert value(metrics, "decision_duration_seconds_sum", phase="engine", cache="miss") == 0.0005
    assert value(metrics, "requests_total", method="tools/call") == 1


def test_a_remembered_decision_took_no_time_of_the_engine() -> None:
    metrics = metrics_after(decided(remembered=True, engine_seconds=None))
    assert value(metrics, "decision_duration_seconds_count", phase="total", cache="hit") == 1
    assert not value(metrics, "decision_duration_seconds_count", phase="engine", cache="hit")


def test_an_exhausted_limit_is_a_refused_reservation_and_another_denial_is_none() -> None:
    assert value(metrics_after(denied(limited=True)), "reservations_total", result="refused") == 1
    assert value(metrics_after(denied(rule="small", kind="rule")), "reservations_total", result="refused") == 0


def test_what_came_back_and_how_long_the_server_took_is_counted() -> None:
    metrics = metrics_after(SETTLED)
    assert value(metrics, "reservations_total", result="returned") == 1
    assert value(metrics, "upstream_duration_seconds_sum", tool="t") == 0.01


def test_the_policy_in_force_and_its_rules_are_named_with_their_lines() -> None:
    metrics = metrics_after(READY)
    assert value(metrics, "bundle_info", revision=BUNDLE.revision, commit="", serial="1") == 1
    rule = {"tool": "t", "rule": "per day", "file": "policy.yaml", "line": "3", "kind": "rate_limit"}
    assert value(metrics, "rule_info", **rule, **{"class": "", "severity": ""}) == 1


def test_each_rule_is_named_with_the_class_and_the_severity_of_its_tool() -> None:
    classed = bundle_of("""
        tools:
          t: {rules: [{action: allow}]}
          u: {severity: low, rules: [{action: allow}]}
          "?": {class: Write, rules: [{action: allow}]}
          "*": {rules: [{action: allow}]}
    """)
    metrics = metrics_after(EngineReady("stub", classed.revision, 2, classed.terms))
    samples = [sample.labels for family in families(metrics) for sample in family.samples]
    found = {labels["rule"]: (labels["class"], labels["severity"]) for labels in samples if "severity" in labels}
    assert found == {"t#1": ("Write", "medium"), "u#1": ("Write", "low"), "?#1": ("Write", "medium"), "*#1": ("", "")}


def test_an_engine_that_is_ready_again_does_not_activate_anew() -> None:
    metrics = metrics_after()
    first = value(metrics, "bundle_activated_timestamp_seconds")
    tell(metrics, READY)
    assert value(metrics, "bundle_activated_timestamp_seconds") == first is not None


@pytest.mark.parametrize("result", ["accepted", "refused"])
def test_changes_of_the_policy_are_counted_from_0(result: str) -> None:
    assert value(metrics_after(), "reloads_total", result=result) == 0
    changed = metrics_after(Reloaded("stub", result == "accepted", ""))
    assert value(changed, "reloads_total", result=result) == 1
    assert value(changed, "reloads_total", result="refused" if result == "accepted" else "accepted") == 0


def test_another_policy_replaces_the_rules_and_the_revision_of_the_one_before() -> None:
    newer = bundle_of("tools: {t: {rules: [{name: other, action: deny}]}}", serial=2)
    metrics = metrics_after(EngineReady("stub", newer.revision, 2, newer.terms))
    samples = [sample for family in families(metrics) for sample in family.samples]
    assert [sample.labels["rule"] for sample in samples if sample.name == "mcp_policy_rule_info"] == ["other"]
    assert [sample.labels["serial"] for sample in samples if sample.name == "mcp_policy_bundle_info"] == ["2"]


def test_rules_that_no_label_tells_apart_can_be_replaced() -> None:
    twins = bundle_of("tools: {'a*': {rules: [{name: x, action: deny}]}, 'b*': {rules: [{name: x, action: deny}]}}")
    metrics = metrics_after(EngineReady("stub", twins.revision, 2, twins.terms), READY)
    assert value(metrics, "bundle_info", revision=BUNDLE.revision, commit="", serial="1") == 1


def test_what_monitor_mode_would_refuse_counts_as_that() -> None:
    metrics = metrics_after(denied(mode="monitor"))
    labels = {"tool": "t", "decision": "deny", "kind": "rate_limit", "rule": "per day", "cache": "miss"}
    assert value(metrics, "decisions_total", mode="monitor", **labels) == 1
    assert value(metrics, "decisions_total", mode="enforce", **labels) == 0


# Approvals.


@pytest.mark.parametrize("state", sorted(OPEN))
def test_approvals_are_counted_from_0_in_each_state_that_is_not_final(state: str) -> None:
    assert value(metrics_after(), "approvals", state=state) == 0


def test_what_waits_and_for_how_long_is_a_gauge_that_falls_again() -> None:
    metrics = metrics_after(ApprovalsCounted("stub", Counts({"pending": 3, "unknown": 1}, 1000.0), 90.0))
    assert value(metrics, "approvals", state="pending") == 3
    assert value(metrics, "approvals", state="unknown") == 1
    assert value(metrics, "approvals_oldest_pending_seconds") == 90
    tell(metrics, ApprovalsCounted("stub", Counts({}, None), 0.0))
    assert value(metrics, "approvals", state="pending") == 0
    assert value(metrics, "approvals_oldest_pending_seconds") == 0


@pytest.mark.parametrize(("verdict", "state", "result"), [
    ("approve", "approved", "approved"), ("deny", "denied", "denied"), ("revoke", "denied", "revoked"),
    ("committed", "consumed", "committed"), ("failed", "consumed", "failed"),
])  # fmt: skip
def test_what_a_person_decides_is_counted_once_wherever_it_was_said(verdict: str, state: State, result: str) -> None:
    assert value(metrics_after(), "approvals_decided_total", result=result) == 0
    metrics = metrics_after(changed(state, answer(verdict)))
    assert value(metrics, "approvals_decided_total", result=result) == 1
    tell(metrics, AnswerSeen("stub", record(state), answer(verdict, via="cli")))
    assert value(metrics, "approvals_decided_total", result=result) == 2
    assert value(metrics, "approval_uses_total", result="consumed", standing="false") == 0


def test_what_nobody_answers_in_time_is_counted() -> None:
    assert value(metrics_after(), "approvals_decided_total", result="expired") == 0
    assert value(metrics_after(changed("expired")), "approvals_decided_total", result="expired") == 1


def test_the_first_of_two_who_must_agree_decides_nothing() -> None:
    metrics = metrics_after(changed("pending", answer(), approvers=2))
    assert value(metrics, "approvals_decided_total", result="approved") == 0
    assert value(metrics, "approval_wait_seconds_count") == 0


@pytest.mark.parametrize("verdict", ["approve", "deny"])
def test_how_long_a_call_waited_for_a_person_is_counted(verdict: str) -> None:
    metrics = metrics_after(changed("approved" if verdict == "approve" else "denied", answer(verdict)))
    assert value(metrics, "approval_wait_seconds_sum") == 90
    assert value(metrics, "approval_wait_seconds_bucket", le="60.0") == 0
    assert value(metrics, "approval_wait_seconds_bucket", le="120.0") == 1


@pytest.mark.parametrize("verdict", ["revoke", "committed", "failed"])
def test_what_is_said_of_a_call_that_waits_no_more_is_no_waiting_time(verdict: str) -> None:
    assert value(metrics_after(changed("consumed", answer(verdict))), "approval_wait_seconds_count") == 0


@pytest.mark.parametrize(("state", "result"), [
    ("consumed", "consumed"), ("unknown", "unknown"), ("approved", "released"),
])  # fmt: skip
@pytest.mark.parametrize(("grant", "standing"), [("", "false"), ("apr_0", "true")])
def test_how_uses_end_is_counted_those_of_standing_approvals_apart(
    state: State, result: str, grant: str, standing: str
) -> None:
    assert value(metrics_after(), "approval_uses_total", result=result, standing=standing) == 0
    metrics = metrics_after(changed(state, grant=grant))
    assert value(metrics, "approval_uses_total", result=result, standing=standing) == 1


def test_what_ends_of_another_server_of_the_store_counts_for_that_one() -> None:
    metrics = metrics_after(changed("expired", server="other"), changed("approved", answer(), server="other"))
    assert value(metrics, "approvals_decided_total", server="other", result="expired") == 1
    assert value(metrics, "approval_wait_seconds_count", server="other") == 1
    assert value(metrics, "approvals_decided_total", result="expired") == 0


def test_however_many_servers_share_the_store_series_are_bounded() -> None:
    metrics = metrics_after(*(changed("expired", server=f"server-{number}") for number in range(1_000)))
    assert value(metrics, "approvals_decided_total", server="_other", result="expired") == 1_000 - MAX_SERVERS


@pytest.mark.parametrize(("why", "given_up", "result"), [
    ("", False, "delivered"), ("status 500", False, "failed"), ("status 500", True, "given_up"),
])  # fmt: skip
def test_each_attempt_to_tell_the_webhook_is_counted(why: str, given_up: bool, result: str) -> None:
    assert value(metrics_after(), "webhook_deliveries_total", result=result) == 0
    metrics = metrics_after(NoticeSent("stub", "apr_1", "pending", 1, why, given_up))
    assert value(metrics, "webhook_deliveries_total", result=result) == 1


# Whatever anybody makes up.


def test_a_tool_that_nobody_vouches_for_is_other() -> None:
    metrics = metrics_after(decided("made up"), settled("made up"))
    assert "made up" not in metrics.exposition("")[0].decode()
    assert value(metrics, "upstream_duration_seconds_count", tool="_other") == 1


def settled(tool: str) -> Settled:
    return Settled("stub", "d", tool, Outcome.SUCCEEDED, 0, 0, 0.01)


def test_a_flood_of_made_up_tools_adds_no_series() -> None:
    metrics = metrics_after(
        decided("first"), denied("first", kind="default_deny", rule="(default deny)"), settled("first")
    )
    before = series(metrics)
    for number in range(2_000):
        tell(metrics, decided(f"tool-{number}"))
        tell(metrics, denied(f"tool-{number}", kind="default_deny", rule="(default deny)"))
        tell(metrics, settled(f"tool-{number}"))
    assert series(metrics) == before


def test_a_flood_of_made_up_methods_adds_one_series() -> None:
    def use(method: str) -> None:
        tell(metrics, Passed("stub", method))
        tell(metrics, MethodDenied("i", "stub", Caller("s1"), method, "enforce"))

    metrics = metrics_after()
    use("made/up")
    before = series(metrics)
    for number in range(2_000):
        use(f"made/up-{number}")
    assert series(metrics) == before
    assert value(metrics, "requests_total", method="_other") == 2_001
    assert value(metrics, "denied_methods_total", method="_other", mode="enforce") == 2_001


def test_a_flood_of_made_up_client_names_adds_a_bounded_number_of_series() -> None:
    metrics = metrics_after()
    before = series(metrics)
    for number in range(2_000):
        tell(metrics, decided(caller=Caller("s1", f"client-{number}")))
    assert series(metrics) - before < 1_000


def test_a_server_that_lists_without_end_gets_a_bounded_number_of_series() -> None:
    metrics = metrics_after(
        *(Listed("stub", [f"{page}-{number}" for number in range(100)], False) for page in range(50))
    )
    for page in range(50):
        for number in range(100):
            tell(metrics, decided(f"{page}-{number}"))
    tools = {
        sample.labels["tool"] for family in families(metrics) for sample in family.samples if "tool" in sample.labels
    }
    assert MAX_TOOLS / 2 < len(tools) <= MAX_TOOLS + 2


def test_a_tool_listed_later_gets_its_series_while_there_is_room() -> None:
    known = [f"known-{number}" for number in range(MAX_TOOLS - 10)]
    metrics = metrics_after(Listed("stub", known, True), Listed("stub", [*known, "new"], True), decided("new"))
    assert value(
        metrics, "decisions_total", tool="new", decision="allow", kind="allow", rule="", mode="enforce", cache="miss"
    ) == 1  # fmt: skip


def test_a_listed_tool_with_a_monstrous_name_is_capped_and_escaped() -> None:
    name = "evil\\u202e" + "x" * 5_000
    metrics = metrics_after(Listed("stub", ["evil\u202e" + "x" * 5_000], True), decided(name))
    text = metrics.exposition("")[0].decode()
    assert "evil" in text
    assert "\u202e" not in text
    assert max(map(len, text.splitlines())) < 500


def test_no_argument_value_stands_in_any_metric() -> None:
    for accept in ("", "application/openmetrics-text"):
        assert SECRET.encode() not in metrics_after(*EVERYTHING).exposition(accept)[0]


def test_the_text_format_and_openmetrics_both_parse() -> None:
    metrics = metrics_after(*EVERYTHING)
    text, content_type = metrics.exposition("text/plain")
    assert content_type.startswith("text/plain")
    assert list(read_text(text.decode()))
    text, content_type = metrics.exposition("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")
    assert list(read_openmetrics(text.decode()))  # type: ignore[no-untyped-call] # the library's


def test_a_server_that_fails_is_down_until_it_answers_and_not_for_one_request_that_it_refuses() -> None:
    up = [value(metrics_after(*events), "component_up", component="upstream") for events in (
        [],
        [UpstreamFailed("stub", "status", 404, "no such session")],
        [UpstreamFailed("stub", "unreadable", 0, "odd")],
        [UpstreamFailed("stub", "refused", 0, "nobody listens")],
        [UpstreamFailed("stub", "status", 401, "no"), Passed("stub", "ping")],
        [UpstreamFailed("stub", "refused", 0, "nobody listens"), UpstreamAnswered("stub")],
    )]  # fmt: skip
    assert up == [1, 1, 1, 0, 0, 1]
