"""Approvals as values: what a call asks a person for, the states of an approval, and who answered it.

No store, no clock: `sidecar.ledger.transitions` says what may become of an approval, and each store keeps them beside
its counters, so that a call takes its approval and its limits in one transaction. Times are Unix seconds by the clock
of the store's users (see `Records.now`), which never goes back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, Literal, Protocol, TypeAlias

import msgspec

from sidecar.ledger.values import Entry, Reservation

State: TypeAlias = Literal["pending", "approved", "denied", "expired", "in_use", "consumed", "unknown"]
STATES: Final[tuple[State, ...]] = ("pending", "approved", "denied", "expired", "in_use", "consumed", "unknown")
FINAL: Final[frozenset[State]] = frozenset({"denied", "expired", "consumed"})
"""States that never change."""
OPEN: Final[frozenset[State]] = frozenset(STATES) - FINAL

Settlement: TypeAlias = Literal["consumed", "not_run", "unknown", "released"]
"""How the use of an approval ended.

`not_run` is consumed too, but gives a place back to the standing approval that it used. `released` says that the call
was never forwarded: all is as if the approval had not been taken.
"""

MAX_SHOWN: Final = 2 << 20
"""Bytes of arguments that a person can be asked about; a larger call is refused."""
MAX_BRIEF: Final = 4 << 10
"""Characters of arguments and other parameters that are part of a list."""
MAX_PENDING: Final = 10_000
"""Pending approvals of one store."""
MAX_PENDING_EACH: Final = 100
"""Pending approvals of one holder: a session or a principal. A full queue refuses new ones and loses none."""
MAX_LONG: Final = 200
MAX_LONG_EACH: Final = 20
"""The same of those with more to show than `MAX_BRIEF`: an agent that runs away must not fill the store's disk."""
LOST_AFTER: Final = 10.0
"""Seconds without a word of an instance after which it is gone: what it had in use is unknown then."""
KEPT: Final = 7 * 86400.0
"""Seconds that an approval in a final state is kept for those who look back."""
KEPT_LONG: Final = 3600.0
"""The same of one with more to show than `MAX_BRIEF` that nobody answered."""


class Answer(msgspec.Struct, frozen=True):
    """What one person said, when, by which way and from where, and why.

    `by` is the name of an approver. `via` is `cli`, `api` or `page`, `origin` the address or the user that it came
    from. `grant` where calls like this one are approved too. `shown` is the digest of what the person saw.
    """

    by: str
    at: float
    via: str
    origin: str
    verdict: Literal["approve", "deny", "committed", "failed", "revoke"]
    reason: str = ""
    grant: bool = False
    shown: str = ""


class GrantTerms(msgspec.Struct, frozen=True):
    """What a rule lets an approver agree to beyond one call, and where this call stands.

    At most `calls` calls within `seconds`. `same` are paths with the values that must be equal, in a form in which
    equal values (as in `eq`) have equal texts; `at_most` are paths with numbers (None for what is no number, which no
    standing approval fits) that must not be greater; `free` are the other arguments of this call, for the page.
    `beside` stands for all parameters beside the arguments, which must be equal, too.
    Values that people may not see stand nowhere here.
    """

    seconds: int
    calls: int
    same: tuple[tuple[str, str], ...]
    at_most: tuple[tuple[str, str | None], ...]
    free: tuple[str, ...] = ()
    beside: str = ""


class Recent(msgspec.Struct, frozen=True):
    """A call of the same agent in the last hour: the tool, and the kind of what was decided (`allow` where allowed)."""

    at: float
    tool: str
    kind: str


