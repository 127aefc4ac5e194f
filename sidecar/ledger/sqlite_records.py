"""Approvals in an SQLite file, within one transaction: rows to values and back, each damaged row found out.

What was asked never changes and may be long, so it has a table of its own; how an approval stands is a short text
beside it. The columns are for looking things up: a row whose columns do not say what its texts say is damaged.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from sidecar.errors import StoreUnavailable
from sidecar.ledger.approvals import MAX_PENDING, MAX_PENDING_EACH, Grant, Notice, Record, is_long
from sidecar.ledger.shared_time import SharedTime, mark_of
from sidecar.ledger.stored import Stands, asked_from, damaged, record_from, stands_of, text_of, texts_of, value_of
from sidecar.ledger.transitions import Event, Waiting, kept_until, new_id

SCHEMA: Final = (
    # `seq` is the order in which they were asked for: two may be of the same moment.
    """
    CREATE TABLE IF NOT EXISTS approvals (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
        server TEXT NOT NULL, holder TEXT NOT NULL, binding TEXT NOT NULL, call TEXT NOT NULL,
        used_grant TEXT NOT NULL, state TEXT NOT NULL, created REAL NOT NULL, changed REAL NOT NULL,
        expires REAL NOT NULL, kept_until REAL NOT NULL, is_long INTEGER NOT NULL, stands TEXT NOT NULL
    )
    """,
    # With its rows by number: a table WITHOUT ROWID reads rows whole, however long, where it looks for one.
    "CREATE TABLE IF NOT EXISTS approvals_asked (id TEXT PRIMARY KEY, asked TEXT NOT NULL, long TEXT)",
    "CREATE INDEX IF NOT EXISTS approvals_binding ON approvals (binding, seq) WHERE used_grant = ''",
    "CREATE INDEX IF NOT EXISTS approvals_call ON approvals (server, call) WHERE state IN ('in_use', 'unknown')",
    "CREATE INDEX IF NOT EXISTS approvals_pending ON approvals (holder, expires, state) WHERE state = 'pending'",
    """
    CREATE INDEX IF NOT EXISTS approvals_long ON approvals (holder, expires, state, is_long)
    WHERE state = 'pending' AND is_long = 1
    """,
    "CREATE INDEX IF NOT EXISTS approvals_expires ON approvals (expires) WHERE state IN ('pending', 'approved')",
    "CREATE INDEX IF NOT EXISTS approvals_in_use ON approvals (changed) WHERE state = 'in_use'",
    """
    CREATE INDEX IF NOT EXISTS approvals_final ON approvals (kept_until)
    WHERE state IN ('denied', 'expired', 'consumed')
    """,
    "CREATE INDEX IF NOT EXISTS approvals_changed ON approvals (changed)",
    """
    CREATE INDEX IF NOT EXISTS approvals_open ON approvals (seq)
    WHERE state IN ('pending', 'approved', 'in_use', 'unknown')
    """,
    """
    CREATE INDEX IF NOT EXISTS approvals_counts ON approvals (server, state, expires, created)
    WHERE state IN ('pending', 'approved', 'in_use', 'unknown')
    """,
    """
    CREATE TABLE IF NOT EXISTS approvals_grants (
        id TEXT PRIMARY KEY, server TEXT NOT NULL, tool TEXT NOT NULL, holder TEXT NOT NULL, rules TEXT NOT NULL,
        created REAL NOT NULL, until REAL NOT NULL, grant_ TEXT NOT NULL
    ) WITHOUT ROWID
    """,
    "CREATE INDEX IF NOT EXISTS approvals_grants_for ON approvals_grants (server, tool, holder, rules, created)",
    """
    CREATE TABLE IF NOT EXISTS approvals_notices (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, approval TEXT NOT NULL, server TEXT NOT NULL,
        event TEXT NOT NULL, at REAL NOT NULL, due REAL NOT NULL, attempts INTEGER NOT NULL, stands TEXT NOT NULL
    )
    """,
    "CREATE INDEX IF NOT EXISTS approvals_notices_due ON approvals_notices (server, due)",
    "CREATE INDEX IF NOT EXISTS approvals_notices_of ON approvals_notices (approval)",
    "CREATE TABLE IF NOT EXISTS approvals_instances (instance TEXT PRIMARY KEY, heard REAL NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS approvals_time (one INTEGER PRIMARY KEY CHECK (one = 1), mark REAL NOT NULL)",
    "CREATE TABLE IF NOT EXISTS approvals_changes (one INTEGER PRIMARY KEY CHECK (one = 1), count INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS approvals_secret (one INTEGER PRIMARY KEY CHECK (one = 1), secret BLOB NOT NULL)",
)

_ROW = (
    "SELECT approvals.id, server, holder, binding, call, used_grant, state, created, changed, expires, stands,"
    " asked, long FROM approvals{} LEFT JOIN approvals_asked ON approvals_asked.id = approvals.id"
)
_BRIEF_ROW = _ROW.replace("asked, long", "asked, NULL")
"""Without what is long of what was asked: no call needs that, and an agent may ask for the same with megabytes."""

_BY_ID = f"{_ROW.format('')} WHERE approvals.id = ?"
_BRIEF_BY_ID = f"{_BRIEF_ROW.format('')} WHERE approvals.id = ?"
_OF_BINDING = (
    f"{_BRIEF_ROW.format(' INDEXED BY approvals_binding')}"
    " WHERE binding = ? AND used_grant = '' ORDER BY seq DESC LIMIT 1"
)
_UNFINISHED = (
    f"{_BRIEF_ROW.format(' INDEXED BY approvals_call')}"
    " WHERE state IN ('in_use', 'unknown') AND server = ? AND call = ? ORDER BY seq"
)
_PENDING_OF = (
    "SELECT count(*) FROM (SELECT 1 FROM approvals INDEXED BY approvals_pending"
    " WHERE state = 'pending' AND holder = ? AND expires > ? LIMIT ?)"
)
_PENDING = (
    "SELECT count(*) FROM (SELECT 1 FROM approvals INDEXED BY approvals_pending"
    " WHERE state = 'pending' AND expires > ? LIMIT ?)"
)
_LONG_OF = (
    "SELECT count(*) FROM approvals INDEXED BY approvals_long"
    " WHERE state = 'pending' AND is_long = 1 AND holder = ? AND expires > ?"
)
_LONG = (
    "SELECT count(*) FROM approvals INDEXED BY approvals_long WHERE state = 'pending' AND is_long = 1 AND expires > ?"
)
_CHANGE = (
    "UPDATE approvals SET used_grant = ?, state = ?, changed = ?, expires = ?, kept_until = ?, stands = ? WHERE id = ?"
)
_ADD = (
    "INSERT INTO approvals (id, server, holder, binding, call, used_grant, state, created, changed, expires,"
    " kept_until, is_long, stands) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_ADD_ASKED = "INSERT INTO approvals_asked VALUES (?, ?, ?)"
_GRANT_ROW = "SELECT id, server, tool, holder, rules, until, grant_ FROM approvals_grants"
_GRANT = f"{_GRANT_ROW} WHERE id = ?"
_GRANTS = f"{_GRANT_ROW} WHERE server = ? AND tool = ? AND holder = ? AND rules = ? ORDER BY created, id"
_STORE_GRANT = (
    "INSERT INTO approvals_grants VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (id) DO UPDATE SET until = excluded.until, grant_ = excluded.grant_"
)
_ADD_NOTICE = (
    "INSERT INTO approvals_notices (id, approval, server, event, at, due, attempts, stands)"
    " VALUES (?, ?, ?, ?, ?, ?, 0, ?)"
)
_HEARD = "SELECT heard FROM approvals_instances WHERE instance = ?"
_MARK = "SELECT mark FROM approvals_time"
_STORE_MARK = "INSERT INTO approvals_time VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET mark = excluded.mark"
_CHANGES = "SELECT count FROM approvals_changes"
_COUNT_CHANGE = "INSERT INTO approvals_changes VALUES (1, 1) ON CONFLICT (one) DO UPDATE SET count = count + 1"


class SqliteRecords:
    """The approvals in a write transaction: see `sidecar.ledger.transitions.Records`."""

    def __init__(self, db: sqlite3.Connection, time: SharedTime) -> None:
        self._db = db
        self._time = time
        self._now: float | None = None
        self._heard: dict[str, float | None] = {}

    @property
    def now(self) -> float:
        if self._now is None:
            self._now = time_in(self._db, self._time)
            self._db.execute(_STORE_MARK, (self._now,))
        return self._now

    def get(self, id: str) -> Record | None:  # noqa: A002 - the field's word
        return record_with(id, self._db)

    def of_binding(self, binding: str) -> Record | None:
        row = self._db.execute(_OF_BINDING, (binding,)).fetchone()
        return record_of(row) if row else None

    def unfinished(self, server: str, call: str) -> Sequence[Record]:
        return [record_of(row) for row in self._db.execute(_UNFINISHED, (server, call)).fetchall()]

    def grant(self, id: str) -> Grant | None:  # noqa: A002
        row = self._db.execute(_GRANT, (id,)).fetchone()
        return grant_of(row) if row else None

    def grants(self, server: str, tool: str, holder: str, rules: str) -> Sequence[Grant]:
        return [grant_of(row) for row in self._db.execute(_GRANTS, (server, tool, holder, rules)).fetchall()]

    def pending(self, holder: str) -> Waiting:
        (own,) = self._db.execute(_PENDING_OF, (holder, self.now, MAX_PENDING_EACH)).fetchone()
        (everybody,) = self._db.execute(_PENDING, (self.now, MAX_PENDING)).fetchone()
        (own_long,) = self._db.execute(_LONG_OF, (holder, self.now)).fetchone()
        (long,) = self._db.execute(_LONG, (self.now,)).fetchone()
        return Waiting(own, everybody, own_long, long)

    def heard_of(self, instance: str) -> float | None:
        if instance not in self._heard:
            row = self._db.execute(_HEARD, (instance,)).fetchone()
            self._heard[instance] = mark_of(row[0]) if row else None
        return self._heard[instance]

    def put(self, record: Record, tell: Event | None = None) -> None:
        asked, stands = record.asked, text_of(stands_of(record))
        self._db.execute(_COUNT_CHANGE)
        until = kept_until(record)
        changes = (record.grant, record.state, record.changed, record.expires, until, stands, record.id)
        if self._db.execute(_CHANGE, changes).rowcount == 0:
            looked_up_by = (record.id, asked.server, asked.holder, asked.binding, asked.call, record.grant)
            times = (record.created, record.changed, record.expires, until)
            self._db.execute(_ADD, (*looked_up_by, record.state, *times, is_long(asked.shown), stands))
            self._db.execute(_ADD_ASKED, (record.id, *texts_of(asked)))
        if tell is not None and asked.notify:
            now = self.now
            self._db.execute(_ADD_NOTICE, (new_id("ntc"), record.id, asked.server, tell, now, now, stands))

    def put_grant(self, grant: Grant) -> None:
        self._db.execute(_COUNT_CHANGE)
        to_whom = (grant.server, grant.tool, grant.holder, grant.rules)
        self._db.execute(_STORE_GRANT, (grant.id, *to_whom, grant.created, grant.until, text_of(grant)))


def time_in(db: sqlite3.Connection, time: SharedTime) -> float:
    """Unix seconds now, given what users of the store have seen."""
    row = db.execute(_MARK).fetchone()
    return time.now(mark_of(row[0] if row else None))


def changes_in(db: sqlite3.Connection) -> str:
    """How often anything was written of approvals and standing ones, as a text."""
    row = db.execute(_CHANGES).fetchone()
    return str(row[0] if row else 0)


def record_with(id: str, db: sqlite3.Connection, *, brief: bool = False) -> Record | None:  # noqa: A002
    """The approval with this id; with `brief` what is long of it is not read."""
    row = db.execute(_BRIEF_BY_ID if brief else _BY_ID, (id,)).fetchone()
    return record_of(row) if row else None


def records_where(
    condition: str, values: tuple[object, ...], db: sqlite3.Connection, index: str = "", *, brief: bool = False
) -> Iterator[Record]:  # fmt: skip
    """The approvals for which a condition and order of ours holds, found by an index, without those that are damaged.

    With `brief` what is long of them is not read.

    Whoever needs a damaged one is told by `record_with`; it must not keep people from all others. SQLite knows nothing
    of how many there are in which state, and often takes another index than the one that is made for a question.
    """
    select = (_BRIEF_ROW if brief else _ROW).format(f" INDEXED BY {index}" if index else "")
    rows = db.execute(f"{select} WHERE {condition}", values)
    for row in rows.fetchall():
        with suppress(StoreUnavailable):
            yield record_of(row)


def record_of(row: tuple[object, ...]) -> Record:
    """The approval in a row of `_ROW`. Raises `StoreUnavailable` where it is damaged."""
    id_, server, holder, binding, call, used_grant, state, created, changed, expires, stands, asked, long = row
    question, one = asked_from(asked, long), value_of(stands, Stands)
    looked_up_by = (question.server, question.holder, question.binding, question.call)
    columns = (one.grant, one.state, one.created, one.changed, one.expires)
    if looked_up_by != (server, holder, binding, call) or columns != (used_grant, state, created, changed, expires):
        raise damaged()
    return record_from(id_, question, one)


def grant_of(row: tuple[object, ...]) -> Grant:
    """The standing approval in a row of `_GRANT_ROW`. Raises `StoreUnavailable` where it is damaged."""
    *columns, text = row
    grant = value_of(text, Grant)
    if columns != [grant.id, grant.server, grant.tool, grant.holder, grant.rules, grant.until]:
        raise damaged()
    return grant


def notice_of(row: tuple[object, ...]) -> Notice:
    """The notice in a row of id, event, time, attempts, approval's id, how it stood, and both texts of what was asked.

    Raises `StoreUnavailable` where it is damaged.
    """
    id_, event, at, attempts, approval, stands, asked, long = row
    record = record_from(approval, asked_from(asked, long), value_of(stands, Stands))
    try:
        return msgspec.convert({"id": id_, "event": event, "at": at, "attempts": attempts, "record": record}, Notice)
    except msgspec.ValidationError:
        raise damaged() from None
