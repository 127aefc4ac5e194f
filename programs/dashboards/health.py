"""The dashboard *Health*: engine, store, upstream, policy, and the sidecars themselves."""

from __future__ import annotations

from typing import Final

from programs.dashboards.frame import SERVER, TOOL, dashboard
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
    row,
    series,
    shortened,
    stat,
    states,
    table,
    thresholds,
)

_PER_MINUTE: Final = "cpm"
_UP_OR_DOWN: Final = states({"0": ("down", RED), "1": ("up", GREEN)})
_COMPONENTS: Final = (
    ("engine", "Engine", "OPA answers. While it does not, every call is denied."),
    (
        "store",
        "Store",
        "The store of counters and approvals can be used. While it cannot, calls that count are denied.",
    ),
    ("upstream", "MCP server", "The server behind the sidecar can be reached."),
    ("policy", "Policy", "A policy is in force. Without one, every call is denied."),
    (
        "bundle_source",
        "Bundle source",
        "The source of bundles can be reached. While it cannot, the policy stays as it is.",
    ),
)
_SIDECARS: Final = f"max by (job, instance, server) (mcp_policy_sessions{{{SERVER}}} >= bool 0)"
"""1 for each sidecar of the chosen servers: metrics of processes have no label `server` of their own."""


def health() -> Json:
    """The dashboard."""
    return dashboard(
        "mcp-policy-health",
        "MCP policy: health",
        "Whether engine, store and MCP server are well, which policy is in force, how long deciding takes, and what "
        "the sidecars use.",
        [*_at_a_glance(), *_policy(), *_deciding(), *_upstream(), *_refused_and_lost(), *_sidecars()],
    )


def _at_a_glance() -> list[Json]:
    parts = [
        stat(
            title,
            f"{says} Down, if it is down at any sidecar.",
            Query(f'min(mcp_policy_component_up{{{SERVER}, component="{name}"}})'),
            unit="short", steps=thresholds((None, GREY), (0, RED), (1, GREEN)), none="not used",
            mappings=_UP_OR_DOWN, filled=True, size=(3, 4),
        )
        for name, title, says in _COMPONENTS
    ]  # fmt: skip
    within = f'mcp_policy_decision_duration_seconds_bucket{{{SERVER}, phase="total", le="0.01"}}'
    all_of_them = f'mcp_policy_decision_duration_seconds_count{{{SERVER}, phase="total"}}'
    return [
        *parts,
        stat(
            "Within 10 ms",
            "The part of all calls that was decided within 10 ms, in the time that is shown.",
            Query(f"sum(rate({within}[$__range])) / (sum(rate({all_of_them}[$__range])) > 0)"),
            unit="percentunit", decimals=1, none="no calls", size=(3, 4),
            steps=thresholds((None, RED), (0.95, YELLOW), (0.99, GREEN)),
        ),
        stat(
            "Sidecars",
            "Sidecars that are scraped now.",
            Query(f"count({_SIDECARS})"),
            unit="short", decimals=0, none="none", size=(3, 4), steps=thresholds((None, RED), (1, BLUE)),
        ),
        stat(
            "Lost audit lines",
            "Audit lines that could not be written, in the time that is shown. Decisions go on without them.",
            Query(f"sum(increase(mcp_policy_audit_lost_lines_total{{{SERVER}}}[$__range]))"),
            unit="short", decimals=0, none="none", size=(3, 4), steps=thresholds((None, GREEN), (1, RED)),
        ),
    ]  # fmt: skip


def _policy() -> list[Json]:
    each = "by (server, revision, serial, commit)"
    info = f"mcp_policy_bundle_info{{{SERVER}}}"
    since = f"mcp_policy_bundle_activated_timestamp_seconds{{{SERVER}}}"
    fetched = f"mcp_policy_bundle_last_fetch_timestamp_seconds{{{SERVER}}} > 0"
    return [
        row("Policy"),
        table(
            "Policy in force",
            "The policy of each server. Two revisions of one server mean that its sidecars decide by two policies. "
            "*Source reached* says how long ago that was; policy files have no source.",
            Query(f"count {each} ({info})"),
            Query(f"time() - min {each} ({since} * on (job, instance, server) group_right () {info})"),
            Query(f"time() - max {each} (({fetched}) * on (job, instance, server) group_right () {info})"),
            columns=("server", "revision", "serial", "commit", "Value #A", "Value #B", "Value #C"),
            renamed={"server": "Server", "revision": "Revision", "serial": "Serial", "commit": "Commit",
                     "Value #A": "Sidecars", "Value #B": "In force for", "Value #C": "Source reached"},
            none="-", sort="Server", descending=False, size=(12, 7),
            overrides=[
                override("Sidecars", unit="none", custom_width=90),
                override("Revision", mappings=shortened(12)),
                override("Commit", mappings=shortened(12)),
                override("Serial", custom_width=70),
                override("In force for", unit="dtdurations", decimals=0, custom_width=110),
                override(
                    "Source reached", unit="s", decimals=0, custom_width=150, noValue="-",
                    thresholds=thresholds((None, TEXT), (300, RED)), custom_cellOptions={"type": "color-text"},
                ),
            ],
        ),
        series(
            "Policies that came, and that did not",
            "Changes of policy files and looks at the source of bundles, in each interval. A refused policy leaves the "
            "old one in force.",
            Query(
                f"sum by (result) (increase(mcp_policy_reloads_total{{{SERVER}}}[$__rate_interval]))",
                "files {{result}}",
            ),
            Query(
                f'sum by (result) (increase(mcp_policy_bundle_fetches_total{{{SERVER}, result!="unchanged"}}'
                "[$__rate_interval]))",
                "source: {{result}}",
            ),
            Query(
                f"sum by (reason) (increase(mcp_policy_bundle_refusals_total{{{SERVER}}}[$__rate_interval])) > 0",
                "bundle refused: {{reason}}",
            ),
            unit="short", decimals=0, none="no change of policy", size=(12, 7), bars=True, stacked=True,
            overrides=[
                override("files accepted", color=colour(GREEN)), override("files refused", color=colour(RED)),
                override("source: news", color=colour(BLUE)), override("source: failed", color=colour(ORANGE)),
            ],
        ),
    ]  # fmt: skip


