"""The dashboard *Limits and approvals*: what is left, when it runs out at this pace, who waits for a person."""

from __future__ import annotations

from typing import Final

from programs.dashboards.frame import LIMITS, SERVER, TOOL, audit_lines, dashboard
from programs.dashboards.panels import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    TEXT,
    YELLOW,
    Json,
    Query,
    colour,
    override,
    override_like,
    row,
    series,
    stat,
    table,
    thresholds,
)

_EACH: Final = "by (server, tool, rule, scope, window)"
LEFT: Final = f"min {_EACH} (mcp_policy_limit_remaining{{{LIMITS}}})"
"""What is left of each limit: the least that any sidecar saw, for those that share a store."""
MOST: Final = f"max {_EACH} (mcp_policy_limit_max{{{LIMITS}}})"
RESETS: Final = f"(max {_EACH} (mcp_policy_limit_resets_timestamp_seconds{{{LIMITS}}}) - time())"
"""Seconds until each limit is whole again."""
RUNS_OUT: Final = f"({LEFT} > 0) / (- min {_EACH} (deriv(mcp_policy_limit_remaining{{{LIMITS}}}[5m])) > 0)"
"""Seconds until each limit is used up that is not yet, at the pace of the last five minutes."""

_NAMED: Final = "{{server}}: {{rule}} ({{scope}})"
_SHARE: Final = "percentunit"


def limits_and_approvals() -> Json:
    """The dashboard."""
    return dashboard(
        "mcp-policy-limits",
        "MCP policy: limits and approvals",
        "How much of each limit is left and when it runs out at this pace; which calls wait for a person, and how "
        "long.",
        [*_at_a_glance(), *_limits(), *_approvals()],
    )


def _at_a_glance() -> list[Json]:
    pending = f'max by (server) (mcp_policy_approvals{{{SERVER}, state="pending"}})'
    return [
        stat(
            "Limits nearly used",
            "Limits of which less than a tenth is left.",
            Query(f"count({LEFT} / ({MOST} > 0) < 0.1) or vector(0)"),
            unit="short", decimals=0, steps=thresholds((None, GREEN), (1, ORANGE)), none="no limits",
        ),
        stat(
            "Next limit to run out",
            "How long the first limit lasts at the pace of the last five minutes, if that is before it is whole again.",
            Query(f"min(({RUNS_OUT}) < {RESETS})"),
            unit="dthms", none="none", steps=thresholds((None, GREEN), (0, RED), (600, ORANGE), (3600, GREEN)),
        ),
        stat(
            "Refused by a limit",
            "Calls that a used-up limit refused, in the time that is shown.",
            Query(f'sum(increase(mcp_policy_reservations_total{{{SERVER}, result="refused"}}[$__range])) or vector(0)'),
            unit="short", decimals=0, steps=thresholds((None, GREEN), (1, YELLOW)), none="none",
        ),
        stat(
            "Calls that wait",
            "Calls that wait for a person now. Servers that share a store are counted once each.",
            Query(f"sum({pending}) or vector(0)"),
            unit="short", decimals=0, steps=thresholds((None, GREEN), (1, BLUE), (50, RED)), none="none",
        ),
        stat(
            "Longest wait",
            "How long the oldest of these calls has waited.",
            Query(f"max(mcp_policy_approvals_oldest_pending_seconds{{{SERVER}}})"),
            unit="dthms", steps=thresholds((None, GREEN), (300, YELLOW), (600, RED)), none="nobody waits",
        ),
        stat(
            "Outcome unknown",
            "Approved calls of which nobody knows whether they ran. Look at the server, then `sidecar approvals "
            "resolve`.",
            Query(f'sum(max by (server) (mcp_policy_approvals{{{SERVER}, state="unknown"}})) or vector(0)'),
            unit="short", decimals=0, steps=thresholds((None, GREEN), (1, RED)), none="none",
        ),
    ]  # fmt: skip


