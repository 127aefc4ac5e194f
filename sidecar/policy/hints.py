"""Warnings about a policy that is right: what it does not do although it looks so, and what says it more safely."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from sidecar.policy import folder_hints, hosts
from sidecar.policy.applies import applying
from sidecar.policy.classes import rules_of
from sidecar.policy.model import CallerPath, Condition, Policy, PolicyEntry, PolicyFile, Rule
from sidecar.policy.paths import Path, overlap, shown
from sidecar.policy.problem import Place, Problem

_UNKNOWN: Final = "on stdio nobody is authenticated, and one token for all says of nobody who it is"
_APART: Final = "write approvals: {four_eyes: true}, and serve over HTTP with --jwt-jwks, if it must be somebody else"


def hints(policy: Policy, files: Sequence[PolicyFile], *, alone: bool = True) -> list[Problem]:
    """Every warning about a policy without mistakes, which is that of the files.

    What a class gives to its tools is told once, where it stands. Where the policy is not `alone`, hand-written Rego
    beside it may refuse what it allows.
    """
    found = [*_without_rules(policy, files, alone=alone), *_unused_classes(policy)]
    found += [*_unguarded(policy), *_only_tried(policy)]
    for entry in policy.entries:
        if not entry.by_class:
            found += _of_entry(policy, entry)
    for item in policy.classes:
        rules = PolicyEntry(item.risk, rules_of(item, item.risk), item.place)
        found += (
            replace(hint, where=f"classes{hint.where.removeprefix('tools')}") for hint in _of_entry(policy, rules)
        )
    return found


def notes(policy: Policy) -> list[Problem]:
    """What to know of a policy whose rules are right only where the sidecar is run so: the start knows how it is."""
    return [*_about_principals(policy), *_about_approvals(policy)]


def where(rule: Rule) -> str:
    """The place of a rule, in words."""
    return f"tools.{rule.entry}.rules[{rule.position}]"


def _without_rules(policy: Policy, files: Sequence[PolicyFile], *, alone: bool) -> Iterator[Problem]:
    """Files that say nothing, and rules that hold nothing back; where nothing is said at all, one file in any case."""
    rules = [rule for entry in policy.entries for rule in entry.rules]
    holds_nothing_back = alone and not any(rule.holds_back for rule in rules)
    if rules and holds_nothing_back and policy.default == "allow" and not policy.hide:
        yield from _holding_nothing_back(policy)
    allows_all = holds_nothing_back and not _closes(policy)
    empty = [file for file in files if (alone or len(files) > 1) and _says_nothing(policy, file)]
    for file in empty or (files[:1] if allows_all and not rules else []):
        if allows_all:
            text = "no rule stands here, so it allows everything: write rules under tools, or default: deny"
        else:
            text = (
                "no rule stands here, so by itself it allows everything: write rules under tools, or default: deny, or "
                "leave this file out"
            )
        yield Problem(Place(file.source.file, 1, 1), "file", text, warning=True)


def _holding_nothing_back(policy: Policy) -> Iterator[Problem]:
    """The first rule of those that only report, or else of those that only allow, where no other rule stands."""
    written = list(_as_written(policy))
    reporting = [(place, rule) for place, rule in written if rule.monitor]
    allowing = [(place, rule) for place, rule in written if rule.action == "allow"]
    if reporting and policy.mode == "enforce":  # the start tells of a policy that is as a whole in monitor mode
        place, rule = reporting[0]
        mode = "shadow" if rule.shadow else "monitor"
        text = f"mode: {mode} only reports, and no other rule refuses anything, so every call is allowed: remove it"
        yield Problem(rule.place, place, f"{text} when the rule was tried enough", warning=True)
    elif allowing and not reporting:
        place, rule = allowing[0]
        text = "no rule refuses anything, so every other tool is allowed too: write default: deny if only these may be"
        yield Problem(rule.place, place, f"{text} called", warning=True)


def _closes(said: Policy | PolicyFile) -> bool:
    """True where something is refused without a rule."""
    methods = said.methods
    return bool(said.default == "deny" or said.hide or methods.unknown == "deny" or methods.deny)


def _says_nothing(policy: Policy, file: PolicyFile) -> bool:
    """True for a file that adds neither a rule nor a setting to what the others say."""
    if _closes(file) or file.approvals or file.mode or file.listed or any(item.rules for item in file.classes):
        return False
    opens = policy.default == "deny"  # where a tool is refused unless a file names it
    return not any(entry.rules or entry.risk or entry.severity or (opens and entry.permits) for entry in file.entries)


def _of_entry(policy: Policy, entry: PolicyEntry) -> Iterator[Problem]:
    yield from _unreachable(entry)
    yield from _unread_decimals(entry)
    yield from _of_a_session(entry)
    for rule in entry.rules:
        yield from _unmeetable(rule)
        yield from _masked(policy, rule)
        for at, condition in enumerate(rule.conditions, 1):
            if advice := folder_hints.advice(rule.action, condition) or _other_ports(rule, condition):
                yield Problem(condition.place, f"{where(rule)}.conditions[{at}]", advice, warning=True)


def _masked(policy: Policy, rule: Rule) -> Iterator[Problem]:
    """What a rule does with values that people may not see."""
    grant = rule.approval.grant if rule.approval else None
    for path in grant.at_most if grant else ():
        if _is_masked(policy, path):
            text = f"approvals.mask hides {shown('args', path)}, so no call is like the one that was approved: name it"
            yield Problem(rule.place, f"{where(rule)}.grant.at_most", f"{text} under same", warning=True)
    for amount in (rule.amount.path, rule.amount.times) if rule.amount else ():
        if amount is not None and _is_masked(policy, amount):
            text = (
                f"approvals.mask hides {shown('args', amount)}, and this rule counts it: who approves a call sees what"
            )
            yield Problem(rule.place, where(rule), f"{text} the limit will be after it", warning=True)


def _is_masked(policy: Policy, path: Path) -> bool:
    return any(overlap(path, mask) for mask in policy.approvals.mask)


def _about_principals(policy: Policy) -> list[Problem]:
    places = [
        (condition.path_place, f"{place}.conditions[{at}].path")
        for place, rule in _as_written(policy)
        for at, condition in enumerate(rule.conditions, 1)
        if isinstance(condition.subject, CallerPath) and condition.subject.root == "principal"
    ]
    text = (
        "a principal is known only over HTTP with --jwt-jwks or --auth-token-file: on stdio nobody is authenticated, "
        "and the path does not exist"
    )
    return [Problem(*min(places), text, warning=True)] if places else []


def _about_approvals(policy: Policy) -> Iterator[Problem]:
    """What the first rule that asks people needs of whoever runs the sidecar."""
    found = ((place, rule) for place, rule in _as_written(policy) if _asks_people(policy, rule))
    asking = sorted(found, key=lambda item: (item[1].place, item[0]))
    if not asking:
        return
    place, first = asking[0]
    if not policy.approvals.webhook and not policy.approvals.hold:  # who holds a call lets its client tell of it
        text = (
            "a person is asked, and nothing here says how anybody hears of it: answer with `sidecar approvals`, run "
            "with --approvals and --approvers-file, or write approvals: {notify: …} to tell another system, or "
            "{hold: …} for somebody who sits at the client"
        )
        yield Problem(first.place, place, text, warning=True)
    if policy.approvals.four_eyes and policy.approvals.place:
        text = f"who asks is known only over HTTP with --jwt-jwks: {_UNKNOWN}, and whoever asked may approve too"
        yield Problem(policy.approvals.place, "approvals.four_eyes", text, warning=True)
    for place, rule in asking:
        if rule.approval and rule.approval.approvers > 1 and not policy.approvals.four_eyes:
            text = f"one of the {rule.approval.approvers} may be who asked"
            yield Problem(rule.place, f"{place}.approvers", f"{text}: {_APART}", warning=True)
            return


def _as_written(policy: Policy) -> Iterator[tuple[str, Rule]]:
    """Each rule where it stands, with its place in words: those of a class once."""
    for item in policy.classes:
        yield from ((f"classes.{rule.entry}.rules[{rule.position}]", rule) for rule in item.rules)
    for entry in policy.entries:
        if not entry.by_class:
            yield from ((where(rule), rule) for rule in entry.rules)


def _asks_people(policy: Policy, rule: Rule) -> bool:
    return rule.action == "require_approval" and not rule.monitor and policy.mode == "enforce"


def _unreachable(entry: PolicyEntry) -> Iterator[Problem]:
    denied: Place | None = None
    for rule in entry.rules:
        if denied:
            text = f"can never be reached, nor what follows: line {denied.line} denies every call before it"
            yield Problem(rule.place, where(rule), text, warning=True)
            return  # the same holds for all that follow
        if rule.action == "deny" and not rule.conditions and not rule.monitor:
            denied = rule.place


def _unmeetable(rule: Rule) -> Iterator[Problem]:
    if rule.bound and rule.never_passed:
        yield Problem(rule.place, where(rule), "nobody can meet this limit: not even one call fits", warning=True)


def _of_a_session(entry: PolicyEntry) -> Iterator[Problem]:
    """Counts that guard money, and that whoever reconnects has anew."""
    spending = next((rule.place.line for rule in entry.rules if rule.spend_limit), None)
    for rule in entry.rules:
        if rule.counter is None or rule.scope != "session":
            continue
        if rule.amount:
            advice = "guard money with scope: global or principal"
        elif rule.bound and spending:
            advice = f"line {spending} limits what may be spent here, so write scope: global or principal"
            advice += " (without scope this block counts by session)" if rule.rate_limit else ""
        else:
            continue
        text = f"a session's count starts anew when the agent reconnects: {advice}"
        yield Problem(rule.place, where(rule), text, warning=True)


def _unread_decimals(entry: PolicyEntry) -> Iterator[Problem]:
    """Comparisons with numbers that text never meets, of arguments that come as text by the entry's other rules."""
    lines: dict[Path, int] = {}
    for rule in entry.rules:
        if rule.amount and rule.amount.decimal_text:
            lines.setdefault(rule.amount.path, rule.place.line)
        for condition in rule.conditions:
            if condition.decimal_text and isinstance(condition.subject, tuple):
                lines.setdefault(condition.subject, condition.path_place.line)
    for rule in entry.rules:
        for path in rule.approval.grant.at_most if rule.approval and rule.approval.grant else ():
            if path in lines:
                text = f"line {lines[path]} reads {shown('args', path)} with decimal_text, and here a number in quotes"
                text = f"{text} is only text, which no standing approval fits: name it under same"
                yield Problem(rule.place, f"{where(rule)}.grant.at_most", text, warning=True)
        for at, condition in enumerate(rule.conditions, 1):
            line = _compared(condition, lines)
            if line is not None:
                text = f"line {line} reads this argument with decimal_text: without it a number in quotes is only text"
                place = f"{where(rule)}.conditions[{at}]"
                yield Problem(condition.path_place, place, f"{text}; add decimal_text: true", warning=True)


