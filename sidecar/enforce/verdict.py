"""What becomes of one call, as values: the trial that it goes through, why it is refused, and the verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import msgspec

from sidecar.auth.caller import Caller
from sidecar.ledger.values import Counter, Entry, Seen
from sidecar.mcp.jsonrpc import Id
from sidecar.mcp.tool_call import Outcome, ToolCall
from sidecar.policy.bundle import Bundle

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
    may leave, by the performance counter.
    """

    id: Id
    tool: str
    entries: tuple[Entry, ...]
    refunds: tuple[str, ...]
    since: float

    def given_back(self, outcome: Outcome) -> tuple[Entry, ...]:
        """What a call that ended so gives back."""
        if outcome is Outcome.SUCCEEDED:
            return ()  # no rule gives back what ran well
        refunds = zip(self.entries, self.refunds, strict=True)
        return tuple(entry for entry, refund in refunds if outcome in GIVES_BACK[refund])


class Reply(msgspec.Struct, frozen=True):
    """Do not send the call; answer the client with these bytes."""

    message: bytes


Verdict: TypeAlias = Forward | Reply


class Refusal(msgspec.Struct, frozen=True):
    """Why a call is not forwarded; `retry_after` is in seconds, for a limit that is exhausted."""

    kind: str
    rule: str
    reason: str
    retry_after: int | None = None


CANCELLED: Final = Refusal("cancelled", "", "Cancelled before it was forwarded.")
NO_CALLER: Final = Refusal(
    "invalid_request", "", "A limit counts by caller, and this caller did not authenticate. The call was not forwarded."
)  # fmt: skip
TOO_LARGE: Final = Refusal(
    "invalid_request", "",
    "What the rules read of this call is more than they may be asked about. The call was not forwarded.",
)  # fmt: skip
NO_STORE: Final = Refusal(
    "store_unavailable", "", "The store of counters cannot be used. The call was not forwarded."
)  # fmt: skip

CONTENDED: Final = Refusal(
    "store_unavailable",
    "",
    "The counters that this call is judged by change faster than it can be judged. The call was not forwarded.",
)


def no_engine(error: Exception) -> Refusal:
    """The refusal where the engine gave no usable answer."""
    return Refusal("engine_unavailable", "", f"{error}. The call was not forwarded.")


class Trial(msgspec.Struct):
    """One call on its way through the gate, judged under one bundle. `deliver` gets the verdict, once.

    `since` is when it began, by the performance counter; `engine_seconds` how long the engine took, where it was asked.
    `seen` is where the counters stood that it was judged by, `moves` how often they stood elsewhere at its claim, and
    `turn` the counters for which others that were judged by them wait until it is done.
    """

    call: ToolCall
    caller: Caller
    decision_id: str
    bundle: Bundle
    deliver: Callable[[Verdict], None]
    since: float
    engine_seconds: float | None = None
    attempts: int = 0
    seen: tuple[Seen, ...] = ()
    moves: int = 0
    turn: tuple[Counter, ...] | None = None
    dropped: bool = False

    def drop(self) -> None:
        """The client gave the call up: it will neither be forwarded nor answered."""
        self.dropped = True
