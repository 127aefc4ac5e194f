"""Approvals as lines for a terminal: the list, one in full, and what an answer came to. No store, no clock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from sidecar.approvals.document import After, digest_of
from sidecar.approvals.page.words import VERDICT_WORDS, agreed, kind, span, undo
from sidecar.approvals.words import asker, like_this, only_in
from sidecar.cli.approvals_table import Row, cut, lines_of, rows_of, safe, sentence, table
from sidecar.ledger.approvals import Answer, Grant, Record, timestamp
from sidecar.ledger.transitions import worded
from sidecar.policy.rego import plain_number
from sidecar.text import shown

HEADINGS: Final = ("ID", "STATE", "LEFT", "TOOL", "ARGUMENTS", "ASKED BY", "SERVER", "SEVERITY")
GRANT_HEADINGS: Final = ("STANDING", "LEFT", "CALLS", "TOOL", "SERVER", "FOR", "CALLS LIKE")

WIDEST: Final = 200
"""Columns of a line of the list where no terminal says how many it has."""
ARGUMENTS: Final = 40
"""Columns of a call's arguments in the list; `full_lines` has all of them."""
ONLY_THERE: Final = "A call of a session goes through only in that session."
"""Below a list where one waits that nobody can repeat once its session is over."""


def list_lines(records: Sequence[Record], grants: Sequence[Grant], now: float, width: int | None) -> list[str]:
    """A table of approvals, and below it one of the standing ones."""
    most = WIDEST if width is None else width
    lines = table([HEADINGS, *(_cells(one, now) for one in records)], most) if records else []
    if any(one.state in ("pending", "approved") and only_in(one.asked) for one in records):
        lines += ["", *sentence(ONLY_THERE, width)]
    if grants:
        below = table([GRANT_HEADINGS, *(_grant_cells(one, now) for one in grants)], most)
        lines += ["", *below] if lines else below
    return lines


def change_line(record: Record, now: float) -> str:
    """An approval in one line, for those who follow changes in a pipe."""
    id_, state, _, *others = _cells(record, now)
    return cut("  ".join((timestamp(record.changed), id_, state, *(cell for cell in others if cell != "-"))), WIDEST)


def full_lines(record: Record, after: Sequence[After], now: float, width: int | None) -> list[str]:
    """Everything that whoever answers needs to know of an approval; nothing is cut."""
    asked, seen = record.asked, record.asked.shown
    rule = f"{safe(seen.rule)}, {safe(seen.file)}:{seen.line}" if seen.file else safe(seen.rule)
    facts = [
        ("tool", safe(asked.tool)),
        ("server", safe(asked.server)),
        ("class", _class(record)),
        ("reason", safe(seen.reason)),
        ("rule", rule),
        ("asked by", _asker(record)),
        ("asked", _asked(record)),
        *([("until", f"{_moment(record.expires)}{_only(record)}")] if record.state in ("pending", "approved") else []),
        ("approvals", _approvals(record)),
        *(("answer", _answer(one)) for one in record.answers),
    ]
    if record.grant:
        facts.append(("uses", f"the standing approval {record.grant}"))
    lines = [*sentence(f"{record.id}: {_state(record, now)}", width), "", *_indented(facts, width)]
    lines += ["", "  arguments", *_values(rows_of(seen.arguments, seen.masked), width)]
    if seen.other:
        lines += ["", "  other parameters that the server gets", *_values(rows_of(seen.other), width)]
    if after:
        lines += ["", "  limits after it", *_values([_limit(one) for one in after], width)]
    if asked.grant is not None:
        terms, grant = asked.grant, "calls like it, if you agree to them too (approve --grant)"
        bounds = f"at most {terms.calls} calls with this one, within {span(terms.seconds)}"
        like = [("bounds", bounds), ("like it", safe(like_this(terms, seen.masked)))]
        lines += ["", f"  {grant}", *_values(like, width)]
    if seen.recent:
        recent = [(_clock(one.at), f"{_named(one.tool)}: {kind(one.kind)}") for one in seen.recent]
        lines += ["", "  what this agent did in the hour before", *_values(recent, width)]
    return [*lines, "", *_indented([("digest", digest_of(asked))], width), *_next(record)]


def answered_lines(record: Record, answer: Answer, now: float, *, changed: bool) -> list[str]:
    """What an answer came to, and what happens next."""
    what = f"{safe(record.asked.tool)} on {safe(record.asked.server)} ({record.id})"
    again = "" if changed else "Nothing changed, the same was said before. "
    if answer.verdict == "deny":
        rest = f"The same call is refused for {span(record.asked.timeout)}." if changed else ""
        told = "The agent is told so, with the reason." if answer.reason else "The agent is told so."
        return [f"{again}Denied: {what}.", f"{told} {rest}".rstrip()]
    if record.state == "pending":
        missing = record.asked.approvers - len(agreed(record))
        people = "one more person" if missing == 1 else f"{missing} more people"
        left = span(record.expires - now)
        return [f"{again}Noted: {what}.", f"It goes through when {people} approved it within {left}{_only(record)}."]
    lines = [f"{again}Approved: {what}."]
    if record.state == "approved":
        left = span(record.asked.use_within if changed else record.expires - now)
        when = f"when the agent repeats it within {left}{_only(record)}"
        lines.append(f"It goes through once: now if it waits in place, else {when}.")
    terms = record.asked.grant
    if answer.grant and terms is not None:
        if all(one.grant for one in record.answers if one.verdict == "approve"):
            like = safe(like_this(terms))
            lines.append(f"Calls like it do too, {terms.calls} in all within {span(terms.seconds)}: {like}.")
            lines.append(f"`sidecar approvals revoke {record.id}` takes that back at once.")
        else:
            lines.append("No calls like it: not everybody who approved agreed to them.")
    return lines