def _compared(condition: Condition, lines: dict[Path, int]) -> int | None:
    """The line that reads the argument with `decimal_text`, where this condition compares its size without."""
    if condition.op not in ("lt", "lte", "gt", "gte") or condition.decimal_text:
        return None
    return lines.get(condition.subject) if isinstance(condition.subject, tuple) else None


def _other_ports(rule: Rule, condition: Condition) -> str | None:
    """What to write in a deny list whose entry is about one port only, or None."""
    if rule.action == "evaluate" or condition.op != "host_in" or not isinstance(condition.value, tuple):
        return None
    for entry in hosts.compiled(condition.value):
        assert isinstance(entry, Mapping)
        if entry["port"] == hosts.DEFAULT_PORT:
            name = f"{'*.' if entry['below'] else ''}{entry['host']}"
            return f"{name} is about the default port only, and a URL with another port passes: write {name}:*"
    return None


def _unused_classes(policy: Policy) -> Iterator[Problem]:
    used = {entry.risk for entry in policy.entries}
    for item in policy.classes:
        if item.risk not in used:
            text = f"no tool has this class: write class: {item.risk} under a tool, or remove it"
            yield Problem(item.place, f"classes.{item.risk}", text, warning=True)


def _unguarded(policy: Policy) -> Iterator[Problem]:
    if policy.default == "deny":
        return
    known = applying(policy)
    for entry in policy.entries:
        if entry.risk not in ("Financial", "Destructive") or known.hides(entry.tool):
            continue
        applied = (*known.any_tool, entry) if entry.is_pattern else known.to(entry)
        if all(rule.shadow for other in applied for rule in other.rules):
            text = f"a {entry.risk} tool that any call may use: give it rules, or write default: deny"
            yield Problem(entry.place, f"tools.{entry.tool}", text, warning=True)


def _only_tried(policy: Policy) -> Iterator[Problem]:
    if policy.default != "deny":
        return
    for entry in policy.entries:
        if entry.is_in_shadow and entry.tool.strip("*?"):
            text = "all rules here are in shadow, which permit nothing, so default: deny refuses the tool as before"
            yield Problem(entry.place, f"tools.{entry.tool}", f"{text}; permit it with - action: allow", warning=True)
