"""Approvals as what the page shows of them: values for the templates. No HTML, no I/O, no clock."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

import msgspec
from msgspec.structs import replace

from sidecar.approvals.document import After, digest_of
from sidecar.approvals.page import words
from sidecar.approvals.page.rows import Row, first_rows, row_at, rows_of
from sidecar.approvals.words import only_in, written
from sidecar.enforce.grant_terms import ANY_OTHER, MASKED
from sidecar.ledger.approvals import MAX_BRIEF, OPEN, Answer, Grant, GrantTerms, Record, State
from sidecar.ledger.values import Amount

PREVIEW: Final = 6
"""Arguments that a list shows of a call. The rest is on the call's own page, and the list says how many there are."""
LARGE: Final = 64 << 10
"""Characters of arguments from which on a list shows none of them."""
SLOW: Final = 2 << 10
"""Characters of arguments from which on a page is made on a thread: a thousand rows take a tenth of a second."""
UNFOLDED: Final = 40
"""Rows of a table that are shown at once; the others are folded."""


class Moment(msgspec.Struct, frozen=True):
    """A time: `iso` for programs, `text` for people (UTC), `unix` in seconds."""

    unix: float
    iso: str
    text: str


class Left(msgspec.Struct, frozen=True):
    """How much of a span is left, in whole seconds, and when it ends."""

    seconds: int
    of: int
    text: str
    until: Moment


class Said(msgspec.Struct, frozen=True):
    """What one person did, in words."""

    by: str
    did: str
    at: Moment
    via: str
    origin: str
    reason: str
    grant: bool


class Card(msgspec.Struct, frozen=True):
    """One approval in a list. `preview` are its first arguments, `more` is how many others there are.

    Of many arguments there is only a `size`, in words.
    """

    id: str
    tool: str
    server: str
    state: State
    state_word: str
    severity: str
    risk_class: str
    reason: str
    who: str
    asked_times: int
    preview: tuple[Row, ...]
    more: int
    size: str
    created: Moment
    changed: Moment
    left: Left | None
    answers: tuple[Said, ...]
    needed: int
    agreed: tuple[str, ...]


class Limit(msgspec.Struct, frozen=True):
    """A limit and where it stands after the call; `share` of a hundred, None where there is no most."""

    rule: str
    total: str
    most: str
    window: str
    share: int | None
    over: bool


class Step(msgspec.Struct, frozen=True):
    """A call of the same agent in the hour before."""

    at: Moment
    tool: str
    did: str
    refused: bool


class Bound(msgspec.Struct, frozen=True):
    """What a standing approval says of one argument: its value is as it stands (a row), or is absent (None)."""

    path: str
    row: Row | None


class GrantOffer(msgspec.Struct, frozen=True):
    """What calls like this one would be: `free` are the arguments of this call that may have other values.

    `more` is how many there may be beside this one. `possible` is False where none would fit: no more than one call
    may run, or an amount is no number.
    """

    more: int
    span: str
    same: tuple[Bound, ...]
    at_most: tuple[Bound, ...]
    free: tuple[str, ...]
    possible: bool


class Status(msgspec.Struct, frozen=True):
    """Where an approval stands: the part of its page that changes by itself. `version` changes when any of it does."""

    id: str
    tool: str
    state: State
    state_word: str
    headline: str
    detail: str
    left: Left | None
    answers: tuple[Said, ...]
    needed: int
    agreed: tuple[str, ...]
    asked_times: int
    version: str

    @property
    def is_open(self) -> bool:
        """True where it can change yet."""
        return self.state in OPEN


class Detail(msgspec.Struct, frozen=True):
    """All that a person sees of a call before the answer."""

    status: Status
    server: str
    severity: str
    risk_class: str
    undo: str
    rows: tuple[Row, ...]
    folded: tuple[Row, ...]
    raw: str
    other: tuple[Row, ...]
    other_raw: str
    masked: tuple[str, ...]
    rule: str
    reason: str
    file: str
    line: int
    asker: str
    issuer: str
    client: str
    session: str
    created: Moment
    limits: tuple[Limit, ...]
    recent: tuple[Step, ...]
    offer: GrantOffer | None
    used_grant: str
    four_eyes: bool
    digest: str
    revocable: bool


class Standing(msgspec.Struct, frozen=True):
    """A standing approval in the list."""

    id: str
    tool: str
    server: str
    holder: str
    calls: int
    calls_left: int
    left: Left
    same: tuple[tuple[str, str], ...]
    at_most: tuple[tuple[str, str], ...]
    free: tuple[str, ...]
    answers: tuple[Said, ...]