class Shown(msgspec.Struct, frozen=True):
    """What a person sees of a call before the answer. It never changes; `digest_of` names it, and the call.

    `arguments` is their JSON as it was written, with the values at `masked` (paths as policies write them) replaced.
    `other` is the JSON of all other parameters that the server gets. `risk_class` and `severity` are empty where
    policy says nothing. `asker` is the subject of the principal, else empty; `client` the name that it gives itself.
    `takes` is what the call takes from its limits, with their rules' names in `limits`.
    """

    arguments: str
    masked: tuple[str, ...]
    other: str
    rule: str
    reason: str
    file: str
    line: int
    risk_class: str
    severity: str
    asker: str
    issuer: str
    client: str
    session: str
    recent: tuple[Recent, ...] = ()
    takes: tuple[Reservation, ...] = ()
    limits: tuple[str, ...] = ()


def is_long(shown: Shown) -> bool:
    """True where there is more to show than is part of a list; then a list has nothing of it."""
    return not shown.arguments or len(shown.arguments) + len(shown.other) > MAX_BRIEF


class Asked(msgspec.Struct, frozen=True):
    """A call that needs an approval, and all that the approval is bound to.

    `binding` stands for server, tool, every parameter that the server gets, the content of the rules that ask, and
    `holder`, who asks: the key of a principal, else a session. `definition` is the digest of the tool's definition,
    empty where its list was not seen. `call` stands for server, tool and arguments as JSON values, whoever asks.
    `rules` is the content of the rules that ask. `owner` is the instance that asks. `notify` where a webhook hears.
    Times are in seconds.
    """

    server: str
    tool: str
    holder: str
    binding: str
    call: str
    definition: str
    rules: str
    owner: str
    timeout: int
    use_within: int
    approvers: int
    four_eyes: bool
    notify: bool
    shown: Shown
    grant: GrantTerms | None = None


class SameCall(msgspec.Struct, frozen=True):
    """A call that needs no approval, of a tool of which other calls do: it waits for the same one in use or unknown."""

    server: str
    call: str


class Record(msgspec.Struct, frozen=True):
    """One approval as it is stored.

    `expires` is when the state ends by itself: that of `pending` after the rule's timeout, of `approved` after
    `use_within`. `changed` is when it came into its state. `asked_times` counts how often the very call was asked.
    `entries` is what the call took from its limits, kept until it is known what became of it. `grant` is the id of the
    standing approval that the call used, empty for one of its own. `owner` is the instance that has it in use. `uses`
    counts how often it was taken into use: more than once only where the calls before were not forwarded.
    """

    id: str
    asked: Asked
    state: State
    created: float
    changed: float
    expires: float
    asked_times: int = 1
    answers: tuple[Answer, ...] = ()
    entries: tuple[Entry, ...] = ()
    grant: str = ""
    owner: str = ""
    uses: int = 0


class Grant(msgspec.Struct, frozen=True):
    """A standing approval: `left` more calls like the one that was approved, until `until` (Unix seconds).

    `terms.calls` counts that one too. `id` is the id of the approval that it was given with. `answers` are of those who
    gave it, and revoked it.
    """

    id: str
    server: str
    tool: str
    definition: str
    holder: str
    rules: str
    terms: GrantTerms
    created: float
    until: float
    left: int
    answers: tuple[Answer, ...]
    revoked: bool = False


class Unapproved(msgspec.Struct, frozen=True):
    """Nothing was taken: the call has no approval that it could use. `record` says where the one it has stands.

    `pending`: it waits for a person; `is_new` where it was asked for just now. `denied`: a person said no.
    `in_use`: the same call runs on it now. `unknown`: the same call was forwarded and no answer came. Whoever asked.
    """

    record: Record
    is_new: bool = False


class QueueFull(msgspec.Struct, frozen=True):
    """Nothing was taken and nobody is asked: too many calls wait, those of everybody or (`own`) those of the holder."""

    own: bool


Wants: TypeAlias = Asked | SameCall
NOTHING_ASKED: Final[Mapping[int, Wants]] = MappingProxyType({})


class NoApproval(Exception):
    """There is no approval with this id."""