def _deciding() -> list[Json]:
    bucket = "mcp_policy_decision_duration_seconds_bucket"

    def quantile(share: float, *, by: str, phase: str) -> str:
        rate = f'rate({bucket}{{{SERVER}, phase=~"{phase}"}}[$__rate_interval])'
        return f"histogram_quantile({share}, sum by (le, {by}) ({rate})) > 0"  # without calls it is no number

    total = f'mcp_policy_decision_duration_seconds_count{{{SERVER}, phase="total"'
    return [
        row("Deciding"),
        series(
            "Time to decide, by phase",
            "`total` is all that judging a call took; `engine` is the part that OPA took, where it was asked. Half of "
            "the calls took no longer than p50, 99 of 100 no longer than p99.",
            Query(quantile(0.5, by="phase", phase=".+"), "{{phase}} p50"),
            Query(quantile(0.99, by="phase", phase=".+"), "{{phase}} p99", exemplars=True),
            unit="s", none="no calls",
        ),
        series(
            "Time to decide, by cache",
            "`hit` are calls whose answer was remembered, `miss` those for which OPA was asked.",
            Query(quantile(0.5, by="cache", phase="total"), "{{cache}} p50"),
            Query(quantile(0.99, by="cache", phase="total"), "{{cache}} p99"),
            unit="s", none="no calls",
        ),
        series(
            "Calls, and those remembered",
            "Decisions per minute, by whether the engine's answer was remembered.",
            Query(f"60 * sum by (cache) (rate({total}}}[$__rate_interval]))", "{{cache}}"),
            unit=_PER_MINUTE, none="no calls", stacked=True,
            overrides=[override("hit", color=colour(GREEN)), override("miss", color=colour(BLUE))],
        ),
        series(
            "Errors of the engine",
            "Questions to OPA without a usable answer, per minute, by what was wrong. Each such call was denied.",
            Query(
                f"60 * sum by (kind) (rate(mcp_policy_engine_errors_total{{{SERVER}}}[$__rate_interval])) > 0",
                "{{kind}}"
            ),
            unit=_PER_MINUTE, none="none", bars=True, stacked=True,
        ),
        series(
            "Errors of the store, and defects",
            "Failures of the store of counters and approvals, and defects of the sidecar, per minute.",
            Query(f"60 * sum(rate(mcp_policy_store_errors_total{{{SERVER}}}[$__rate_interval]))", "store"),
            Query(f"60 * sum(rate(mcp_policy_internal_errors_total{{{SERVER}}}[$__rate_interval]))", "defects"),
            unit=_PER_MINUTE, none="none", bars=True, stacked=True,
            overrides=[override("store", color=colour(ORANGE)), override("defects", color=colour(RED))],
        ),
        series(
            "Conditions that could not be met as written",
            "Calls per minute that a condition refused since it met a wrong type, or a path that the call lacks. The "
            "rule may be written for other arguments than the tool takes.",
            Query(
                f"60 * sum by (rule, problem) (rate(mcp_policy_condition_problems_total{{{TOOL}}}[$__rate_interval])) "
                f"> 0",
                "{{rule}}: {{problem}}",
            ),
            unit=_PER_MINUTE, none="none", bars=True, stacked=True,
        ),
    ]  # fmt: skip


