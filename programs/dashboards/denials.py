"""The dashboard *Denials*: what is refused, to whom, by which rule at which line; and what would have been."""

from __future__ import annotations

from typing import Final

from programs.dashboards.frame import SERVER, TOOL, audit_lines, dashboard
from programs.dashboards.panels import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    RED,
    YELLOW,
    Json,
    Query,
    colour,
    override,
    row,
    series,
    stat,
    table,
    thresholds,
)

DENIED: Final = 'decision="deny", mode="enforce", kind!="approval_required"'
"""Calls that were refused for good: one that waits for a person is none of them."""
MONITORED: Final = 'decision="deny", mode="monitor"'
"""Calls that passed, and only because the whole policy is in monitor mode."""

_DECISIONS: Final = "mcp_policy_decisions_total"
_PER_MINUTE: Final = "cpm"
_SOME_ARE_BAD: Final = thresholds((None, GREEN), (1, YELLOW))
_BY_AGENT: Final = f'mcp_policy_agent_decisions_total{{{SERVER}, decision="deny"}}'
_RULES: Final = f"mcp_policy_rule_info{{{SERVER}}}"

_DIFFERENCES: Final = (
    ("deny", "allow", "denied, would be allowed", RED),
    ("approval", "allow", "asked, would be allowed", ORANGE),
    ("deny", "approval", "denied, would be asked", YELLOW),
    ("allow", "deny", "allowed, would be denied", BLUE),
    ("approval", "deny", "asked, would be denied", PURPLE),
    ("allow", "approval", "allowed, would be asked", GREEN),
)
"""What the policy in force says, what the candidate says, and both in words, and a colour."""


def denials() -> Json:
    """The dashboard."""
    return dashboard(
        "mcp-policy-denials",
        "MCP policy: denials",
        "What the policy refuses, to whom, by which rule at which line of which file; what rules that only report, and "
        "a candidate, would have refused.",
        [*_at_a_glance(), *_by_what(), *_tables(), *_would_have_been()],
    )


def _at_a_glance() -> list[Json]:
    denied = f"sum(increase({_DECISIONS}{{{TOOL}, {DENIED}}}[$__range]))"
    return [
        stat(
            "Denied",
            "Calls that were refused in the time that is shown. Calls that wait for a person are not counted here.",
            Query(f"{denied} or vector(0)"),
            unit="short", decimals=0, steps=_SOME_ARE_BAD, none="no calls",
            links=[audit_lines("Audit lines of denials", "event:decision decision:deny mode:enforce")],
        ),
        stat(
            "Denied share",
            "The part of all calls that was refused, in the time that is shown.",
            Query(f"({denied} or vector(0)) / (sum(increase({_DECISIONS}{{{TOOL}}}[$__range])) > 0)"),
            unit="percentunit", decimals=1, none="no calls",
            steps=thresholds((None, GREEN), (0.05, YELLOW), (0.25, RED)),
        ),
        stat(
            "Critical tools refused",
            "Refused calls of tools whose severity is critical: somebody, or a prompt that somebody wrote, tried what "
            "must not be done. Calls that wait for a person are not counted here.",
            Query(
                f"sum(sum by (server, tool) (increase({_DECISIONS}{{{TOOL}, {DENIED}}}[$__range])) "
                f'and on (server, tool) mcp_policy_rule_info{{{SERVER}, severity="critical"}}) or vector(0)'
            ),
            unit="short", decimals=0, steps=thresholds((None, GREEN), (1, RED)), none="none",
            links=[audit_lines("Audit lines of critical tools", "event:decision decision:deny severity:critical")],
        ),
        stat(
            "Agents refused",
            "How many clients, by the name that they give themselves, were refused at least once.",
            # A client that is new has no series before its first refusal, so nothing of it increases: all of it is new.
            Query(
                f"count(sum by (client) (({_BY_AGENT} unless {_BY_AGENT} offset $__range) or "
                f"increase({_BY_AGENT}[$__range])) > 0) or vector(0)"
            ),
            unit="short", decimals=0, steps=thresholds((None, BLUE)), none="none",
        ),
        stat(
            "Would have been denied",
            "Calls that passed and that rules in monitor or shadow mode, or a policy in monitor mode, would have "
            "refused.",
            Query(
                f"sum(increase(mcp_policy_would_deny_total{{{TOOL}}}[$__range]) or "
                f"increase({_DECISIONS}{{{TOOL}, {MONITORED}}}[$__range])) or vector(0)"
            ),
            unit="short", decimals=0, steps=thresholds((None, BLUE)), none="none",
        ),
        stat(
            "Rules never matched",
            "Rules of the policy in force that had no say in any call since each sidecar started. After weeks such a "
            "rule is dead, or its tool is gone.",
            Query(f"count(max by (server, tool, rule) (mcp_policy_rule_matches_total{{{TOOL}}}) == 0) or vector(0)"),
            unit="short", decimals=0, steps=thresholds((None, BLUE)), none="none",
        ),
    ]  # fmt: skip


