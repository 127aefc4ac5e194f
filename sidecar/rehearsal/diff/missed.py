"""What of a change no call was found for: so whether any call is decided otherwise by it is not known."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from sidecar.policy.model import Rule, Value
from sidecar.rehearsal.diff.boundaries import OF_TEXTS
from sidecar.rehearsal.diff.choosing import chosen
from sidecar.rehearsal.diff.probes import other, passing, rows_asked, unexplored
from sidecar.rehearsal.diff.sides import Side, line_of, said
from sidecar.rehearsal.diff.tables import WHICH, Table, Which
from sidecar.text import shown


def missed(table: Table, old: Side, new: Side, differing: Collection[str]) -> Iterator[str]:
    """What of a change no call was found for: a rule that only one of the policies has, or all rules of a tool.

    `differing` are the tools of which a call was found that is decided otherwise.
    """
    tool = table.tool
    if old.said_of(tool) == new.said_of(tool):
        return
    found = list(_missed(table, old, new))
    yield from found
    may_pass = old.is_permitted(tool) or new.is_permitted(tool)
    if may_pass and not found and tool not in differing and _parts(table, "old") != _parts(table, "new"):
        yield f"{shown(tool)}: its rules change, and no call was found that is decided otherwise"


def _parts(table: Table, which: Which) -> list[str]:
    """What rules ask and count, the same after one was renamed or moved, or one that evaluates was taken apart."""
    found: list[object] = []
    for _, rule in table.rules[which]:
        if rule.monitor:
            continue
        asked = [
            repr((one.subject, one.op, one.value, one.times, one.decimal_text, one.optional)) for one in rule.asked
        ]
        found += asked if rule.action == "evaluate" else [(rule.action, sorted(asked))]
        if rule.counter is not None:
            found.append((rule.rate_limit, rule.spend_limit, rule.bound, rule.stored))
        if rule.only is not None:
            found.append(rule.only)
    return sorted(map(repr, found))


def _missed(table: Table, old: Side, new: Side) -> Iterator[str]:
    tool = table.tool
    known: dict[Which, set[object]] = {which: set(map(said, table.rules[which])) for which in WHICH}
    changed = {
        (which, rule.id): ruled
        for which in WHICH
        for ruled in table.rules[which]
        for rule in (ruled[1],)
        if said(ruled) not in known[other(which)]
    }
    blind = unexplored(table)
    for key, ruled in changed.items():
        if key in blind:
            yield f"{_named(ruled[1])} changes, and of its conditions not every one was met and not met"
    for which, rule in _never_together(table):
        if (which, rule.id) in changed:
            yield f"{_named(rule)} changes, and no call was found that meets its conditions together"
    for rule in _not_told_apart(table):
        yield f"{_named(rule)} changes, and no text was found that tells its pattern from the former one"
    for which, side in (("old", old), ("new", new)):
        if side.is_permitted(tool) and _never_passed(table, which):
            yield f"{shown(tool)}: no call was found that the rules of the {which} policy let pass"


def _named(rule: Rule) -> str:
    return f"{rule.name} ({line_of(rule.place)})"


def _never_together(table: Table) -> Iterator[tuple[Which, Rule]]:
    """The rules that stop a call if it meets all of several conditions, of which no call was found that does.

    Such a rule stops what it cannot judge too, which shows nothing of it: a place that it takes for a text needs one.
    """
    for which in WHICH:
        for _, rule in table.rules[which]:
            rows = rows_asked(table, which, rule)
            if rule.action not in ("deny", "require_approval") or len(rows) < 2:
                continue
            judged = zip(rows, rule.asked, strict=True)
            texts = {place for row, one in judged if one.op in OF_TEXTS for place in row.met.places}
            domains = tuple(
                domain & _texts(table, place) if place in texts else domain
                for place, domain in enumerate(table.domains)
            )
            if chosen([[row.met] for row in rows], domains) is None:
                yield which, rule


def _texts(table: Table, place: int) -> int:
    """The choices of one place that are texts, as bits."""
    choices = enumerate(table.pools[place].choices)
    return sum(1 << at for at, one in choices if one.leaves and all(isinstance(leaf, str) for leaf in one.leaves))


def _never_passed(table: Table, which: Which) -> bool:
    """True where one policy may let a call of the tool pass, and no such call was found."""
    clauses = passing(table, which, unasked=False)
    return clauses is not None and chosen(clauses, table.domains) is None


def _not_told_apart(table: Table) -> Iterator[Rule]:
    """The rules with a pattern that only the new policy has, and that matches the very texts that a former one did."""
    old, new = (_patterns(table, which) for which in WHICH)
    for now, (rule, matched) in new.items():
        for before, (_, others) in old.items():
            if now not in old and before not in new and now[:2] == before[:2] and matched == others:
                yield rule


def _patterns(table: Table, which: Which) -> dict[tuple[int, str, Value], tuple[Rule, int]]:
    """The patterns of one policy by place, operator and value: whose each is, and the texts that meet it as bits."""
    found: dict[tuple[int, str, Value], tuple[Rule, int]] = {}
    for _, rule in table.rules[which]:
        for condition, row in zip(rule.asked, rows_asked(table, which, rule), strict=False):
            if condition.op in ("regex", "not_regex") and len(row.met.places) == 1:
                [place] = row.met.places
                found[place, condition.op, condition.value] = rule, row.met.mask & _texts(table, place)
    return found
