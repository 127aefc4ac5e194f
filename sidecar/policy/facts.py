"""The facts of a policy beside its Rego (`intercept/facts`), for the library in the bundle and for the sidecar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from sidecar.policy.applies import Applying, applying
from sidecar.policy.content import content
from sidecar.policy.custom import CheckedCustom
from sidecar.policy.model import (
    Approval,
    Approvals,
    CallerPath,
    Condition,
    CounterName,
    Granting,
    Policy,
    PolicyEntry,
    Rule,
)
from sidecar.policy.names import glob, is_pattern
from sidecar.policy.operators import OPERATORS
from sidecar.policy.paths import Path, in_order
from sidecar.policy.words import says


def facts(policy: Policy, custom: CheckedCustom | None = None) -> dict[str, Any]:
    """Settings, the rules by tool in order of precedence, and what they read; numbers are exact.

    What is known of hand-written Rego stands under `custom`, where there is any.
    """
    found = _facts(policy)
    return found if custom is None else found | {"custom": custom.facts}


def _facts(policy: Policy) -> dict[str, Any]:
    known = applying(policy)
    exact, any_tool = known.exact, known.any_tool
    patterns = [entry for _, entry in known.patterns]
    counted = policy.counters()
    return {
        "sources": [{"file": file_name(source.file), "sha256": source.sha256} for source in policy.sources],
        "default": policy.default,
        "methods": {
            "unknown": policy.methods.unknown,
            "allow": sorted(policy.methods.allow),
            "deny": sorted(policy.methods.deny),
        },
        "mode": policy.mode,
        "hide": {
            "tools": [item.name for item in policy.hide if not is_pattern(item.name)],
            "patterns": [glob(item.name) for item in policy.hide if is_pattern(item.name)],
        },
        "list": policy.listed,
        "approvals": _approvals(policy.approvals),
        "tools": {entry.tool: [_fact(policy, rule, entry) for rule in entry.rules] for entry in exact},
        **_shadowed(exact),
        "patterns": [_pattern(policy, entry) for entry in patterns],
        "any_tool": [_fact(policy, rule, entry) for entry in any_tool for rule in entry.rules],
        "never_passed": {
            "tools": {entry.tool: names for entry in exact if (names := _never_passed(entry))},
            "patterns": [
                {"position": at, "rules": names} for at, entry in enumerate(patterns) if (names := _never_passed(entry))
            ],
            "any_tool": [name for entry in any_tool for name in _never_passed(entry)],
        },
        "risks": {
            "tools": {entry.tool: risk for entry in exact if (risk := _risk(entry))},
            "patterns": [_risk(entry) for entry in patterns],
            "any_tool": [_risk(entry) for entry in any_tool],
        },
        "reserves": _reserves(known),
        "reads": {
            "tools": {entry.tool: _reads(entry, counted) for entry in exact if entry.rules},
            "patterns": [_reads(entry, counted) for entry in patterns],
            "any_tool": [_reads(entry, counted) for entry in any_tool],
        },
    }


def _pattern(policy: Policy, entry: PolicyEntry) -> dict[str, Any]:
    """The facts of an entry for the tools that a pattern matches."""
    fact: dict[str, Any] = {
        "name": entry.tool,
        "pattern": glob(entry.tool),
        "permits": entry.permits,
        "rules": [_fact(policy, rule, entry) for rule in entry.rules],
    }
    return fact | {"by_class": True} if entry.by_class else fact


def _shadowed(exact: Sequence[PolicyEntry]) -> dict[str, list[str]]:
    """The tools that are in the policy for a trial only: nothing but their rules comes of it."""
    tools = [entry.tool for entry in exact if entry.is_in_shadow]
    return {"shadowed": tools} if tools else {}


def _never_passed(entry: PolicyEntry) -> list[str]:
    """The names of an entry's rules that no call gets past."""
    return [rule.name for rule in entry.rules if rule.never_passed and not rule.monitor]