def moment(unix: float) -> Moment:
    """A time."""
    at = datetime.fromtimestamp(unix, UTC)
    return Moment(unix, at.isoformat(timespec="seconds").replace("+00:00", "Z"), at.strftime("%Y-%m-%d %H:%M:%S UTC"))


def card(record: Record, now: float) -> Card:
    """An approval in a list."""
    asked, shown = record.asked, record.asked.shown
    size = len(shown.arguments)
    is_large = not shown.arguments or len(shown.arguments) > LARGE  # very long ones are not part of a list
    rows, more = ([], 0) if is_large else first_rows(shown.arguments, shown.masked, PREVIEW)
    return Card(
        record.id,
        asked.tool,
        asked.server,
        record.state,
        words.STATE_WORDS[record.state],
        shown.severity,
        shown.risk_class,
        shown.reason,
        who(record),
        record.asked_times,
        tuple(rows),
        more,
        (words.size(size) if size else f"more than {words.size(MAX_BRIEF)}") if is_large else "",
        moment(record.created),
        moment(record.changed),
        _left(record, now),
        tuple(map(_said, record.answers)),
        asked.approvers,
        tuple(words.agreed(record)),
    )


def status(record: Record, now: float) -> Status:
    """Where an approval stands."""
    headline, detail = _state_in_words(record)
    return Status(
        record.id,
        record.asked.tool,
        record.state,
        words.STATE_WORDS[record.state],
        headline,
        detail,
        _left(record, now),
        tuple(map(_said, record.answers)),
        record.asked.approvers,
        tuple(words.agreed(record)),
        record.asked_times,
        version([record]),
    )


def detail(record: Record, after: tuple[After, ...], now: float, grant: Grant | None = None) -> Detail:
    """All of a call; `grant` is the standing approval that was given with it and can still be used."""
    asked, shown = record.asked, record.asked.shown
    rows = rows_of(shown.arguments, shown.masked)
    windows = [one.window for one in shown.takes]  # none of them has an `after` once they are taken
    return Detail(
        status(record, now),
        asked.server,
        shown.severity,
        shown.risk_class,
        words.undo(shown.risk_class),
        tuple(rows[:UNFOLDED]),
        tuple(rows[UNFOLDED:]),
        shown.arguments,
        tuple(rows_of(shown.other)) if shown.other else (),
        shown.other,
        shown.masked,
        shown.rule,
        shown.reason,
        shown.file,
        shown.line,
        shown.asker,
        shown.issuer,
        shown.client,
        shown.session,
        moment(record.created),
        tuple(
            _limit(one, window) for one, window in zip(after, windows, strict=False)
        ),  # no `after` once they are taken
        tuple(Step(moment(one.at), one.tool, words.kind(one.kind), one.kind != "allow") for one in shown.recent),
        _offer(asked.grant, shown.arguments) if asked.grant is not None else None,
        record.grant,
        asked.four_eyes,
        digest_of(asked),
        grant is not None or (record.state == "approved" and now < record.expires),
    )


def standing(grant: Grant, now: float) -> Standing:
    """A standing approval in the list."""
    terms = grant.terms
    left = max(0, int(grant.until - now))
    return Standing(
        grant.id,
        grant.tool,
        grant.server,
        grant.holder,
        terms.calls,
        grant.left,
        Left(left, terms.seconds, words.span(left), moment(grant.until)),
        tuple((path, _equal_to(text)) for path, text in terms.same),
        tuple((path, most or "") for path, most in terms.at_most),
        _named(terms.free),
        tuple(map(_said, grant.answers)),
    )


def who(record: Record) -> str:
    """Who asks, in a few words."""
    shown = record.asked.shown
    if shown.asker or not shown.client:
        return shown.asker or "an agent without a name"
    return f"an agent that calls itself {shown.client}"  # anybody may call himself anything


def version(records: list[Record]) -> str:
    """A text that differs when any of these approvals has changed."""
    seen = [(one.id, one.state, one.changed, one.asked_times, len(one.answers)) for one in records]
    return hashlib.sha256(msgspec.json.encode(seen)).hexdigest()[:16]


def matches(record: Record, tool: str, text: str) -> bool:
    """True where an approval is of such a tool and has the text in what is shown of it or was said about it."""
    shown = record.asked.shown
    if tool and tool.casefold() not in record.asked.tool.casefold():
        return False
    if not text:
        return True
    said = [part for one in record.answers for part in (one.by, one.reason)]
    places = [
        record.id, record.asked.tool, shown.rule, shown.reason, shown.asker, shown.client, shown.arguments, *said,
    ]  # fmt: skip
    return any(text.casefold() in place.casefold() for place in places)