class Conflict(Exception):
    """The approval is not in a state for this answer, or the person may not give it; the text says why, for people."""

    def __init__(self, record: Record, why: str) -> None:
        super().__init__(why)
        self.record = record


class Counts(msgspec.Struct, frozen=True):
    """How many approvals of a server are in each open state, and when the oldest pending one was asked for."""

    states: Mapping[State, int]
    oldest: float | None


class Notice(msgspec.Struct, frozen=True):
    """Something that a webhook has to hear: `record` as it was then. `attempts` were made so far."""

    id: str
    event: Literal["pending", "decided", "expired"]
    at: float
    attempts: int
    record: Record


def timestamp(seconds: float) -> str:
    """A time as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Approvals(Protocol):
    """The approvals in a store, for people and for the upkeep. Raises `StoreUnavailable` when it cannot be used.

    What a call does with approvals is part of `Ledger.claim`.
    """

    async def find(self, id: str, *, brief: bool = False) -> Record:  # noqa: A002 - the field's word
        """One approval; with `brief` as in `records`. Raises `NoApproval`."""

    async def records(
        self, states: Collection[State] = STATES, *, server: str = "", limit: int = 1_000, changed_after: float = 0.0,
        brief: bool = False,
    ) -> list[Record]:  # fmt: skip
        """Approvals in these states, the newest first; of one server, or of all where none is named.

        With `changed_after` only those that came into their state later than that. With `brief` those with much to
        show (`MAX_BRIEF`) come without it: `shown.arguments` and `shown.other` are empty, and were not read.
        """

    async def grants(self, server: str = "") -> list[Grant]:
        """The standing approvals that can still be used, the newest first."""

    async def decide(self, id: str, answer: Answer) -> tuple[Record, bool]:  # noqa: A002
        """Take a person's `approve` or `deny`: the approval after it, and whether that changed anything.

        The same answer of the same person once more changes nothing. Raises `NoApproval` and `Conflict`.
        """

    async def resolve(self, id: str, answer: Answer) -> Record:  # noqa: A002
        """A person says what became of an unknown one: `committed`, or `failed`, which gives back what it took.

        Raises `NoApproval` and `Conflict`.
        """

    async def revoke(self, id: str, answer: Answer) -> Record:  # noqa: A002
        """Take back an approval that was not used yet, and the standing approval that was given with it.

        Raises `NoApproval` and `Conflict`.
        """

    def settle_at_once(
        self, id: str, how: Settlement, entries: tuple[Entry, ...] = (), use: int | None = None,  # noqa: A002
    ) -> Record | None:  # fmt: skip
        """The use of an approval ended, and `entries` are given back with that, without waiting.

        `use` is its number, the record's `uses` when it was taken. Who may tell it twice needs that: one that was
        released may be in another use by then, which must not end. None if it needs waiting.
        """

    async def settle(
        self, id: str, how: Settlement, entries: tuple[Entry, ...] = (), use: int | None = None,  # noqa: A002
    ) -> Record:  # fmt: skip
        """The same, and the wait for others is bounded."""

    async def sweep(self, instance: str) -> tuple[Record, ...]:
        """Say that an instance lives, and end what is over: what expired, what instances that are gone had in use.

        Gives what changed. Approvals that were final for `KEPT` (or `KEPT_LONG`) are removed.
        """

    async def counts(self, server: str) -> Counts:
        """How many there are of a server."""

    async def mark(self) -> str:
        """A text that is another one after every change of an approval or of a standing one."""

    async def notices(self, server: str, busy_for: float, limit: int) -> tuple[Notice, ...]:
        """What webhooks of a server have to hear now, `limit` at most, the longest due first.

        Nobody else gets these within `busy_for` seconds.
        """

    async def noticed(self, id: str, again_in: float | None) -> None:  # noqa: A002
        """A notice was delivered, or given up (None), or is due again in so many seconds."""

    async def secret(self) -> bytes:
        """32 random bytes that all users of the store share: what is stored of arguments is a keyed hash."""