def _risk(entry: PolicyEntry) -> dict[str, str]:
    """The class and the severity that an entry gives to its tools, each only where it gives one."""
    given = {"class": entry.risk, "severity": entry.known_severity}
    return {name: value for name, value in given.items() if value}


def _fact(policy: Policy, rule: Rule, entry: PolicyEntry) -> dict[str, Any]:
    """The facts of one rule. Where `refuses` or `asks` is missing, that depends on the call."""
    fact: dict[str, Any] = {
        "id": rule.id,
        "name": rule.name,
        "kind": rule.kind,
        "reason": rule.message,
        "file": file_name(rule.place.file),
        "line": rule.place.line,
        "monitor": rule.monitor,
    }
    if rule.shadow:
        fact["shadow"] = True
    if said := says(rule):
        fact["says"] = said
    if rule.denies or not rule.may_refuse:
        fact["refuses"] = "always" if rule.denies else "never"
    if rule.always_asks:
        fact["asks"] = "always"
    if rule.amount:
        fact["needs_amount"] = rule.amount_message
    if rule.counter:
        fact |= _counted(rule, entry)
    if rule.approval:
        fact["approval"] = _approval(policy.approvals, rule, rule.approval)
    return fact


def _approval(common: Approvals, rule: Rule, asked: Approval) -> dict[str, Any]:
    """What a rule asks people for. `content` stands for what the rule says: an approval is for that only."""
    fact: dict[str, Any] = {
        "timeout": asked.timeout or common.timeout,
        "use_within": common.use_within,
        "approvers": asked.approvers,
        "content": content(rule),
    }
    return fact | {"grant": _grant(asked.grant)} if asked.grant else fact


def _grant(grant: Granting) -> dict[str, Any]:
    return {"for": grant.seconds, "calls": grant.calls, "same": grant.same, "at_most": grant.at_most}


def _reserves(known: Applying) -> dict[str, Any]:
    """What each call takes that is proved to pass, where that is the same for every such call.

    Under `tools` for those with rules of their own, under `others` for all that have none.
    """
    tools = {entry.tool: _reserve(known.to(entry)) for entry in known.exact if known.provable(entry)}
    reserves: dict[str, Any] = {"tools": {tool: taken for tool, taken in tools.items() if taken is not None}}
    others = _reserve(known.any_tool)
    if others is not None and not any(rule.counter for _, entry in known.patterns for rule in entry.rules):
        reserves["others"] = others
    return reserves


def _reserve(entries: Sequence[PolicyEntry]) -> list[dict[str, Any]] | None:
    """What the rules of some entries take together; None when it depends on the call."""
    counting = [(rule, _counted(rule, entry)) for entry in entries for rule in entry.rules if rule.counter]
    if any(rule.amount for rule, _ in counting):
        return None
    return [{**counted["limit"], "amount": counted["increment"], "rule": rule.name} for rule, counted in counting]


def _counted(rule: Rule, entry: PolicyEntry) -> dict[str, Any]:
    bound = rule.bound
    limit: dict[str, Any] = {
        "counter": f"{entry.counters}.{rule.stored}",
        "limit": bound.value if bound and not bound.impossible else None,  # then the rule itself refuses every call
        "window": rule.window.label,
        "scope": rule.scope,
        "reason": rule.limit_message,
        "kind": "spend_limit" if rule.amount else "rate_limit",
    }
    if bound and bound.exclusive and not bound.impossible:
        limit["exclusive"] = True
    if entry.counts_each_tool:
        limit["each_tool"] = True
    if rule.window.sliding:
        limit["sliding"] = True
    if rule.shadow:
        limit["shadow"] = True
    counted: dict[str, Any] = {"limit": limit, "refund": rule.refund}
    return counted if rule.amount else counted | {"increment": rule.state.increment if rule.state else 1}


