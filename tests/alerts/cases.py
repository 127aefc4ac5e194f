"""For each alert: the series under which it fires, with what it says then, and others under which it does not.

Series are in promtool's notation, a value each half minute: `0+1x20` begins at 0 and grows by 1 for 20 steps, `_` is no
value. Labels that every series has are left out: `WHERE`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

WHERE: Final = {"namespace": "shop", "server": "okx"}
"""The labels of every series, and of every alert."""


@dataclass(frozen=True, slots=True)
class Case:
    """At `minute` the alert fires under `fires`, with `labels` and the text `summary`, and under nothing of `quiet`."""

    alert: str
    fires: dict[str, str]
    summary: str
    quiet: tuple[dict[str, str], ...]
    labels: dict[str, str] = field(default_factory=dict)
    minute: int = 12
    severity: str = "warning"


CASES: Final = (
    Case(
        "McpEngineUnavailable",
        {'component_up{component="engine",pod="a"}': "1x4 0x20", 'component_up{component="engine",pod="b"}': "1x24"},
        "A sidecar of okx gets no answer of OPA, so it refuses every call.",
        (
            {'component_up{component="engine"}': "1x24"},
            {'component_up{component="engine"}': "1x22 0 0"},
            {'component_up{component="store"}': "0x24"},
        ),
        severity="critical",
    ),
    Case(
        "McpEngineErrors",
        {'engine_errors_total{kind="timeout"}': "0+1x24"},
        "OPA gave no usable answer for okx 20 times (timeout).",
        ({'engine_errors_total{kind="timeout"}': "0x10 1x14"},),
        {"kind": "timeout"},
    ),
    Case(
        "McpStoreUnavailable",
        {'component_up{component="store"}': "1x4 0x20"},
        "A sidecar of okx cannot use its store, so calls that are counted are refused.",
        ({'component_up{component="store"}': "0x10 1x14"},),
        severity="critical",
    ),
    Case(
        "McpCallsPassUncounted",
        {'decisions_total{decision="allow",kind="store_unavailable"}': "0x14 0+1x10"},
        "9 calls to okx passed uncounted: no limit holds now.",
        (
            {'decisions_total{decision="deny",kind="store_unavailable"}': "0+1x24"},
            {'decisions_total{decision="allow",kind="allow"}': "0+1x24"},
        ),
        severity="critical",
    ),
    Case(
        "McpNoPolicy",
        {'component_up{component="policy"}': "0x24"},
        "A sidecar of okx has no policy, so it refuses everything.",
        ({'component_up{component="policy"}': "0x20 1x4"},),
        severity="critical",
    ),
    Case(
        "McpTelemetryGone",
        {'build_info{version="1"}': "1x10 _x60"},
        "No sidecar of okx is scraped any more.",
        ({'build_info{version="1",pod="a"}': "1x10 _x60", 'build_info{version="1",pod="b"}': "1x70"},),
        minute=20,
    ),
    Case(
        "McpUpstreamFailing",
        {
            'upstream_errors_total{reason="timeout"}': "0+6x24",
            'calls_settled_total{tool="pay",outcome="success"}': "0+10x24",
            'calls_settled_total{tool="pay",outcome="not_run"}': "0+10x24",
        },
        "The MCP server okx does not answer more than a tenth of the calls.",
        (
            {'upstream_errors_total{reason="timeout"}': "0+1x24", 'calls_settled_total{outcome="success"}': "0+30x24"},
            {'upstream_errors_total{reason="timeout"}': "0x24", 'calls_settled_total{outcome="success"}': "0x24"},
        ),
    ),
    Case(
        "McpUpstreamDown",
        {'component_up{component="upstream"}': "1x4 0x20"},
        "The MCP server okx answers nothing.",
        ({'component_up{component="upstream"}': "1x4 0x2 1x18"},),
        severity="critical",
    ),
    Case(
        "McpAuditLost",
        {"audit_lost_lines_total": "0x20 5x4"},
        "5 lines are missing in the audit log of okx.",
        ({"audit_lost_lines_total": "0x24"}, {"audit_lost_lines_total": "7x24"}),
        severity="critical",
    ),
    Case(
        "McpInternalErrors",
        {"internal_errors_total": "0x20 1x4"},
        "A sidecar of okx met a defect of its own.",
        ({"internal_errors_total": "3x24"},),
    ),
    Case(
        "McpBundleStale",
        # Values are seconds since 1970, where promtool's clock begins.
        {'bundle_last_fetch_timestamp_seconds{pod="a",instance="a:1"}': "120x24"},
        "A sidecar of okx has not reached its source of bundles for 10m 0s.",
        (
            {'bundle_last_fetch_timestamp_seconds{pod="a",instance="a:1"}': "0+30x24"},
            {'bundle_last_fetch_timestamp_seconds{pod="a",instance="a:1"}': "0x24"},
        ),
        {"pod": "a", "instance": "a:1"},
    ),
    Case(
        "McpPolicyRefused",
        {'bundle_refusals_total{reason="signature"}': "0x20 1x4", 'reloads_total{result="refused"}': "0x24"},
        "A new policy for okx is not put in force.",
        ({'bundle_refusals_total{reason="older"}': "1x24", 'reloads_total{result="accepted"}': "0+1x24"},),
    ),
    Case(
        "McpRevisionsDiffer",
        {'bundle_info{revision="a",pod="a"}': "1x24", 'bundle_info{revision="b",pod="b"}': "1x24"},
        "Sidecars of okx decide by 2 different policies.",
        (
            {'bundle_info{revision="a",pod="a"}': "1x24", 'bundle_info{revision="a",pod="b"}': "1x24"},
            {'bundle_info{revision="a",pod="a"}': "1x24", 'bundle_info{revision="b",pod="b"}': "_x20 1x4"},
        ),
    ),
    Case(
        "McpPolicyNotEnforced",
        {'decisions_total{mode="monitor",decision="deny"}': "0x20 1x4"},
        "Policy is not enforced for okx, it is in monitor mode.",
        ({'decisions_total{mode="enforce",decision="deny"}': "0+1x24"},),
    ),
    Case(
        "McpCandidateLoosens",
        {
            'candidate_total{live="deny",candidate="allow"}': "0x20 2x4",
            'candidate_total{live="approval",candidate="allow"}': "0x20 1x4",
        },
        "The candidate policy of okx would let 3 calls pass that are stopped now.",
        ({'candidate_total{live="allow",candidate="deny"}': "0+1x24"},),
    ),
    Case(
        "McpDenialBurst",
        {'decisions_total{decision="deny",mode="enforce"}': "0x100 0+15x20"},
        "Calls to okx are refused 0.5 times a second, far more than before.",
        (
            {'decisions_total{decision="deny",mode="enforce"}': "0+15x120"},
            {'decisions_total{decision="deny",mode="enforce"}': "0x100 0+1x20"},
            {'decisions_total{decision="deny",mode="monitor"}': "0x100 0+15x20"},
            {'decisions_total{decision="allow",mode="enforce"}': "0x100 0+15x20"},
        ),
        minute=57,
    ),
    Case(
        "McpAgentRefusedAgainAndAgain",
        {
            'agent_decisions_total{client="claude",decision="deny"}': "0+2x24",
            'agent_decisions_total{client="claude",decision="allow"}': "0+1x24",
        },
        "The agent claude was refused 40 times in ten minutes at okx.",
        (
            {
                'agent_decisions_total{client="claude",decision="deny"}': "0+2x24",
                'agent_decisions_total{client="claude",decision="allow"}': "0+3x24",
            },
            {'agent_decisions_total{client="claude",decision="deny"}': "0x20 9x4"},
        ),
        {"client": "claude"},
    ),
    Case(
        "McpCriticalToolTried",
        {
            'decisions_total{tool="cancel_order",decision="deny"}': "0x20 1x4",
            'rule_info{tool="cancel_order",rule="never",severity="critical"}': "1x24",
            'rule_info{tool="cancel_order",rule="at night",severity="critical"}': "1x24",
        },
        "Somebody tried the critical tool cancel_order of okx and was refused.",
        (
            {
                'decisions_total{tool="cancel_order",decision="deny"}': "0x20 1x4",
                'rule_info{tool="cancel_order",rule="never",severity="high"}': "1x24",
                'rule_info{tool="place_order",rule="never",severity="critical"}': "1x24",
            },
            {
                'decisions_total{tool="cancel_order",decision="allow"}': "0+1x24",
                'rule_info{tool="cancel_order",rule="never",severity="critical"}': "1x24",
            },
        ),
        {"tool": "cancel_order"},
    ),
    Case(
        "McpSignInsRefused",
        {'http_refusals_total{status="401",reason="credentials"}': "0+2x24"},
        "40 requests to okx had no good credentials.",
        (
            {'http_refusals_total{status="401",reason="credentials"}': "0x20 5x4"},
            {'http_refusals_total{status="404",reason="path"}': "0+9x24"},
        ),
    ),
    Case(
        "McpLimitNearlyUsed",
        {
            'limit_remaining{tool="pay",rule="daily",scope="global",window="day",pod="a"}': "50x24",
            'limit_remaining{tool="pay",rule="daily",scope="global",window="day",pod="b"}': "1000x24",
            'limit_max{tool="pay",rule="daily",scope="global",window="day",pod="a"}': "1000x24",
            'limit_max{tool="pay",rule="daily",scope="global",window="day",pod="b"}': "1000x24",
        },
        "5% of the limit daily of okx is left.",
        (
            {
                'limit_remaining{tool="pay",rule="daily",scope="global",window="day"}': "100x24",
                'limit_max{tool="pay",rule="daily",scope="global",window="day"}': "1000x24",
            },
            {
                'limit_remaining{tool="pay",rule="never",scope="global",window="day"}': "0x24",
                'limit_max{tool="pay",rule="never",scope="global",window="day"}': "0x24",
            },
        ),
        {"tool": "pay", "rule": "daily", "scope": "global", "window": "day"},
    ),
    Case(
        "McpDecisionsSlow",
        {
            'decision_duration_seconds_bucket{phase="total",le="0.01"}': "0+80x130",
            'decision_duration_seconds_count{phase="total"}': "0+100x130",
        },
        "20% of the decisions for okx took more than 10 ms in the last hour.",
        (
            {  # an hour that was bad, and is over
                'decision_duration_seconds_bucket{phase="total",le="0.01"}': "0+80x110 8800+100x20",
                'decision_duration_seconds_count{phase="total"}': "0+100x130",
            },
            {
                'decision_duration_seconds_bucket{phase="total",le="0.01"}': "0+90x130",
                'decision_duration_seconds_count{phase="total"}': "0+100x130",
            },
        ),
        minute=64,
        severity="critical",
    ),
    Case(
        "McpDecisionsSlowly",
        {
            'decision_duration_seconds_bucket{phase="total",le="0.01"}': "0+90x130",
            'decision_duration_seconds_count{phase="total"}': "0+100x130",
        },
        "10% of the decisions for okx took more than 10 ms in the last six hours.",
        (
            {
                'decision_duration_seconds_bucket{phase="total",le="0.01"}': "0+95x130",
                'decision_duration_seconds_count{phase="total"}': "0+100x130",
            },
        ),
        minute=64,
    ),
    Case(
        "McpDecisionBudgetShrinks",
        {
            'decision_duration_seconds_bucket{phase="total",le="0.01"}': "0+98x180",
            'decision_duration_seconds_count{phase="total"}': "0+100x180",
        },
        "2% of the decisions for okx took more than 10 ms in the last three days.",
        (
            {  # for less than an hour
                'decision_duration_seconds_bucket{phase="total",le="0.01"}': "0+100x100 10000+50x80",
                'decision_duration_seconds_count{phase="total"}': "0+100x180",
            },
            {
                'decision_duration_seconds_bucket{phase="total",le="0.01"}': "0+199x180",
                'decision_duration_seconds_count{phase="total"}': "0+200x180",
            },
        ),
        minute=84,
        severity="info",
    ),
    Case(
        "McpApprovalOutcomeUnknown",
        {'approvals{state="unknown",pod="a"}': "2x24", 'approvals{state="unknown",pod="b"}': "2x24"},
        "Nobody knows whether 2 approved calls to okx ran.",
        ({'approvals{state="pending"}': "2x24", 'approvals{state="unknown"}': "0x24"},),
        severity="critical",
    ),
    Case(
        "McpApprovalWaitsTooLong",
        {"approvals_oldest_pending_seconds": "300+30x24"},
        "A call to okx has waited for a person for 17m 0s.",
        ({"approvals_oldest_pending_seconds": "0+20x24"},),
    ),
    Case(
        "McpApprovalQueueFilling",
        {'approvals{state="pending",pod="a"}': "60x24", 'approvals{state="pending",pod="b"}': "60x24"},
        "60 calls to okx wait for a person.",
        ({'approvals{state="pending"}': "50x24"}, {'approvals{state="pending"}': "0x20 60x4"}),
    ),
    Case(
        "McpApprovalsRefusedForRoom",
        {'decisions_total{decision="deny",kind="approvals_full"}': "0x20 1x4"},
        "Calls to okx are refused, because too many wait for a person already.",
        ({'decisions_total{decision="deny",kind="approval_required"}': "0+1x24"},),
    ),
    Case(
        "McpApprovalsExpireUnanswered",
        {
            'approvals_decided_total{result="expired"}': "0+1x24",
            'approvals_decided_total{result="approved"}': "0x20 1x4",
        },
        "Most questions of okx expire without an answer.",
        (
            {
                'approvals_decided_total{result="expired"}': "0+1x24",
                'approvals_decided_total{result="denied"}': "0+2x24",
            },
            {
                'approvals_decided_total{result="expired"}': "0x20 2x4",
                'approvals_decided_total{result="denied"}': "0x24",
            },
        ),
    ),
    Case(
        "McpApprovalWebhookFailing",
        {'webhook_deliveries_total{result="failed"}': "0+1x30", 'webhook_deliveries_total{result="delivered"}': "0x30"},
        "The webhook of okx takes no messages, so nobody hears of calls that wait.",
        (
            {
                'webhook_deliveries_total{result="failed"}': "0+1x30",
                'webhook_deliveries_total{result="delivered"}': "0+1x30",
            },
        ),
        minute=14,
    ),
    Case(
        "McpApprovalWebhookGaveUp",
        {'webhook_deliveries_total{result="given_up"}': "0x20 3x4"},
        "3 messages on approvals of okx never reached the webhook.",
        ({'webhook_deliveries_total{result="failed"}': "0+1x24"},),
    ),
)