def _limits() -> list[Json]:
    ends = thresholds((None, RED), (0.1, ORANGE), (0.3, GREEN))
    place = f"topk {_EACH.replace(', scope, window', '')} (1, mcp_policy_rule_info{{{SERVER}}})"
    return [
        row("Limits"),
        table(
            "Limits now",
            "Each limit of the policy in force. Where it counts each session or each caller by itself, the one with "
            "the least left is shown. *Runs out in* is empty where the limit is whole again before that.",
            Query(f"{LEFT} / ({MOST} > 0)"),
            Query(LEFT),
            Query(MOST),
            Query(f"{RESETS} > 0"),
            Query(f"({RUNS_OUT}) < {RESETS}"),
            Query(f"{LEFT} * 0 + on (server, tool, rule) group_left (file, line) {place}"),
            columns=("server", "tool", "rule", "scope", "window", "Value #A", "Value #B", "Value #C", "Value #D",
                     "Value #E", "file", "line"),
            renamed={"server": "Server", "tool": "Tool", "rule": "Rule", "scope": "Scope", "window": "Window",
                     "Value #A": "Left", "Value #B": "Remaining", "Value #C": "Limit", "Value #D": "Whole again in",
                     "Value #E": "Runs out in", "file": "File", "line": "Line"},
            none="-", sort="Left", descending=False, size=(24, 9),
            overrides=[
                override(
                    "Left", unit=_SHARE, min=0, max=1, decimals=0, thresholds=ends, custom_width=200,
                    custom_cellOptions={"type": "gauge", "mode": "gradient", "valueDisplayMode": "text"},
                ),
                override(
                    "Rule",
                    links=[audit_lines("Audit lines that this limit refused", "event:decision decision:deny",
                                       'rule:="${__data.fields.Rule}"')],
                ),
                override("Remaining", unit="short", custom_width=110),
                override("Limit", unit="short", custom_width=90),
                override("Whole again in", unit="dthms", decimals=0, custom_width=120),
                override(
                    "Runs out in", unit="dthms", decimals=0, custom_width=120, noValue="-",
                    thresholds=thresholds((None, TEXT), (0, RED), (600, ORANGE), (3600, TEXT)),
                    custom_cellOptions={"type": "color-text"},
                ),
                override("Line", custom_width=60, custom_align="right"),
                override("Scope", custom_width=90),
                override("Window", unit="dtdurations", custom_width=110),
                override("Server", custom_width=120),
            ],
        ),
        series(
            "Left of each limit",
            "The part of each limit that is left. Below the line it is nearly used.",
            Query(f"{LEFT} / ({MOST} > 0)", _NAMED),
            unit=_SHARE, none="the policy has no limits", size=(12, 9), high=1,
            steps=thresholds((None, GREEN), (0.1, RED)),
            calcs=("min", "lastNotNull"), right=True, stepped=True,
        ),
        series(
            "Runs out at this pace",
            "How long each limit lasts at the pace of the last five minutes, while that is before it is whole again.",
            Query(f"({RUNS_OUT}) < {RESETS}", _NAMED),
            unit="dthms", none="no limit runs out before it is whole again", size=(12, 9),
            calcs=("min", "lastNotNull"), right=True,
        ),
        series(
            "Refused by limits",
            "Calls per minute that a used-up limit refused, by rule.",
            Query(
                f"60 * sum by (rule, tool) (rate(mcp_policy_decisions_total{{{TOOL}, decision=\"deny\", "
                'mode="enforce", kind=~"rate_limit|spend_limit"}[$__rate_interval])) > 0',
                "{{rule}} of {{tool}}", exemplars=True,
            ),
            unit="cpm", none="no limit refused a call", size=(12, 7), bars=True, stacked=True,
            links=[audit_lines("Audit lines of this rule", "event:decision decision:deny",
                               'rule:="${__field.labels.rule}"')],
        ),
        series(
            "Reservations",
            "What calls took from limits, per minute: `returned` was given back, since the call certainly did not run "
            "or failed in a way that the rule gives back for.",
            Query(
                f"60 * sum by (result) (rate(mcp_policy_reservations_total{{{SERVER}}}[$__rate_interval]))",
                "{{result}}",
            ),
            unit="cpm", none="nothing is counted", size=(12, 7),
            overrides=[override("reserved", color=colour(GREEN)), override("refused", color=colour(RED)),
                       override("returned", color=colour(BLUE))],
        ),
    ]  # fmt: skip