def _by_what() -> list[Json]:
    rate = f"rate({_DECISIONS}{{{TOOL}, {DENIED}}}[$__rate_interval])"
    of_class = (
        f"sum by (class) (sum by (server, tool) ({rate}) * on (server, tool) group_left (class) "
        f'topk by (server, tool) (1, mcp_policy_rule_info{{{SERVER}, class!=""}}))'
    )
    unclassed = (
        f'sum(sum by (server, tool) ({rate}) unless on (server, tool) mcp_policy_rule_info{{{SERVER}, class!=""}})'
    )
    of_rule = "event:decision decision:deny"
    return [
        row("What is refused"),
        series(
            "By rule",
            "Refused calls per minute by the rule that refused them. In brackets stand refusals that no rule of the "
            "policy made: the default, the engine's absence, a message that cannot be read.",
            Query(f"60 * sum by (rule, by) ({_said(rate)}) > 0", "{{by}}", exemplars=True),
            unit=_PER_MINUTE, none="nothing was refused", size=(12, 9), bars=True, stacked=True, calcs=("mean", "max"),
            right=True, links=[audit_lines("Audit lines of this rule", of_rule, 'rule:="${__field.labels.rule}"')],
        ),
        series(
            "By tool",
            "Refused calls per minute by tool. `_other` are tools that neither the policy nor the server names.",
            Query(f"60 * sum by (tool) ({rate}) > 0", "{{tool}}", exemplars=True),
            unit=_PER_MINUTE, none="nothing was refused", size=(12, 9), bars=True, stacked=True, calcs=("mean", "max"),
            right=True, links=[audit_lines("Audit lines of this tool", of_rule, 'tool:="${__field.labels.tool}"')],
        ),
        series(
            "By kind",
            "Why calls did not pass, per minute. Here those that wait for a person are shown too: `approval_required`.",
            Query(
                f'60 * sum by (kind) (rate({_DECISIONS}{{{TOOL}, decision="deny", mode="enforce"}}'
                "[$__rate_interval])) > 0",
                "{{kind}}", exemplars=True,
            ),
            unit=_PER_MINUTE, none="nothing was refused", bars=True, stacked=True,
            links=[audit_lines("Audit lines of this kind", of_rule, 'kind:="${__field.labels.kind}"')],
        ),
        series(
            "By class",
            "Refused calls per minute by the class that the policy gives the tool.",
            Query(f"60 * {of_class} > 0", "{{class}}"),
            Query(f"60 * {unclassed} > 0", "(no class)"),
            unit=_PER_MINUTE, none="nothing was refused", bars=True, stacked=True,
        ),
        series(
            "By agent",
            "Refused calls per minute by the name that the client gives itself: a claim, not a proof. Calls that wait "
            "for a person are counted too.",
            Query(
                f"60 * topk(10, sum by (client) (rate({_BY_AGENT}[$__rate_interval])) > 0)", "{{client}}"
            ),
            unit=_PER_MINUTE, none="nobody was refused", bars=True, stacked=True,
            links=[audit_lines("Audit lines of this agent", of_rule, 'client:="${__field.labels.client}"')],
        ),
        series(
            "Denied share by server",
            "The part of each server's calls that is refused.",
            Query(
                f"sum by (server) ({rate}) / "
                f"(sum by (server) (rate({_DECISIONS}{{{TOOL}}}[$__rate_interval])) > 0)",
                "{{server}}",
            ),
            unit="percentunit", none="no calls", size=(12, 7), high=1,
            steps=thresholds((None, GREEN), (0.25, RED)),
        ),
        series(
            "Calls by decision",
            "All calls per minute: what passes, what is refused, what waits for a person, and what passes only because "
            "it is monitored.",
            Query(f'60 * sum(rate({_DECISIONS}{{{TOOL}, decision="allow"}}[$__rate_interval]))', "allowed"),
            Query(f"60 * sum({rate})", "denied"),
            Query(
                f'60 * sum(rate({_DECISIONS}{{{TOOL}, kind="approval_required", mode="enforce"}}[$__rate_interval]))',
                "a person is asked",
            ),
            Query(f"60 * sum(rate({_DECISIONS}{{{TOOL}, {MONITORED}}}[$__rate_interval]))", "only monitored"),
            unit=_PER_MINUTE, none="no calls", size=(12, 7), stacked=True,
            overrides=[
                override(name, color={"mode": "fixed", "fixedColor": color})
                for name, color in (
                    ("allowed", GREEN), ("denied", RED), ("a person is asked", BLUE), ("only monitored", ORANGE),
                )
            ],
        ),
    ]  # fmt: skip


