"""What changes between two policies though no single call shows it: methods, approvals, refunds, lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sidecar.mcp.protocol import OF_CLIENTS
from sidecar.policy.model import Approval, Granting, Methods, Policy, Rule
from sidecar.policy.paths import Path, shown
from sidecar.rehearsal.diff.sides import line_of

_REFUNDS = ("never", "not_run", "on_error", "on_failure")
"""From the one that gives back least."""


@dataclass(frozen=True, slots=True)
class SettingChanged:
    """One setting, before and after, in words; `opens` where what was refused now passes. `line` as `file:line`."""

    what: str
    old: str
    new: str
    is_looser: bool
    line: str = ""
    opens: bool = False


def settings_changed(old: Policy, new: Policy) -> tuple[SettingChanged, ...]:
    """The changes, those that loosen first."""
    found = [*_methods(old.methods, new.methods), *_of_policy(old, new), *_of_rules(old, new)]
    return tuple(sorted(found, key=gravity))


def gravity(change: SettingChanged) -> tuple[bool, bool]:
    """The order in which changes are told: what opens, what loosens, all else."""
    return not change.opens, not change.is_looser


def _methods(old: Methods, new: Methods) -> Iterator[SettingChanged]:
    names = sorted({*OF_CLIENTS, *old.allow, *old.deny, *new.allow, *new.deny})
    for name in names:
        before, after = (_passes(methods, name) for methods in (old, new))
        if before != after:
            yield SettingChanged(f"method {name}", _word(before), _word(after), after, opens=after)
    if old.unknown != new.unknown:
        opens = new.unknown == "allow"
        yield SettingChanged("methods that are not known", old.unknown, new.unknown, opens, opens=opens)


def _passes(methods: Methods, name: str) -> bool:
    if name in methods.deny:
        return False
    return name in OF_CLIENTS or name in methods.allow or methods.unknown == "allow"


def _word(passes: bool) -> str:
    return "allow" if passes else "deny"


def _of_policy(old: Policy, new: Policy) -> Iterator[SettingChanged]:
    one, other = old.approvals, new.approvals
    place = other.place or one.place
    line = line_of(place) if place is not None else ""
    if one.four_eyes != other.four_eyes:
        yield _said("approvals.four_eyes", one.four_eyes, other.four_eyes, one.four_eyes, line)
    for name in ("timeout", "use_within", "hold"):
        before, after = getattr(one, name), getattr(other, name)
        if before != after:
            yield _said(f"approvals.{name}", f"{before} s", f"{after} s", after > before and name != "hold", line)
    if set(one.mask) != set(other.mask):
        yield _said("approvals.mask", _paths(one.mask), _paths(other.mask), bool({*one.mask} - {*other.mask}), line)
    if one.answer != other.answer:
        yield _said("approvals.answer", one.answer, other.answer, False, line)
    if one.webhook != other.webhook:
        yield _said("approvals.notify", _webhook(one.webhook), _webhook(other.webhook), False, line)
    if old.listed != new.listed:
        yield _said("list", old.listed, new.listed, new.listed == "all", "")


def _of_rules(old: Policy, new: Policy) -> Iterator[SettingChanged]:
    """What rules say of approvals and refunds, of those that both policies have."""
    before = _rules(old)
    for key, rule in _rules(new).items():
        was = before.get(key)
        if was is None:
            continue
        name, line = f"rule {rule.name}", line_of(rule.place)
        if was.approval is not None and rule.approval is not None:
            yield from _of_approval(name, line, was.approval, rule.approval)
        if was.counter is not None and rule.counter is not None and was.refund != rule.refund:
            looser = _REFUNDS.index(rule.refund) > _REFUNDS.index(was.refund)
            yield _said(f"{name}: refund", was.refund, rule.refund, looser, line)


def _of_approval(name: str, line: str, old: Approval, new: Approval) -> Iterator[SettingChanged]:
    if old.approvers != new.approvers:
        yield _said(f"{name}: approvers", old.approvers, new.approvers, new.approvers < old.approvers, line)
    if old.timeout != new.timeout:
        before, after = ("as in approvals" if one is None else f"{one} s" for one in (old.timeout, new.timeout))
        looser = old.timeout is not None and (new.timeout is None or new.timeout > old.timeout)
        yield _said(f"{name}: approval_timeout", before, after, looser, line)
    if old.grant != new.grant:
        yield _said(f"{name}: grant", _grant(old.grant), _grant(new.grant), _grants_more(old.grant, new.grant), line)


def _grants_more(old: Granting | None, new: Granting | None) -> bool:
    if old is None or new is None:
        return new is not None
    return (
        new.seconds > old.seconds
        or new.calls > old.calls
        or bool({*old.same} - {*new.same})
        or bool({*old.at_most} - {*new.at_most, *new.same})
    )


def _grant(grant: Granting | None) -> str:
    if grant is None:
        return "none"
    at_most = f", no greater {_paths(grant.at_most)}" if grant.at_most else ""
    return f"{grant.calls} calls within {grant.seconds} s, with the same {_paths(grant.same)}{at_most}"


def _rules(policy: Policy) -> Mapping[object, Rule]:
    """Rules by what makes them the same in both policies: the name, or else what they are about."""
    found: dict[object, Rule] = {}
    for entry in policy.entries:
        for rule in entry.rules:
            conditions = tuple((str(one.subject), one.op) for one in rule.conditions)
            key = (
                (entry.tool, rule.given_name) if rule.given_name else (entry.tool, rule.action, conditions, rule.stored)
            )
            found.setdefault(key, rule)
    return found


def _said(what: str, old: Any, new: Any, is_looser: bool, line: str) -> SettingChanged:
    return SettingChanged(what, _text(old), _text(new), is_looser, line)


def _text(value: Any) -> str:
    return str(value).lower() if type(value) is bool else str(value)


def _paths(found: tuple[Path, ...]) -> str:
    return ", ".join(shown("args", path) for path in found) or "nothing"


def _webhook(webhook: Any) -> str:
    return "nobody" if webhook is None else "a webhook"