def _approvals(approvals: Approvals) -> dict[str, Any]:
    return {
        "timeout": approvals.timeout,
        "use_within": approvals.use_within,
        "hold": approvals.hold,
        "four_eyes": approvals.four_eyes,
        "mask": approvals.mask,
        "answer": approvals.answer,
        "webhook": {"url": approvals.webhook.url, "secret_env": approvals.webhook.secret_env}
        if approvals.webhook
        else None,
    }


def _reads(entry: PolicyEntry, counted: Mapping[CounterName, tuple[PolicyEntry, Rule]]) -> dict[str, Any]:
    """What an entry's rules read: paths into the arguments and about the caller, counters, and the keys they permit.

    A path about the caller begins with its root. `only` is None where no rule says which arguments a call may have.
    Under `shadow` is what rules in shadow read of the arguments: no call is refused for how it writes that.
    """
    active = [rule for rule in entry.rules if not rule.shadow]
    in_shadow = [rule for rule in entry.rules if rule.shadow]
    subjects = {condition.subject for rule in entry.rules for condition in rule.asked}
    about = {(subject.root, *subject.steps) for subject in subjects if isinstance(subject, CallerPath)}
    reads = {
        **_of_arguments(active),
        **_nul_judged(active),
        "caller": in_order(about),
        "counters": _counters_read(active, counted),
    }
    return reads | {"shadow": _of_arguments(in_shadow)} if in_shadow else reads


def _of_arguments(rules: Sequence[Rule]) -> dict[str, Any]:
    """What some rules read of the arguments."""
    conditions = [condition for rule in rules for condition in rule.asked]
    permitted = {name for rule in rules for name in rule.only or ()}
    return {
        "paths": in_order(_paths(conditions) | _paths_beside(rules)),
        "only": sorted(permitted) if any(rule.only is not None for rule in rules) else None,
    }


def _nul_judged(rules: Sequence[Rule]) -> dict[str, Any]:
    """The paths at which the rules themselves judge a text with a NUL character: nothing else reads there."""
    conditions = [condition for rule in rules for condition in rule.asked]
    others = [condition for condition in conditions if not OPERATORS[condition.op].judges_nul]
    judged = _paths(conditions) - _paths(others) - _paths_beside(rules)
    return {"nul_judged": in_order(judged)} if judged else {}


def _paths(conditions: Sequence[Condition]) -> set[Path]:
    """The paths into the arguments that conditions read."""
    paths = {condition.subject for condition in conditions if isinstance(condition.subject, tuple)}
    return paths | {condition.times for condition in conditions if condition.times is not None}


def _paths_beside(rules: Sequence[Rule]) -> set[Path]:
    """The paths into the arguments that rules read beside those of their conditions."""
    amounts = [rule.amount for rule in rules if rule.amount]
    paths = {amount.path for amount in amounts} | {amount.times for amount in amounts if amount.times is not None}
    # What a standing approval holds a call to must not come under a look-alike of its name either.
    grants = [rule.approval.grant for rule in rules if rule.approval and rule.approval.grant]
    return paths | {path for grant in grants for path in (*grant.same, *grant.at_most)}


def _counters_read(
    rules: Sequence[Rule], counted: Mapping[CounterName, tuple[PolicyEntry, Rule]]
) -> list[dict[str, Any]]:
    """The counters that some rules read, none of which is in shadow."""
    subjects = {condition.subject for rule in rules for condition in rule.asked}
    counters = []
    for name in sorted((subject for subject in subjects if isinstance(subject, CounterName)), key=str):
        kept, rule = counted[name]  # `check` has seen that it is there
        counter: dict[str, Any] = {
            "name": str(name),
            "counter": f"{kept.counters}.{rule.stored}",
            "window": rule.window.label,
            "scope": rule.scope,
        }
        if kept.counts_each_tool:
            counter["each_tool"] = True
        if rule.window.sliding:
            counter["sliding"] = True
        counters.append(counter)
    return counters


def file_name(source: str) -> str:
    """The name of a policy file without its folder, so that the same policy makes the same bundle in every folder."""
    return PurePath(source).name