def _upstream() -> list[Json]:
    rate = f"sum by (le, tool) (rate(mcp_policy_upstream_duration_seconds_bucket{{{TOOL}}}[$__rate_interval]))"
    outcomes = {"success": GREEN, "failure": YELLOW, "error": ORANGE, "unknown": RED, "not_run": GREY}
    return [
        row("MCP server"),
        series(
            "Time until the server answered",
            "p95 of the calls that it answered, by tool: 19 of 20 took no longer. The ten slowest tools.",
            Query(f"topk(10, histogram_quantile(0.95, {rate}) > 0)", "{{tool}}"),
            unit="s", none="no calls were answered",
        ),
        series(
            "How calls ended",
            "Calls that went to the server, per minute: `failure` is a result with isError, `error` an error of the "
            "protocol, `not_run` certainly did not run, of `unknown` nobody knows.",
            Query(
                f"60 * sum by (outcome) (rate(mcp_policy_calls_settled_total{{{TOOL}}}[$__rate_interval]))",
                "{{outcome}}"
            ),
            unit=_PER_MINUTE, none="no calls", stacked=True,
            overrides=[override(name, color=colour(color)) for name, color in outcomes.items()],
        ),
        series(
            "Errors of the server",
            "How often the server could not be reached or gave no answer, per minute, by reason.",
            Query(
                f"60 * sum by (reason) (rate(mcp_policy_upstream_errors_total{{{SERVER}}}[$__rate_interval])) > 0",
                "{{reason}}",
            ),
            unit=_PER_MINUTE, none="none", bars=True, stacked=True,
        ),
    ]  # fmt: skip


def _refused_and_lost() -> list[Json]:
    return [
        row("Refused and lost before a decision"),
        series(
            "Refused HTTP requests",
            "Requests that a listener refused by their head, per minute: no token, a foreign Host or Origin, an "
            "unknown session.",
            Query(
                f"60 * sum by (status, reason) (rate(mcp_policy_http_refusals_total{{{SERVER}}}[$__rate_interval])) > "
                f"0",
                "{{status}} {{reason}}",
            ),
            unit=_PER_MINUTE, none="none", bars=True, stacked=True,
        ),
        series(
            "Messages that went nowhere",
            "Dropped messages by their sender, and messages whose method the policy denies, per minute.",
            Query(
                f"60 * sum by (sender) (rate(mcp_policy_dropped_messages_total{{{SERVER}}}[$__rate_interval])) > 0",
                "dropped, of the {{sender}}",
            ),
            Query(
                f'60 * sum by (method) (rate(mcp_policy_denied_methods_total{{{SERVER}, mode="enforce"}}'
                "[$__rate_interval])) > 0",
                "denied method {{method}}",
            ),
            unit=_PER_MINUTE, none="none", bars=True, stacked=True,
        ),
        series(
            "Audit lines and spans",
            "Audit lines that were written and lost, and spans that were sent and lost, per minute.",
            Query(f"60 * sum(rate(mcp_policy_audit_lines_total{{{SERVER}}}[$__rate_interval]))", "audit lines"),
            Query(
                f"60 * sum(rate(mcp_policy_audit_lost_lines_total{{{SERVER}}}[$__rate_interval]))",
                "audit lines lost",
            ),
            Query(
                f"60 * sum by (result) (rate(mcp_policy_otlp_spans_total{{{SERVER}}}[$__rate_interval]))",
                "spans {{result}}",
            ),
            unit=_PER_MINUTE, none="none",
            overrides=[override("audit lines lost", color=colour(RED)), override("spans lost", color=colour(ORANGE)),
                       override("audit lines", color=colour(GREEN)), override("spans sent", color=colour(BLUE))],
        ),
    ]  # fmt: skip


def _sidecars() -> list[Json]:
    def of_process(expr: str) -> str:
        return f"max by (instance, server) ({expr} * on (job, instance) group_left (server) {_SIDECARS})"

    cpu = 'rate(process_cpu_seconds_total{namespace=~"$namespace"}[$__rate_interval])'
    memory = 'process_resident_memory_bytes{namespace=~"$namespace"}'
    files = 'process_open_fds{namespace=~"$namespace"}'
    return [
        row("Sidecars"),
        series(
            "Memory",
            "Resident memory of each sidecar, without OPA's.",
            Query(of_process(memory), "{{server}} {{instance}}"),
            unit="bytes", none="no sidecars", size=(6, 8),
        ),
        series(
            "CPU",
            "The part of one core that each sidecar uses, without OPA.",
            Query(of_process(cpu), "{{server}} {{instance}}"),
            unit="percentunit", none="no sidecars", size=(6, 8),
        ),
        series(
            "Sessions",
            "Sessions that are open at each sidecar.",
            Query(f"max by (instance, server) (mcp_policy_sessions{{{SERVER}}})", "{{server}} {{instance}}"),
            unit="short", decimals=0, none="no sidecars", size=(6, 8), stepped=True,
        ),
        series(
            "Open files",
            "File descriptors that each sidecar has open: connections, pipes, files.",
            Query(of_process(files), "{{server}} {{instance}}"),
            unit="short", decimals=0, none="no sidecars", size=(6, 8),
        ),
    ]  # fmt: skip
