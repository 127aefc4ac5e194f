"""The differences of two policies as a comment for a pull request: bounded, and nothing from a policy becomes markup.

Whatever comes from a policy or a call stands in a code span, in which nothing is markup but the backtick that ends it,
and in a table the bar. Both are written as JSON escapes, and so is what cannot be seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from sidecar.cli.policy_diff_text import WORDS, arguments, circumstances, clipped, count, place, setting, summary
from sidecar.rehearsal.diff.comparing import Compared
from sidecar.rehearsal.diff.differences import Difference, Seen

LONGEST: Final = 60_000
"""Characters of a comment: GitHub takes 65,536."""
MOST_ROWS: Final = 40
"""Rows of one table."""
CELL: Final = 240
_ESCAPES: Final = {ord("`"): "\\u0060", ord("|"): "\\u007c"}


def markdown(compared: Compared) -> str:
    """The comment, its end left out where it is too long."""
    text = ""
    for block in _blocks(compared):
        if len(text) + len(block) > LONGEST:
            return f"{text}\n_The rest is left out: run `sidecar policy diff` to see it._\n"
        text += block
    return text


def _blocks(compared: Compared) -> Iterator[str]:
    yield "## What this change of the policy does\n\n"
    opened = [one for one in compared.settings if one.opens]
    if compared.allowed or opened:
        number = sum(1 + one.more for one in compared.allowed)
        yield f"### ⛔ → ✅ Refused until now, **allowed from now on**: {count(number)}\n\n"
        yield _table(compared.allowed)
        yield _list("", (setting(one) for one in opened))
    else:
        yield "No call that was found goes from refused to allowed.\n\n"
    if compared.held:
        yield "### Less strict, but a person is asked\n\n"
        yield _table(compared.held)
    loosened = [setting(one) for one in compared.settings if one.is_looser and not one.opens]
    yield _list("### Settings that are less strict", loosened)
    if compared.tightened:
        yield f"### Stricter: {count(sum(1 + one.more for one in compared.tightened))}\n\n"
        yield _table(compared.tightened)
    yield _list("### Other settings that change", (setting(one) for one in compared.settings if not one.is_looser))
    yield _list("### Rules that can no longer match", (f"{one.rule} ({one.line}): {one.why}" for one in compared.dead))
    yield _list("### Hand-written Rego that changes, explored by the calls above only", compared.custom)
    yield _list("### Not explored", compared.unexplored)
    not_asked = compared.found.not_asked.items()
    yield _list("### Recorded calls that could not be asked about", (f"{calls}: {why}" for why, calls in not_asked))
    yield f"{summary(compared)}.\n"


def _table(differences: Sequence[Difference]) -> str:
    if not differences:
        return ""
    rows = [_row(one) for one in differences[:MOST_ROWS]]
    more = f"\n…and {len(differences) - MOST_ROWS} more kinds of calls.\n" if len(differences) > MOST_ROWS else ""
    head = "| tool | call | until now | from now on |\n|---|---|---|---|\n"
    return head + "".join(rows) + f"{more}\n"


def _row(one: Difference) -> str:
    call = "<br>".join(code(text) for text in (arguments(one, CELL), *circumstances(one)))
    return f"| {code(one.tool)} | {call} | {_by(one.old)} | {_by(one.new)} |\n"


def _by(seen: Seen) -> str:
    parts = [WORDS[seen.action], *(code(text) for text in (seen.rule, place(seen)) if text)]
    return "<br>".join(parts)


def _list(title: str, lines: Iterable[str]) -> str:
    found = list(lines)
    if not found:
        return ""
    shown = "".join(f"- {code(line)}\n" for line in found[:MOST_ROWS])
    more = f"- and {len(found) - MOST_ROWS} more\n" if len(found) > MOST_ROWS else ""
    return f"{title}\n\n{shown}{more}\n" if title else f"{shown}{more}\n"


def code(text: str) -> str:
    """Text from outside as a code span."""
    safe = clipped(text, CELL).translate(_ESCAPES)
    return f"`{safe}`" if safe.strip() and safe == safe.strip() else f'`"{safe}"`'
