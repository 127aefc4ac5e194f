"""The approvals in an SQLite store, for people and for the upkeep: each answer is one transaction."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Final, TypeVar

from sidecar.errors import StoreUnavailable
from sidecar.ledger import transitions
from sidecar.ledger.approvals import (
    KEPT,
    LOST_AFTER,
    OPEN,
    STATES,
    Answer,
    Counts,
    Grant,
    NoApproval,
    Notice,
    Record,
    Settlement,
    State,
)
from sidecar.ledger.shared_time import SharedTime
from sidecar.ledger.sqlite_access import Access
from sidecar.ledger.sqlite_counters import give_back
from sidecar.ledger.sqlite_records import (
    SqliteRecords,
    changes_in,
    grant_of,
    notice_of,
    record_with,
    records_where,
    time_in,
)
from sidecar.ledger.transitions import Settled, can_be_used, seen_at
from sidecar.ledger.values import Entry

MAX_SWEPT: Final = 50
"""Approvals that one sweep ends, and as many that it removes: a sweep holds up calls."""

SECRET_BYTES: Final = 32

# Those whose time is over have expired, whatever stands in the column.
_SEEN_AS = "CASE WHEN state IN ('pending', 'approved') AND expires <= ? THEN 'expired' ELSE state END"
_IS_OPEN = " AND state IN ('pending', 'approved', 'in_use', 'unknown')"
_CHANGED_AFTER = (
    " AND seq IN (SELECT seq FROM approvals WHERE changed > ? UNION"
    " SELECT seq FROM approvals WHERE state IN ('pending', 'approved') AND expires <= ? AND expires > ?)"
)
_OVER = "state IN ('pending', 'approved') AND expires <= ? ORDER BY expires LIMIT ?"
_LOST = "state = 'in_use' AND changed <= ? ORDER BY changed LIMIT ?"
_LIVES = "INSERT INTO approvals_instances VALUES (?, ?) ON CONFLICT (instance) DO UPDATE SET heard = excluded.heard"
_FORGET_INSTANCES = "DELETE FROM approvals_instances WHERE heard <= ?"
_FORGET_GRANTS = "DELETE FROM approvals_grants WHERE until <= ?"
_OLD = (
    "SELECT id FROM approvals INDEXED BY approvals_final"
    " WHERE state IN ('denied', 'expired', 'consumed') AND kept_until <= ?"
    " AND NOT EXISTS (SELECT 1 FROM approvals_grants WHERE approvals_grants.id = approvals.id)"
    " ORDER BY kept_until LIMIT ?"
)
_FORGET = (
    "DELETE FROM approvals WHERE id = ?",
    "DELETE FROM approvals_asked WHERE id = ?",
    "DELETE FROM approvals_notices WHERE approval = ?",
)
_GRANTS = (
    "SELECT id, server, tool, holder, rules, until, grant_ FROM approvals_grants"
    " WHERE until > ? AND ? IN ('', server) ORDER BY created DESC, id DESC"
)
_COUNTS = (
    "SELECT state, count(*), min(created) FROM approvals INDEXED BY approvals_counts WHERE server = ? AND state IN"
    " ('pending', 'approved', 'in_use', 'unknown') AND (state IN ('in_use', 'unknown') OR expires > ?) GROUP BY state"
)
_DUE = (
    "SELECT approvals_notices.id, event, at, attempts, approval, stands, asked, long"
    " FROM approvals_notices LEFT JOIN approvals_asked ON approvals_asked.id = approval"
    " WHERE server = ? AND due <= ? ORDER BY due, seq LIMIT ?"
)
_ANY_DUE = "SELECT 1 FROM approvals_notices WHERE server = ? AND due <= ? LIMIT 1"
_LEASE = "UPDATE approvals_notices SET due = ? WHERE id = ?"
_AGAIN = "UPDATE approvals_notices SET due = ?, attempts = attempts + 1 WHERE id = ?"
_DELIVERED = "DELETE FROM approvals_notices WHERE id = ?"
_SECRET = "SELECT secret FROM approvals_secret"  # noqa: S105 - no secret, where it stands
_NEW_SECRET = "INSERT INTO approvals_secret VALUES (1, ?)"  # noqa: S105

_Result = TypeVar("_Result")


class SqliteApprovals:
    """See `sidecar.ledger.approvals.Approvals`."""

    def __init__(self, access: Access, time: SharedTime) -> None:
        self._access = access
        self._time = time

    async def find(self, id: str, *, brief: bool = False) -> Record:  # noqa: A002 - the field's word
        def look(db: sqlite3.Connection) -> Record:
            if (record := record_with(id, db, brief=brief)) is None:
                raise NoApproval
            return seen_at(record, time_in(db, self._time))

        return await self._access.read(look)

    async def records(
        self, states: Collection[State] = STATES, *, server: str = "", limit: int = 1_000, changed_after: float = 0.0,
        brief: bool = False,
    ) -> list[Record]:  # fmt: skip
        def look(db: sqlite3.Connection) -> list[Record]:
            now = time_in(db, self._time)
            condition = f"{_SEEN_AS} IN ({', '.join('?' * len(states))})"
            values: tuple[object, ...] = (now, *states)
            index = ""
            if OPEN.issuperset(states):
                condition, index = condition + _IS_OPEN, "approvals_open"
            if changed_after:
                index = ""
                condition += _CHANGED_AFTER
                values += (changed_after, now, changed_after)
            if server:
                condition += " AND server = ?"
                values += (server,)
            found = records_where(f"{condition} ORDER BY seq DESC LIMIT ?", (*values, limit), db, index, brief=brief)
            return [seen_at(record, now) for record in found]

        return await self._access.look(look)

    async def grants(self, server: str = "") -> list[Grant]:
        def look(db: sqlite3.Connection) -> list[Grant]:
            now, found = time_in(db, self._time), []
            for row in db.execute(_GRANTS, (now, server)).fetchall():
                with suppress(StoreUnavailable):  # a damaged one lets no call through, and hides no other
                    found.append(grant_of(row))
            return [grant for grant in found if can_be_used(grant, now)]

        return await self._access.look(look)

    async def decide(self, id: str, answer: Answer) -> tuple[Record, bool]:  # noqa: A002
        return await self._do(lambda records: transitions.decide(id, answer, records))

    async def resolve(self, id: str, answer: Answer) -> Record:  # noqa: A002
        return await self._access.do(self._settled(lambda records: transitions.resolve(id, answer, records)))

    async def revoke(self, id: str, answer: Answer) -> Record:  # noqa: A002
        return await self._access.wait(
            lambda db: transitions.revoke(id, answer, SqliteRecords(db, self._time)), lasts=lambda _: True
        )

    def settle_at_once(
        self, id: str, how: Settlement, entries: tuple[Entry, ...] = (), use: int | None = None,  # noqa: A002
    ) -> Record | None:  # fmt: skip
        work = self._settling(id, how, entries, use)
        return self._access.at_once(lambda: self._access.hasty.run(work))

    async def settle(
        self, id: str, how: Settlement, entries: tuple[Entry, ...] = (), use: int | None = None,  # noqa: A002
    ) -> Record:  # fmt: skip
        return await self._access.wait(self._settling(id, how, entries, use))

    async def sweep(self, instance: str) -> tuple[Record, ...]:
        return await self._access.do(lambda db: self._sweep(db, instance))

    async def counts(self, server: str) -> Counts:
        def look(db: sqlite3.Connection) -> Counts:
            rows = db.execute(_COUNTS, (server, time_in(db, self._time))).fetchall()
            oldest = next((created for state, _, created in rows if state == "pending"), None)
            return Counts({**dict.fromkeys(OPEN, 0), **{state: number for state, number, _ in rows}}, oldest)

        return await self._access.read(look)

    async def mark(self) -> str:
        return await self._access.read(changes_in)

    async def notices(self, server: str, busy_for: float, limit: int) -> tuple[Notice, ...]:
        def any_due(db: sqlite3.Connection) -> bool:
            return db.execute(_ANY_DUE, (server, time_in(db, self._time))).fetchone() is not None

        def lease(db: sqlite3.Connection) -> tuple[Notice, ...]:
            now, found = SqliteRecords(db, self._time).now, []
            for row in db.execute(_DUE, (server, now, limit)).fetchall():
                try:
                    found.append(notice_of(row))
                except StoreUnavailable:  # nobody can be told what it says, now or later
                    db.execute(_DELIVERED, (row[0],))
                else:
                    db.execute(_LEASE, (now + busy_for, row[0]))
            return tuple(found)

        return await self._access.do(lease) if await self._access.read(any_due) else ()

    async def noticed(self, id: str, again_in: float | None) -> None:  # noqa: A002
        def note(db: sqlite3.Connection) -> None:
            if again_in is None:
                db.execute(_DELIVERED, (id,))
            else:
                db.execute(_AGAIN, (SqliteRecords(db, self._time).now + again_in, id))

        await self._access.do(note)

    async def secret(self) -> bytes:
        def look(db: sqlite3.Connection) -> bytes:
            if (row := db.execute(_SECRET).fetchone()) is None:
                db.execute(_NEW_SECRET, (secrets.token_bytes(SECRET_BYTES),))
                row = db.execute(_SECRET).fetchone()
            secret = row[0]
            if not isinstance(secret, bytes) or len(secret) != SECRET_BYTES:
                raise StoreUnavailable("the secret in the store of approvals is not as we wrote it")
            return secret

        return await self._access.do(look)

    async def _do(self, work: Callable[[SqliteRecords], _Result]) -> _Result:
        return await self._access.do(lambda db: work(SqliteRecords(db, self._time)))

    def _settling(
        self, id_: str, how: Settlement, entries: tuple[Entry, ...], use: int | None
    ) -> Callable[[sqlite3.Connection], Record]:  # fmt: skip
        return self._settled(lambda records: transitions.settle(id_, how, entries, records, use))

    def _settled(self, work: Callable[[SqliteRecords], Settled]) -> Callable[[sqlite3.Connection], Record]:
        def run(db: sqlite3.Connection) -> Record:
            settled = work(SqliteRecords(db, self._time))
            give_back(db, settled.back)
            return settled.record

        return run

    def _sweep(self, db: sqlite3.Connection, instance: str) -> tuple[Record, ...]:
        records = SqliteRecords(db, self._time)
        now = records.now
        db.execute(_LIVES, (instance, now))
        ended = [
            *records_where(_OVER, (now, MAX_SWEPT), db, "approvals_expires", brief=True),
            *records_where(_LOST, (now - LOST_AFTER, MAX_SWEPT), db, "approvals_in_use", brief=True),
        ]
        changed = [after for record in ended if (after := transitions.over(record, records)) is not None]
        db.execute(_FORGET_INSTANCES, (now - KEPT,))
        db.execute(_FORGET_GRANTS, (now,))
        for (old,) in db.execute(_OLD, (now, MAX_SWEPT)).fetchall():
            for statement in _FORGET:
                db.execute(statement, (old,))
        return tuple(changed)
