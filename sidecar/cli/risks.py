"""`sidecar risks`: every tool of a policy with its class and severity, and what the policy does with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer

from sidecar.cli.options import ConfigOrFiles, Files, OpaBin, one_of, policies
from sidecar.cli.printing import say
from sidecar.engine import binary
from sidecar.mcp import strict_json
from sidecar.policy.applies import Applying, applying
from sidecar.policy.bundle import build
from sidecar.policy.compile import compile_policy
from sidecar.policy.model import ANY_TOOL, SEVERITIES, Policy, PolicyEntry, Rule, Window
from sidecar.policy.rego import plain_number
from sidecar.policy.risks import Risk
from sidecar.repository.load import find, load
from sidecar.text import visible


def risks_command(
    ctx: typer.Context,
    files: Files = None,
    config: ConfigOrFiles = None,
    severity: Annotated[
        str | None, typer.Option(metavar="SEVERITY", help=f"Only tools of this severity: {', '.join(SEVERITIES)}.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    opa_bin: OpaBin = None,
) -> int:
    """Say what a policy does with each of its tools, the most dangerous first."""
    wanted = None if severity is None else one_of("--severity", severity, SEVERITIES)
    policy, _ = load(find(policies(ctx, config, files)), lambda: binary.find(opa_bin))
    shown = [line for line in _lines(policy) if wanted is None or line.risk.severity == wanted]
    if as_json:
        say(strict_json.encode([line.document for line in shown]).decode())
        return 0
    if policy.mode == "monitor":
        say("The policy only monitors: every call is forwarded all the same.")
    say(*_in_columns([line.columns for line in shown]))
    return 0


@dataclass(frozen=True, slots=True)
class _Line:
    """What is said of one tool, or of the tools of one pattern; `rules` are the names of the rules that apply."""

    tool: str
    risk: Risk
    does: str
    rules: tuple[str, ...]

    @property
    def document(self) -> dict[str, Any]:
        risk = {"class": self.risk.risk_class, "severity": self.risk.severity}
        return {"tool": self.tool, **risk, "does": self.does, "rules": self.rules}

    @property
    def columns(self) -> tuple[str, str, str, str]:
        return self.risk.severity or "-", self.risk.risk_class or "-", visible(self.tool), visible(self.does)


_RANKS: Final[Mapping[str | None, int]] = {severity: rank for rank, severity in enumerate((*SEVERITIES, None))}


def _lines(policy: Policy) -> list[_Line]:
    """A line for each tool and each pattern of a policy, the most severe in front, else in the order of the files."""
    known, risks = applying(policy), build(compile_policy(policy), serial=1).terms.risks
    lines = []
    for entry in policy.entries:
        if entry.tool == ANY_TOOL:
            continue
        # Whatever else applies to some tool of a pattern, these rules apply to each.
        applied = [entry, *known.any_tool] if entry.is_pattern else known.to(entry)
        risk = Risk(entry.risk, entry.known_severity) if entry.is_pattern else risks.of(entry.tool)
        rules = [(one, rule) for one in applied for rule in one.rules]
        does = _what_befalls(policy, known, entry, rules)
        lines.append(_Line(entry.tool, risk, does, tuple(rule.name for _, rule in rules)))
    return sorted(lines, key=lambda line: _RANKS[line.risk.severity])


def _what_befalls(
    policy: Policy, known: Applying, entry: PolicyEntry, rules: Sequence[tuple[PolicyEntry, Rule]]
) -> str:
    if known.hides(entry.tool):
        return "hidden"
    if policy.default == "deny" and not entry.permits:
        return "not permitted (default: deny)"
    heeded = [(one, rule) for one, rule in rules if not rule.monitor]
    refusing = next((rule for _, rule in heeded if rule.never_passed), None)
    if refusing:
        return f"denied by {refusing.name}"
    asking = [rule for _, rule in heeded if rule.action == "require_approval"]
    passed = "asks a person" if any(not rule.conditions for rule in asking) else "allowed"
    active = sum(not rule.shadow for _, rule in rules)
    parts = [f"{passed}, {_counted(active)}{f' and {len(rules) - active} in shadow' * (active < len(rules))}"]
    if passed == "allowed" and asking:
        parts.append("asks a person under conditions")
    parts += [limit for one, rule in heeded for limit in _limits(one, rule)]
    return "; ".join(parts)


def _counted(rules: int) -> str:
    return "no rules" if rules == 0 else "1 rule" if rules == 1 else f"{rules} rules"


def _limits(entry: PolicyEntry, rule: Rule) -> list[str]:
    """The limits of a rule of an entry in words."""
    limits = []
    if rule.spend_limit and rule.spend_limit.per_call is not None:
        limits.append(f"{rule.spend_limit.amount} at most {plain_number(rule.spend_limit.per_call)} in one call")
    bound = rule.bound
    if bound is not None and rule.counter is not None:
        most = f"{'less than' if bound.exclusive else 'at most'} {plain_number(bound.value)}"
        whose = "" if rule.scope == "global" else f" for each {rule.scope}"
        what = str(rule.amount) if rule.amount else rule.state.counter if rule.state else "calls"
        limits.append(f"{what} {most} {_per(rule.window)}{whose}{_together(entry)}")
    return limits


def _together(entry: PolicyEntry) -> str:
    """Which tools a counter of an entry counts together, where that is more than one."""
    if entry.tool == ANY_TOOL:
        return " over all tools"
    return f" over all of {entry.tool}" if entry.is_pattern and not entry.counts_each_tool else ""


def _per(window: Window) -> str:
    length = window.name if window.name.isalpha() else f"{window.seconds} s"
    return f"in any {length}" if window.sliding else f"per {length}"


def _in_columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """The rows with each column as wide as its longest text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
