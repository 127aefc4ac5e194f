"""The approvals in Redis or Valkey: what calls claim of them, what people answer, and the upkeep.

A claim whose answer is lost was certainly not forwarded: if it was taken after all, the next sweep of this instance
releases it. So who reads of an approval in use may rely on it: somebody runs the call and will say what became of it,
or is gone.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

import msgspec
from msgspec.structs import replace

from sidecar.errors import StoreUnavailable
from sidecar.ledger import transitions
from sidecar.ledger.approval_scripts import COUNT, FETCH, GRANTS, LIST, NOTICED, NOTICES, SECRET, SINCE, SWEEP
from sidecar.ledger.approvals import (
    KEPT,
    LOST_AFTER,
    STATES,
    Answer,
    Counts,
    Grant,
    NoApproval,
    Notice,
    QueueFull,
    Record,
    Settlement,
    State,
    Unapproved,
    Wants,
)
from sidecar.ledger.protocol import Claim, Claimed, Moved
from sidecar.ledger.redis_connection import Connection
from sidecar.ledger.redis_counters import Taking
from sidecar.ledger.redis_records import (
    Kept,
    Question,
    RedisRecords,
    grant_of,
    known_of,
    notice_of,
    questions_of,
)
from sidecar.ledger.redis_transactions import NO_COUNTING, Counting, Transactions, counting_back, counting_of
from sidecar.ledger.stored import value_of
from sidecar.ledger.transitions import Settled, Use, can_be_used, seen_at
from sidecar.ledger.values import Entry

MAX_SWEPT: Final = 200
"""Approvals that one sweep ends, and as many that it removes."""
AT_ONCE: Final = 20
"""Approvals of one transaction of the sweep, for which calls wait."""
MAX_FETCHED: Final = 4 << 20
"""Bytes after which no more approvals come with one answer; and no more than `FETCHED`, however short they are."""
FETCHED: Final = 100
SECRET_BYTES: Final = 32

_LIVE: Final[tuple[State, ...]] = ("pending", "approved")
_COUNTED: Final[tuple[State, ...]] = ("pending", "approved", "in_use", "unknown")

_Result = TypeVar("_Result")


class Lost(msgspec.Struct, frozen=True):
    """An approval that was perhaps taken, for a call that is not forwarded; `version` would be the one of that."""

    record: Record
    version: str


class RedisApprovals:
    """See `sidecar.ledger.approvals.Approvals`, and `Ledger.claim` for `claim`."""

    def __init__(self, connection: Connection, prefix: str, transactions: Transactions) -> None:
        self._connection = connection
        self._prefix = prefix
        self._transactions = transactions
        self._fetch_script = connection.script(FETCH)
        self._list_script = connection.script(LIST)
        self._since_script = connection.script(SINCE)
        self._grants_script = connection.script(GRANTS)
        self._count_script = connection.script(COUNT)
        self._sweep_script = connection.script(SWEEP)
        self._notices_script = connection.script(NOTICES)
        self._noticed_script = connection.script(NOTICED)
        self._secret_script = connection.script(SECRET)
        self._uses: dict[str, Record] = {}
        self._lost: list[Lost] = []

    async def claim(self, wants: Wants, taking: Taking) -> Claimed:
        """Take what a call takes from its limits together with the approval that it wants, or ask for that."""

        def work(records: RedisRecords) -> tuple[Record | Unapproved | QueueFull | None, Counting]:
            use = transitions.take(wants, records)
            if isinstance(use, Unapproved | QueueFull):
                # Where a call takes nothing but asks a person, that needs memory, which Redis may refuse.
                return use, counting_of(taking.nothing()) if taking.seen or records.commands else NO_COUNTING
            return use.put(taking.entries, records) if isinstance(use, Use) else None, counting_of(taking)

        done = await self._transactions.run(work, questions_of(wants), lost=self._lose)
        result = done.result
        if isinstance(result, Unapproved | QueueFull):
            moved = done.answer is not None and isinstance(taking.nothing().claimed(done.answer), Moved)
            return Moved() if moved else result
        try:
            claimed = taking.claimed(done.answer)
        except StoreUnavailable:
            self._lose(result, done.version)
            raise
        if result is None or not isinstance(claimed, Claim):
            return claimed
        self._uses[result.id] = result
        return replace(claimed, approval=result)

    async def find(self, id: str, *, brief: bool = False) -> Record:  # noqa: A002 - the field's word
        now, (answer,) = await self._ask(self._fetch_script, MAX_FETCHED, "brief" if brief else "", id)
        if (known := known_of(answer)) is None:
            raise NoApproval
        return seen_at(known.record, self._transactions.time(now))

    async def records(
        self, states: Collection[State] = STATES, *, server: str = "", limit: int = 1_000, changed_after: float = 0.0,
        brief: bool = False,
    ) -> list[Record]:  # fmt: skip
        ids = await (self._since(changed_after) if changed_after else self._newest(states, server, limit))
        found: list[Record] = []
        while ids and len(found) < limit:
            words = (MAX_FETCHED, "brief" if brief else "", *ids[:FETCHED])
            mark, answers = await self._ask(self._fetch_script, *words)
            found += [
                record
                for record in _readable(answers, self._transactions.time(mark))
                if record.state in states and record.changed > changed_after and server in ("", record.asked.server)
            ]
            ids = ids[len(answers) :]
        return found[:limit]

    async def grants(self, server: str = "") -> list[Grant]:
        mark, texts = await self._ask(self._grants_script)
        now, found = self._transactions.time(mark), []
        for text in texts:
            with suppress(StoreUnavailable):  # a damaged one lets no call through, and hides no other
                found.append(grant_of(text))
        usable = [one for one in found if can_be_used(one, now) and server in ("", one.server)]
        return sorted(usable, key=lambda grant: (grant.created, grant.id), reverse=True)

    async def decide(self, id: str, answer: Answer) -> tuple[Record, bool]:  # noqa: A002
        return await self._do(lambda records: transitions.decide(id, answer, records), ("record", id))

    async def resolve(self, id: str, answer: Answer) -> Record:  # noqa: A002
        return await self._settled(lambda records: transitions.resolve(id, answer, records), id)

    async def revoke(self, id: str, answer: Answer) -> Record:  # noqa: A002
        return await self._do(lambda records: transitions.revoke(id, answer, records), ("record", id), ("grant", id))

    def settle_at_once(
        self, id: str, how: Settlement, entries: tuple[Entry, ...] = (), use: int | None = None,  # noqa: A002
    ) -> Record | None:  # fmt: skip
        """None: the network always needs waiting."""
        return None

    async def settle(
        self, id: str, how: Settlement, entries: tuple[Entry, ...] = (), use: int | None = None,  # noqa: A002
    ) -> Record:  # fmt: skip
        taken = self._uses.get(id)
        if taken is not None and use not in (None, taken.uses):
            taken = None
        number = taken.uses if taken else use

        def work(records: RedisRecords) -> Settled:
            before = records.get(id)
            if taken is not None and (before is None or before.uses < taken.uses):
                records.put(taken)  # the store forgot that it was taken, as after a failover: the call ran all the same
            return transitions.settle(id, how, entries, records, number)

        record = await self._settled(work, id)
        if taken is not None and self._uses.get(id) is taken:
            del self._uses[id]
        return record

    async def sweep(self, instance: str) -> tuple[Record, ...]:
        changed: list[Record] = []
        failed = None
        for step in (partial(self._end_over, instance), self._release_lost):
            try:
                await step(changed)
            except StoreUnavailable as error:  # what keeps the one from its end does not keep the other from it
                failed = error
        if failed is not None and not changed:
            raise failed  # else what changed is told first; the next sweep finds the store as it is then
        return tuple(changed)

    async def counts(self, server: str) -> Counts:
        *counted, oldest = await self._ask(self._count_script, server)
        states = dict(zip(_COUNTED, counted, strict=True))
        return Counts(states, None if oldest is None else value_of(oldest, Kept).stands.created)

    async def mark(self) -> str:
        base = self._transactions.base

        async def look() -> Any:
            return await self._connection.redis.hget(base, "version")

        # Every transaction that writes has a version of its own; that an instance lives is no transaction.
        return _text(await self._connection.ask(look) or b"")

    async def notices(self, server: str, busy_for: float, limit: int) -> tuple[Notice, ...]:
        found = []
        for answer in await self._ask(self._notices_script, server, repr(busy_for), limit):
            try:
                found.append(notice_of(answer))
            except StoreUnavailable:  # nobody can be told what it says, now or later
                await self._ask(self._noticed_script, answer[0], "")
        return tuple(notice for *_, notice in sorted(found, key=lambda one: one[:2]))

    async def noticed(self, id: str, again_in: float | None) -> None:  # noqa: A002
        await self._ask(self._noticed_script, id, "" if again_in is None else repr(again_in))

    async def secret(self) -> bytes:
        stored = await self._ask(self._secret_script, secrets.token_hex(SECRET_BYTES))
        try:
            secret = bytes.fromhex(stored.decode())
        except ValueError:
            secret = b""
        if len(secret) != SECRET_BYTES:
            raise StoreUnavailable("the secret in the store of approvals is not as we wrote it")
        return secret

    async def _newest(self, states: Collection[State], server: str, limit: int) -> list[bytes]:
        """The ids of approvals in these states, the newest first; among them some that expired and were not noted."""
        # Those whose time is over have expired, whatever they stand as.
        wanted = {*states, *(_LIVE if "expired" in states else ())}
        words: list[str | int] = []
        for state in wanted:
            last = -1 if state in _LIVE else limit - 1
            words += [f"at|{state}|{server}" if server else f"at|{state}", last]
        found: list[tuple[int, bytes]] = []
        for answer in await self._ask(self._list_script, *words) if limit > 0 else ():
            found += zip(map(int, answer[1::2]), answer[::2], strict=True)
        return [id_ for _, id_ in sorted(found, reverse=True)]

    async def _since(self, changed_after: float) -> list[bytes]:
        """The ids of approvals that came into their state later, the newest first."""
        found = {}
        for id_, stands in await self._ask(self._since_script, repr(changed_after)):
            with suppress(StoreUnavailable):  # a damaged one: see above
                found[id_] = value_of(stands, Kept).seq
        return sorted(found, key=found.__getitem__, reverse=True)

    async def _end_over(self, instance: str, changed: list[Record]) -> None:
        """Say that an instance lives, end what is over, and remove what is old; `changed` gets what ended."""
        words = (instance, repr(LOST_AFTER), repr(KEPT), MAX_SWEPT)
        over, lost, old, ended = await self._ask(self._sweep_script, *words)
        for ids in _chunks([*over, *lost]):
            changed += await self._do(partial(_end, ids), *(("brief", one) for one in ids))
        for ids in _chunks(ended):
            await self._do(partial(_remove_grants, ids), *(("grant", one) for one in ids))
        for ids in _chunks(old):
            await self._do(partial(_remove, ids), *(("brief", one) for one in ids))

    async def _release_lost(self, changed: list[Record]) -> None:
        """Release what was taken without our knowing; `changed` gets it."""
        for lost in tuple(self._lost):
            # One that cannot be released does not stand in the way of the others.
            self._lost.remove(lost)
            self._lost.append(lost)
            # With a new version, so that a claim that is still on its way comes too late.
            release = partial(self._release, lost)
            done = await self._transactions.run(release, [("record", lost.record.id)], always=True)
            self._lost.remove(lost)
            if done.result is not None:
                changed.append(done.result)

    def _release(self, lost: Lost, records: RedisRecords) -> tuple[Record | None, Counting]:
        taken = lost.record
        try:
            version = records.version_of(taken.id)
        except StoreUnavailable:
            return None, NO_COUNTING  # a damaged one lets nothing through
        if version != lost.version:
            return None, NO_COUNTING  # it was not taken, or others have changed it since
        settled = transitions.settle(taken.id, "released", taken.entries, records)
        return settled.record, counting_back(self._prefix, settled.back)

    def _lose(self, result: Record | Unapproved | QueueFull | None, version: str) -> None:
        """No answer says whether a call took its approval. It is not forwarded."""
        if isinstance(result, Record):
            self._lost.append(Lost(result, version))

    async def _settled(self, work: Callable[[RedisRecords], Settled], id_: str) -> Record:
        def settle(records: RedisRecords) -> tuple[Record, Counting]:
            settled = work(records)
            return settled.record, counting_back(self._prefix, settled.back)

        return (await self._transactions.run(settle, [("record", id_)])).result

    async def _do(self, work: Callable[[RedisRecords], _Result], *questions: Question) -> _Result:
        """A transaction that counts nothing."""

        def do(records: RedisRecords) -> tuple[_Result, Counting]:
            return work(records), NO_COUNTING

        return (await self._transactions.run(do, questions)).result

    async def _ask(self, script: Any, *words: str | bytes | int) -> Any:
        keys, arguments = self._transactions.keys, [self._transactions.now(), *words]
        return await self._connection.ask(partial(script, keys, arguments))


def _end(ids: Sequence[str], records: RedisRecords) -> list[Record]:
    """What becomes of approvals whose time is over, or whose instance is gone."""
    changed = []
    for id_ in ids:
        with suppress(StoreUnavailable):  # a damaged one is told to who needs it; it keeps nobody from the others
            record = records.get(id_)
            if record is not None and (after := transitions.over(record, records)) is not None:
                changed.append(after)
    return changed


def _remove(ids: Sequence[str], records: RedisRecords) -> None:
    for id_ in ids:
        with suppress(StoreUnavailable):  # see above
            record = records.get(id_)
            if record is not None and transitions.is_old(record, records):
                records.remove(record.id)


def _remove_grants(ids: Sequence[str], records: RedisRecords) -> None:
    for id_ in ids:
        with suppress(StoreUnavailable):  # see above
            grant = records.grant(id_)
            if grant is None or records.now >= grant.until:
                records.remove_grant(id_)


def _readable(answers: Sequence[Any], now: float) -> Iterator[Record]:
    """The approvals in answers as people see them, without those that are damaged, and those that are gone by now."""
    for answer in answers:
        with suppress(StoreUnavailable):  # whoever needs it is told by `find`
            if (known := known_of(answer)) is not None:
                yield seen_at(known.record, now)


def _chunks(ids: Sequence[bytes]) -> Iterator[list[str]]:
    for first in range(0, len(ids), AT_ONCE):
        yield [_text(id_) for id_ in ids[first : first + AT_ONCE]]


def _text(id_: str | bytes) -> str:
    return id_.decode() if isinstance(id_, bytes) else id_