def _tables() -> list[Json]:
    count = f"sum by (server, tool, rule, kind) (increase({_DECISIONS}{{{TOOL}, {DENIED}}}[$__range]) > 0)"
    place = "group_left (file, line, class, severity)"
    own = f"{count} * on (server, tool, rule) {place} topk by (server, tool, rule) (1, {_RULES})"
    of_all_tools = (
        f'{count} * on (server, rule) {place} topk by (server, rule) (1, mcp_policy_rule_info{{{SERVER}, tool="*"}})'
    )
    dead = (
        f"(max by (server, tool, rule) (mcp_policy_rule_matches_total{{{TOOL}}}) == 0) + on (server, tool, rule) "
        f"group_right () topk by (server, tool, rule) (1, {_RULES})"
    )
    named = {"server": "Server", "tool": "Tool", "rule": "Rule", "kind": "Kind", "class": "Class",
             "severity": "Severity", "file": "File", "line": "Line", "Value": "Denied"}  # fmt: skip
    narrow = [override("Line", custom_width=70, custom_align="right"), override("Severity", custom_width=90)]
    lines = audit_lines(
        "Audit lines of this tool and rule", "event:decision decision:deny", 'tool:="${__data.fields.Tool}"',
        'rule:="${__data.fields.Rule}"',
    )  # fmt: skip
    return [
        row("Which rules, at which line"),
        table(
            "Top denials",
            "The most frequent refusals of the time that is shown, with the place of the rule. A line without a place "
            "was refused by no rule of the policy: by the default, or since the engine gave no answer. Click a tool or "
            "a rule for its audit lines.",
            Query(
                f"topk(20, ({own}) or on (server, tool, rule) ({of_all_tools}) or on (server, tool, rule) {count})"
            ),
            columns=("server", "tool", "rule", "kind", "class", "severity", "file", "line", "Value"),
            renamed=named, none="-", sort="Denied", size=(24, 10),
            overrides=[
                *narrow,
                override("Tool", links=[lines]),
                override("Rule", links=[lines]),
                override("Server", custom_width=130),
                override("Kind", custom_width=150),
                override("Class", custom_width=110),
                override(
                    "Denied", unit="short", custom_width=200, decimals=0, color={"mode": "continuous-YlRd"}, min=0,
                    custom_cellOptions={"type": "gauge", "mode": "gradient", "valueDisplayMode": "text"},
                ),
            ],
        ),
        table(
            "Rules that never matched",
            "Rules of the policy in force that had no say in any call since each sidecar started.",
            Query(f"sort_desc({dead})"),
            columns=("server", "tool", "rule", "kind", "class", "severity", "file", "line"),
            renamed=named, none="-", sort="File", descending=False, size=(24, 8), overrides=narrow,
        ),
    ]  # fmt: skip


def _would_have_been() -> list[Json]:
    would = f"rate(mcp_policy_would_deny_total{{{TOOL}}}[$__rate_interval])"
    compared = f"mcp_policy_candidate_total{{{SERVER}"
    return [
        row("What would have been refused"),
        series(
            "By rules that only report",
            "Calls per minute that rules in monitor or shadow mode would have refused, or asked a person about. They "
            "passed.",
            Query(f"60 * sum by (rule, tool, by) ({would}) > 0", "{{rule}} of {{tool}} ({{by}})"),
            unit=_PER_MINUTE, none="no rule in monitor or shadow mode objected", bars=True,
            stacked=True,
        ),
        series(
            "By a policy that is only monitored",
            "Calls per minute that passed and that the policy in force would refuse, were it not in monitor mode.",
            Query(
                f"60 * sum by (by) ({_said(f'rate({_DECISIONS}{{{TOOL}, {MONITORED}}}[$__rate_interval])')}) > 0",
                "{{by}}",
            ),
            unit=_PER_MINUTE, none="no policy in monitor mode objected", bars=True,
            stacked=True,
        ),
        series(
            "By the candidate",
            "Calls per minute of which a candidate policy (`--shadow`) says something else than the policy in force. "
            "Look first at what is denied now and would be allowed.",
            *(
                Query(
                    f'60 * sum(rate({compared}, live="{live}", candidate="{candidate}"}}[$__rate_interval])) > 0', said
                )
                for live, candidate, said, _ in _DIFFERENCES
            ),
            unit=_PER_MINUTE, none="no candidate is asked, or it says the same", bars=True, stacked=True,
            overrides=[override(said, color=colour(color)) for *_, said, color in _DIFFERENCES],
        ),
    ]  # fmt: skip


def _said(expr: str) -> str:
    """The same series with the label `by`: the rule, or in brackets the kind where no rule decided."""
    both = f'label_join({expr}, "by", ";", "rule", "kind")'
    return f'label_replace(label_replace({both}, "by", "($1)", "by", ";(.*)"), "by", "$1", "by", "(.+);.*")'