def resolved_lines(record: Record, answer: Answer) -> list[str]:
    """What was said about a call of which nobody knew whether it ran."""
    what = f"{safe(record.asked.tool)} on {safe(record.asked.server)} ({record.id})"
    if answer.verdict == "committed":
        return [f"Noted: {what} ran.", "What it took from its limits stays taken. Such calls are asked about again."]
    return [
        f"Noted: {what} did not run.",
        "What it took from its limits is given back. Such calls are asked about again.",
    ]


def revoked_lines(record: Record) -> list[str]:
    """What was taken back."""
    what = f"{safe(record.asked.tool)} on {safe(record.asked.server)} ({record.id})"
    return [f"Taken back: {what}.", "No further call goes through on it; one that runs already is not stopped."]


def _cells(record: Record, now: float) -> tuple[str, ...]:
    asked, seen = record.asked, record.asked.shown
    # Lists come without very long ones.
    arguments = cut(safe(seen.arguments[: ARGUMENTS + 1]), ARGUMENTS) or "long: see `show`"
    return (
        record.id, worded(record), _left(record, now), _named(asked.tool), arguments, _named(asker(seen)),
        _named(asked.server), safe(seen.severity) or "-",
    )  # fmt: skip


def _grant_cells(grant: Grant, now: float) -> tuple[str, ...]:
    terms = grant.terms
    return (
        grant.id, span(grant.until - now), f"{grant.left} of {terms.calls}", _named(grant.tool),
        _named(grant.server), _named(grant.holder), safe(like_this(terms)),
    )  # fmt: skip


def _named(name: str) -> str:
    """A name of an agent's, in a line with others."""
    return safe(shown(name))


def _left(record: Record, now: float) -> str:
    """The time that is left, in its greatest unit."""
    return " ".join(span(record.expires - now).split()[:2]) if record.state in ("pending", "approved") else "-"


def _state(record: Record, now: float) -> str:
    match record.state:
        case "pending" | "approved" if now >= record.expires:
            return f"{worded(record)}, but its time is over"
        case "pending":
            return f"pending, {span(record.expires - now)} left to answer"
        case "approved":
            return f"approved, {span(record.expires - now)} left for the agent to repeat the call"
        case "in_use":
            return f"in use: the call went on at {_moment(record.changed)}, and no answer came yet"
        case "unknown":
            return f"unknown: the call went on, and no answer came ({_moment(record.changed)})"
    return f"{worded(record)} since {_moment(record.changed)}"


def _only(record: Record) -> str:
    """The end of a sentence about when it can be used."""
    only = only_in(record.asked)
    return f", and {safe(only)}" if only else ""


def _class(record: Record) -> str:
    seen = record.asked.shown
    named = ", ".join(text for text in (seen.risk_class, seen.severity) if text)
    undoing = undo(seen.risk_class)
    return f"{safe(named)}: {undoing}" if named else undoing


def _asker(record: Record) -> str:
    seen = record.asked.shown
    parts = [safe(asker(seen))]
    if seen.asker:
        parts.append(f"of {safe(seen.issuer)}" if seen.issuer else "")
        parts.append(f"session {safe(seen.session)}")
    if seen.client:
        parts.append(f"through {safe(seen.client)}, by its own word")
    return ", ".join(filter(None, parts))


def _asked(record: Record) -> str:
    times = "once" if record.asked_times == 1 else f"{record.asked_times} times"
    return f"{times}, first at {_moment(record.created)}"


def _approvals(record: Record) -> str:
    needed = f"{len(agreed(record))} of {record.asked.approvers}"
    return f"{needed}; whoever asks cannot approve" if record.asked.four_eyes else needed


def _answer(answer: Answer) -> str:
    what = VERDICT_WORDS[answer.verdict] + (", and calls like it" if answer.grant else "")
    reason = f": {safe(answer.reason)}" if answer.reason else ""
    return f"{safe(answer.by)} {what} at {_moment(answer.at)} by {answer.via} from {safe(answer.origin)}{reason}"


def _limit(after: After) -> Row:
    most = f"of {plain_number(Decimal(after.limit))}" if after.limit is not None else "without a limit"
    return safe(after.rule), f"{plain_number(Decimal(after.total))} {most}"


def _next(record: Record) -> list[str]:
    """What whoever reads this can do now."""
    match record.state:
        case "pending":
            does = ["approve", "deny"]
        case "approved":
            does = ["revoke"]
        case "unknown":
            says = "Find out at the server whether the call ran; until you say so, it is refused:"
            ran = [f"    sidecar approvals resolve {record.id} --{what}" for what in ("committed", "failed")]
            return ["", f"  {says}", *ran]
        case _:
            return []
    return ["", *(f"    sidecar approvals {what} {record.id}" for what in does)]


def _values(rows: Sequence[Row], width: int | None) -> list[str]:
    inner = None if width is None else width - 4
    return [f"    {line}" for line in lines_of(rows, inner)] if rows else ["    none"]


def _indented(rows: Sequence[Row], width: int | None) -> list[str]:
    return [f"  {line}" for line in lines_of(rows, None if width is None else width - 2)]


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%S UTC")
