"""The differences of two policies as JSON, and as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from sidecar.mcp.strict_json import encode
from sidecar.rehearsal.diff.comparing import Compared
from sidecar.rehearsal.diff.differences import Difference, Seen
from sidecar.text import shown, shown_quoted, visible

WORDS: Final = {"allow": "allowed", "deny": "refused", "approval": "held for a person"}
LONGEST: Final = 300
"""Characters of arguments that are shown."""


def document(compared: Compared) -> str:
    """All that differs as JSON."""
    found = compared.found
    whole = {
        "loosened": [_item(one) for one in compared.loosened],
        "tightened": [_item(one) for one in compared.tightened],
        "unchanged": found.unchanged,
        "reworded": found.reworded,
        "settings": [
            {
                "what": one.what, "old": one.old, "new": one.new, "line": one.line,
                "loosens": one.is_looser, "opens": one.opens,
            }
            for one in compared.settings
        ],
        "dead_rules": [{"rule": one.rule, "line": one.line, "why": one.why} for one in compared.dead],
        "custom_changed": list(compared.custom),
        "not_explored": list(compared.unexplored),
        "not_replayable": [{"why": why, "calls": calls} for why, calls in found.not_asked.items()],
    }  # fmt: skip
    return msgspec.json.format(encode(whole), indent=2).decode()


def _item(one: Difference) -> dict[str, Any]:
    seen = one.old if one.is_looser else one.new
    return {
        "tool": one.tool, "arguments": one.arguments, "old": one.old.action, "new": one.new.action,
        "line": place(seen), "rule": seen.rule, "kind": seen.kind, "reason": seen.reason,
        "old_line": place(one.old), "old_rule": one.old.rule, "new_line": place(one.new), "new_rule": one.new.rule,
        "for": one.who, "before": one.before, "origin": one.origin, "more": one.more,
    }  # fmt: skip


def place(seen: Seen) -> str:
    """Where the rule stands that decided, as `file:line`; empty where none did."""
    return f"{seen.file}:{seen.line}" if seen.file else ""


def table(compared: Compared) -> Iterator[str]:
    """The differences, one after the other: first what becomes allowed."""
    yield from _section("REFUSED UNTIL NOW, ALLOWED FROM NOW ON", compared.allowed)
    opened = [one for one in compared.settings if one.opens]
    yield from _lines("OPENED", (setting(one) for one in opened))
    yield from _section("no longer refused, but held for a person", compared.held)
    yield from _lines(
        "settings that are less strict", (setting(s) for s in compared.settings if s.is_looser and not s.opens)
    )
    yield from _section("stricter", compared.tightened)
    yield from _lines("other settings that change", (setting(one) for one in compared.settings if not one.is_looser))
    yield from _lines(
        "rules that can no longer match", (f"{dead.rule} ({dead.line}): {dead.why}" for dead in compared.dead)
    )
    yield from _lines("hand-written Rego that changes: explored by the calls above only", compared.custom)
    yield from _lines("not explored", compared.unexplored)
    yield from _lines(
        "recorded calls that could not be asked about",
        (f"{calls}: {why}" for why, calls in compared.found.not_asked.items()),
    )
    yield summary(compared)


def summary(compared: Compared) -> str:
    """One line with all numbers."""
    found = compared.found
    loosened = sum(1 + one.more for one in compared.loosened)
    tightened = sum(1 + one.more for one in compared.tightened)
    words = f", {found.reworded} of them in other words" if found.reworded else ""
    return f"{loosened} calls less strict, {tightened} stricter, {found.unchanged} decided as before{words}"


def setting(one: Any) -> str:
    """A setting that changes, in one line."""
    at = f" ({one.line})" if one.line else ""
    return f"{one.what}: {one.old} -> {one.new}{at}"


def _section(title: str, differences: Sequence[Difference]) -> Iterator[str]:
    if not differences:
        return
    yield f"{title}: {count(sum(1 + one.more for one in differences))}"
    for one in differences:
        yield f"  {shown(one.tool)} {arguments(one)}"
        yield f"      was {by(one.old)}, is {by(one.new)}"
        for line in circumstances(one):
            yield f"      {line}"


def _lines(title: str, lines: Iterable[str]) -> Iterator[str]:
    found = list(lines)
    if found:
        yield f"{title}:"
        yield from (f"  {visible(line)}" for line in found)


def count(calls: int) -> str:
    """A number of calls."""
    return f"{calls} call{'' if calls == 1 else 's'}"


def arguments(one: Difference, longest: int = LONGEST) -> str:
    """The arguments of a call as JSON that is safe to show, cut where they are long."""
    return clipped(encode(one.arguments).decode(), longest)


def clipped(text: str, longest: int) -> str:
    """Text from outside, safe to show and of bounded length."""
    return visible(text if len(text) <= longest else f"{text[:longest]}…")


def by(seen: Seen) -> str:
    """What became of a call, and by which rule, in words."""
    rule = f" by {shown_quoted(seen.rule)}" if seen.rule else ""
    at = f" ({visible(place(seen))})" if place(seen) else ""
    return f"{WORDS[seen.action]}{rule}{at}"


def circumstances(one: Difference) -> Iterator[str]:
    """What else belongs to a call: who, after what, from where, and how many more there are like it."""
    if one.who:
        yield f"for {clipped(encode(one.who).decode(), LONGEST)}"
    if before := _before(one.before):
        yield before
    if one.origin != "generated":
        yield f"from {visible(one.origin)}"
    if one.more:
        yield f"and {one.more} more like it"


def _before(before: Mapping[str, Any]) -> str:
    if not before:
        return ""
    if "calls" not in before:
        return f"where {clipped(encode(before).decode(), LONGEST)}"
    what = f"calls of {shown(before['tool'])}" if "tool" in before else "such calls"
    asked = clipped(encode(before["arguments"]).decode(), LONGEST)
    ago = f"{before['seconds_ago']} s before" if before["seconds_ago"] else "just before"
    end = " at the end of a window" if before.get("at_the_end_of_a_window") else ""
    return f"after {before['calls']} {what}{end} {ago}, each with {asked}"
