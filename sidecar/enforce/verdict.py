"""What becomes of a call, as values: the verdict, and the grounds of a ruling.

A verdict is one of a few types, and whoever gets one matches them all: another kind of verdict is another case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from sidecar.decision.decision import Reserve
from sidecar.ledger.approvals import QueueFull, Record
from sidecar.ledger.protocol import Exhausted
from sidecar.ledger.values import Entry
from sidecar.mcp.jsonrpc import Id, Response
from sidecar.mcp.tool_call import Outcome
from sidecar.text import visible

GIVES_BACK: Final[Mapping[str, tuple[Outcome, ...]]] = {
    "not_run": (Outcome.NOT_RUN,),
    "on_error": (Outcome.NOT_RUN, Outcome.ERROR),
    "on_failure": (Outcome.NOT_RUN, Outcome.ERROR, Outcome.FAILED),
    "never": (),
}
"""For each `refund` of a rule the outcomes that give back what a call took."""


class Forward(msgspec.Struct, frozen=True):
    """Send the call on. Whoever sends it tells `Gate.settle` how it ended, which may be long after: so little is kept.

    `refunds` says for each entry of the claim when it is given back, in the words of `GIVES_BACK`. `since` is when it
    may leave, by the performance counter. `approval` is the id of the approval that it uses, empty where it needs none,
    and `use` the number of that use.
    """

    id: Id
    decision_id: str
    tool: str
    entries: tuple[Entry, ...]
    refunds: tuple[str, ...]
    since: float
    approval: str = ""
    use: int = 0

    def given_back(self, outcome: Outcome) -> tuple[Entry, ...]:
        """What a call that ended so gives back."""
        if outcome is Outcome.SUCCEEDED:
            return ()  # no rule gives back what ran well
        refunds = zip(self.entries, self.refunds, strict=True)
        return tuple(entry for entry, refund in refunds if outcome in GIVES_BACK[refund])


class Reply(msgspec.Struct, frozen=True):
    """Do not send the call; answer the client with this."""

    message: Response


class Hold(msgspec.Struct, frozen=True):
    """The call waits here for a person: another verdict follows, within `seconds`. It may be told again meanwhile.

    `message` says for what, in one line; `url` is the page where a person can answer, empty where there is none. Where
    `elicits`, the person at the client may be the one who answers.
    """

    approval: str
    seconds: float
    message: str
    url: str
    elicits: bool


Verdict: TypeAlias = Forward | Reply | Hold


class Grounds(msgspec.Struct, frozen=True):
    """Why a call is ruled on as it is.

    `limited` where a limit is exhausted. `retry_after` is in seconds, None where the same call never fits into the
    limits; then `others` are the reasons of those that it alone exceeds.
    """

    kind: str
    rule: str
    reason: str
    retry_after: int | None = None
    limited: bool = False
    others: tuple[str, ...] = ()


CANCELLED: Final = Grounds("cancelled", "", "Cancelled before it was forwarded.")
NO_CALLER: Final = Grounds(
    "invalid_request", "", "A limit counts by caller, and this caller did not authenticate. The call was not forwarded."
)  # fmt: skip
TOO_LARGE: Final = Grounds(
    "invalid_request", "",
    "The arguments that rules read are too large: more than 2 MiB. The call was not forwarded.",
)  # fmt: skip
TOO_LARGE_TO_SHOW: Final = Grounds(
    "invalid_request", "", "This call has more arguments than a person can be asked about. It was not forwarded."
)  # fmt: skip
NO_STORE: Final = Grounds(
    "store_unavailable", "", "The store of counters cannot be used. The call was not forwarded."
)  # fmt: skip
CONTENDED: Final = Grounds(
    "store_unavailable", "",
    "Too many other calls changed the counters that this call depends on. The call was not forwarded.",
)  # fmt: skip


def exhausted(taken: Exhausted, reserve: Sequence[Reserve], monitored: frozenset[str]) -> Grounds:
    """The grounds of a denial where a limit is exhausted; `monitored` are the counters whose limits refuse nothing."""
    limit = reserve[taken.position]
    never = tuple(item.reason for item in reserve if item.never_fits and item.counter not in monitored)
    seconds = None if never else taken.seconds
    return Grounds(limit.kind, limit.rule, limit.reason, seconds, limited=True, others=never)


def denied_by(record: Record) -> Grounds:
    """The grounds of a denial where a person refused the call, or took the approval back."""
    reasons = [visible(one.reason) for one in record.answers if one.verdict in ("deny", "revoke") and one.reason]
    text = "A person refused this call" + (f": {reasons[-1]}" if reasons else ".")
    return Grounds("approval_denied", record.asked.shown.rule, text)


def not_free(record: Record) -> Grounds:
    """The grounds of a denial where the same call has an approval in use, or where nobody knows whether it ran."""
    if record.state == "unknown":
        text = (
            "This very call was forwarded before and no answer came, so nobody knows whether it ran. "
            f"It is refused until a person says what happened (approval {record.id})."
        )
        return Grounds("outcome_unknown", record.asked.shown.rule, text)
    text = f"The same call is running now, with approval {record.id}. This one was not forwarded."
    return Grounds("approval_in_use", record.asked.shown.rule, text)


def full_queue(full: QueueFull) -> Grounds:
    """The grounds of a denial where too many calls wait for a person."""
    whose = "of this agent" if full.own else "of all agents"
    text = f"Too many calls {whose} wait for an approval already, so nobody was asked about this one."
    return Grounds("approvals_full", "", text)


def no_engine(error: Exception) -> Grounds:
    """The grounds of a denial where the engine gave no usable answer."""
    why = str(error)
    return Grounds("engine_unavailable", "", f"{why[:1].upper()}{why[1:]}. The call was not forwarded.")