def _approvals() -> list[Json]:
    waits = f"sum by (le) (rate(mcp_policy_approval_wait_seconds_bucket{{{SERVER}}}[$__rate_interval]))"
    states = {"pending": BLUE, "approved": GREEN, "in_use": YELLOW, "unknown": RED}
    answers = {"approved": GREEN, "denied": RED, "revoked": ORANGE, "expired": GREY}
    of_approvals = "event:approval"
    return [
        row("Approvals"),
        series(
            "Queue",
            "Approvals that are not over: `pending` waits for a person, `approved` for the call to come again, "
            "`in_use` for the server's answer, `unknown` for a person who looks.",
            Query(f"sum by (state) (max by (server, state) (mcp_policy_approvals{{{SERVER}}}))", "{{state}}"),
            unit="short", none="no approvals", stacked=True, stepped=True, decimals=0,
            overrides=[override(name, color=colour(color)) for name, color in states.items()],
            links=[audit_lines("Audit lines of approvals", of_approvals)],
        ),
        series(
            "Oldest call that waits",
            "How long the call has waited that has waited longest, by server.",
            Query(f"max by (server) (mcp_policy_approvals_oldest_pending_seconds{{{SERVER}}})", "{{server}}"),
            unit="dthms", none="nobody waits", steps=thresholds((None, GREEN), (600, RED)),
        ),
        series(
            "Waiting time until an answer",
            "How long people took to approve or deny: half of the calls waited no longer than p50, nine of ten no "
            "longer than p90.",
            *(
                Query(f"histogram_quantile({share}, {waits})", name)
                for share, name in ((0.5, "p50"), (0.9, "p90"))
            ),
            unit="s", none="nobody answered in this time",
        ),
        series(
            "What people decided",
            "Answers per minute. `expired` had no answer in time, or the call did not come back.",
            Query(
                f"60 * sum by (result) (rate(mcp_policy_approvals_decided_total{{{SERVER}}}[$__rate_interval]))",
                "{{result}}",
            ),
            unit="cpm", none="nothing was decided", bars=True, stacked=True,
            overrides=[override(name, color=colour(color)) for name, color in answers.items()],
            links=[audit_lines("Audit lines of this answer", of_approvals)],
        ),
        series(
            "Uses of approvals",
            "How approved calls ended, per minute: `consumed` ran, `released` certainly did not, of `unknown` nobody "
            "knows.",
            Query(
                f"60 * sum by (result) (rate(mcp_policy_approval_uses_total{{{SERVER}}}[$__rate_interval]))",
                "{{result}}",
            ),
            unit="cpm", none="no approval was used", bars=True, stacked=True,
            overrides=[override("consumed", color=colour(GREEN)), override("unknown", color=colour(RED)),
                       override("released", color=colour(BLUE))],
        ),
        series(
            "Messages to the webhook",
            "Attempts per minute to tell people. `failed` is tried again; `given_up` is not.",
            Query(
                f"60 * sum by (result) (rate(mcp_policy_webhook_deliveries_total{{{SERVER}}}[$__rate_interval])) > 0",
                "{{result}}",
            ),
            unit="cpm", none="no message was sent", bars=True, stacked=True,
            overrides=[override("delivered", color=colour(GREEN)), override_like("failed|given_up", color=colour(RED))],
        ),
    ]  # fmt: skip