def _equal_to(text: str) -> str:
    """What a value has to be equal to, from the text that stands for it."""
    word, _, value = text.partition(" ")
    if word == "value":
        return written(value)
    if word in ("json", "inside"):
        return value
    return text if text in ("absent", "null") else "as it was in the call"  # nobody may see it, or it is long


def _left(record: Record, now: float) -> Left | None:
    if record.state not in ("pending", "approved"):
        return None
    begun = record.created if record.state == "pending" else record.changed
    left = max(0, int(record.expires - now))
    return Left(left, max(1, int(record.expires - begun)), words.span(left), moment(record.expires))


def _said(answer: Answer) -> Said:
    return Said(
        answer.by or "somebody at the command line",
        words.VERDICT_WORDS[answer.verdict],
        moment(answer.at),
        words.VIA_WORDS.get(answer.via, answer.via),
        answer.origin,
        answer.reason,
        answer.grant,
    )


def _state_in_words(record: Record) -> tuple[str, str]:
    """A headline and a sentence about where an approval stands."""
    agreed = words.agreed(record)
    only = only_in(record.asked)
    then = f" If you approve, it can run {only}." if only else ""
    match record.state:
        case "pending" if agreed:
            missing = record.asked.approvers - len(agreed)
            people = "one more person" if missing == 1 else f"{missing} more people"
            return "Waiting for another answer", f"{words.people(agreed)} agreed. It needs {people}.{then}"
        case "pending" if record.asked.approvers > 1:
            return "Waiting for an answer", f"{record.asked.approvers} different people have to agree.{then}"
        case "pending":
            return "Waiting for an answer", f"Nothing has reached the server.{then}"
        case "approved":
            where = f", {only}" if only else ""
            return "Approved", f"The call runs once, when the agent repeats it{where}. It has not run yet."
        case "denied":
            return "Denied", "The call did not run."
        case "expired" if words.was_agreed_to(record):
            return "Expired", "It was approved, and the agent did not repeat the call in time. The call did not run."
        case "expired":
            return "Expired", "Nobody answered in time. The call did not run."
        case "in_use":
            return "Running", "The call was sent to the server, and its answer is awaited."
        case "unknown":
            return "Nobody knows whether it ran", "The call was sent to the server, and no answer came back."
        case "consumed":
            return "Done", _how_it_ended(record)


def _how_it_ended(record: Record) -> str:
    word = next((one.verdict for one in reversed(record.answers) if one.verdict in ("committed", "failed")), None)
    match word:
        case "committed":
            return "A person said that the call happened. This approval cannot be used again."
        case "failed":
            return "A person said that the call did not happen. What it had taken from limits was given back."
        case _ if record.grant:
            return "The call ran once, as one of the calls of a standing approval."
        case _:
            return "The server answered the call. This approval cannot be used again."


def _limit(after: After, window: int) -> Limit:
    share = None
    if after.limit is not None and after.limit > 0:
        share = max(0, min(100, int(Decimal(after.total) * 100 / Decimal(after.limit))))
    over = after.limit is not None and after.total > after.limit
    most = "" if after.limit is None else _amount(after.limit)
    return Limit(after.rule, _amount(after.total), most, _WINDOWS.get(window, f"in {words.span(window)}"), share, over)


_WINDOWS: Final = {60: "a minute", 3600: "an hour", 86400: "a day"}


def _amount(amount: Amount) -> str:
    return format(Decimal(amount), "f")


def _offer(terms: GrantTerms, arguments: str) -> GrantOffer:
    same = tuple(Bound(path, _row(path, text, arguments)) for path, text in terms.same)
    at_most = tuple(Bound(path, row_at(arguments, path)) for path, _ in terms.at_most)
    numbers = all(most is not None for _, most in terms.at_most) and all(bound.row for bound in at_most)
    return GrantOffer(
        terms.calls - 1, words.span(terms.seconds), same, at_most, _named(terms.free), numbers and terms.calls > 1
    )


def _row(path: str, text: str, arguments: str) -> Row | None:
    row = row_at(arguments, path)
    return replace(row, masked=text.startswith(f"{MASKED} ")) if row is not None else None


def _named(free: tuple[str, ...]) -> tuple[str, ...]:
    """Arguments by name; that there may be others is said by the page itself."""
    return tuple(path for path in free if path != ANY_OTHER)
