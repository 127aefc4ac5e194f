"""The highest serial of a bundle that was ever admitted for a server: how it stands in a store, and how it is raised.

It only rises. So who hears nothing of having raised it may just try again. It never expires; where somebody empties the
store, it is forgotten, and any serial counts as new.
"""

from __future__ import annotations

import re
import sqlite3
from typing import Any, Final

from sidecar.errors import StoreUnavailable
from sidecar.ledger.names import of_server
from sidecar.ledger.protocol import MAX_SERIAL, Highest

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS admitted (
    server TEXT NOT NULL, serial INTEGER NOT NULL, revision TEXT NOT NULL, PRIMARY KEY (server)
) WITHOUT ROWID
"""
_STANDS: Final = "SELECT serial, revision FROM admitted WHERE server = ?"
_RAISE: Final = (
    "INSERT INTO admitted VALUES (?, ?, ?)"
    " ON CONFLICT (server) DO UPDATE SET serial = excluded.serial, revision = excluded.revision"
)

RAISE: Final = """
-- The key, and one that never exists: a server that is not to be written to, and may be behind, refuses to remove it.
-- A serial has at most 16 digits: above 2^53 doubles still sort it no lower, and whoever reads it refuses it.
redis.call('DEL', KEYS[2])
local stands = redis.call('GET', KEYS[1])
if stands then
  local serial = string.match(stands, '^([1-9]%d*) [%w%p]+$')
  if not serial or #serial > 16 then
    error('a serial is no number')
  end
  if tonumber(serial) >= tonumber(ARGV[1]) then
    return stands
  end
end
local raised = ARGV[1] .. ' ' .. ARGV[2]
redis.call('SET', KEYS[1], raised)
return raised
"""

_TEXT: Final = re.compile(rb"([1-9][0-9]{0,15}) ([\x21-\x7e]{1,64})")


def key(prefix: str, server: str) -> str:
    """The key in Redis. No counter's begins with a bar."""
    return f"{prefix}|bundle|{of_server(server)}"


def raised(db: sqlite3.Connection, server: str, bundle: Highest) -> Highest:
    """Raise it in an SQLite file, within a write transaction: the highest after that. Raises `StoreUnavailable`."""
    row = db.execute(_STANDS, (server,)).fetchone()
    if row is not None and (stands := _highest(*row)).serial >= bundle.serial:
        return stands
    db.execute(_RAISE, (server, bundle.serial, bundle.revision))
    return bundle


def read_raised(text: Any) -> Highest:
    """What `RAISE` answered. Raises `StoreUnavailable` for what is no serial and revision."""
    found = _TEXT.fullmatch(text) if isinstance(text, bytes) else None
    if found is None:
        raise _damaged()
    return _highest(int(found[1]), found[2].decode())


def _highest(serial: object, revision: object) -> Highest:
    if type(serial) is not int or not 1 <= serial <= MAX_SERIAL or not isinstance(revision, str):
        raise _damaged()
    return Highest(serial, revision)


def _damaged() -> StoreUnavailable:
    return StoreUnavailable("the store holds a serial of an admitted bundle that is not as we wrote it")
