"""The store that people answer approvals in, opened from the command line: never made, and every answer audited."""

from __future__ import annotations

import errno
import os
import pwd
import re
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sidecar.audit.files import AuditFile, is_file
from sidecar.audit.forms.json_lines import JsonLines
from sidecar.audit.key import installation_key
from sidecar.audit.records import Audit
from sidecar.audit.trail import Trail
from sidecar.cli.options import default_state_dir
from sidecar.errors import SidecarError, StartError, UsageError
from sidecar.events import Emit, fan_out
from sidecar.ledger.approvals import STATES, Approvals, NoApproval, Record
from sidecar.ledger.protocol import Ledger
from sidecar.ledger.sqlite import SqliteLedger
from sidecar.serve.observing import state_folder
from sidecar.settings import AuditLog
from sidecar.system import ownership
from sidecar.text import shown

INSTANCE: Final = "cli"
"""How audit lines name who wrote them: no sidecar has this name."""

LEAST: Final = 4
"""Digits of an id that are enough to name it, where no other begins so."""
MOST: Final = 5_000
"""Approvals among which one is looked for by the beginning of its id."""

PATIENCE: Final = 5.0
"""Seconds that an answer waits for others that are written at this moment."""

_ID: Final = re.compile(r"(?:apr_)?(?P<digits>[0-9a-f]{1,20})")
_WHOLE: Final = 20


class CannotAnswer(SidecarError):
    """There is no such approval, or it is in no state for this answer. Exit status 1."""


@dataclass(frozen=True, slots=True)
class Store:
    """Where approvals are: a folder's file, or what `dsn` names, whose keys begin with `prefix`.

    With a `dsn` the folder only gets the audit lines.
    """

    state_dir: Path
    dsn: str | None = field(repr=False)
    prefix: str


def store_at(state_dir: Path | None, dsn: str | None, prefix: str) -> Store:
    """The store that the options name. Raises `StartError` if there is none, so that none is made by looking."""
    folder = state_dir or default_state_dir()
    if dsn is None:
        if prefix:
            raise UsageError("--state-prefix is for the keys in --state-dsn: give both, or neither")
        if not (folder / "counters.db").is_file():
            raise StartError(
                f"no approvals in {folder}: name the folder that `sidecar run` was given with --state-dir, or the "
                "store that it was given with --state-dsn"
            )
        try:
            ownership.check(folder, "the state folder (--state-dir)")
        except StartError as error:
            raise StartError(f"{error}. The user of the sidecar can answer there") from None
    return Store(folder, dsn, prefix)


@asynccontextmanager
async def ledger_of(store: Store) -> AsyncIterator[Ledger]:
    """The store, open. Raises `StoreUnavailable`."""
    if store.dsn is None:
        ledger: Ledger = SqliteLedger(store.state_dir / "counters.db", time.time)
    else:
        # Only here: the library takes 130 ms to import.
        from sidecar.ledger.redis import RedisLedger  # noqa: PLC0415

        ledger = RedisLedger(store.dsn, store.prefix, time.time)
    try:
        yield ledger
    finally:
        await ledger.close()


@contextmanager
def audited(store: Store) -> Iterator[Emit]:
    """What writes a line for each answer and each refused try into `events/approvals.jsonl`. Raises `StartError`.

    It is open before anything is answered: where nothing can be recorded, nothing is decided.
    """
    folder = state_folder(store.state_dir)
    path = folder / "events" / "approvals.jsonl"
    try:
        if not is_file(path):
            raise OSError(errno.EINVAL, "it is no regular file")
        # Others who answer at this moment have the file for a moment only.
        file, key = AuditFile(path, JsonLines(), AuditLog(None).size, PATIENCE), installation_key(folder)
    except OSError as error:
        raise StartError(f"cannot write the audit log {path}: {error.strerror}; nothing was decided") from None
    trail = Trail(file, about={"instance": INSTANCE})
    try:
        yield fan_out([Audit(trail, key, INSTANCE)])
    finally:
        trail.close()


async def find(approvals: Approvals, text: str) -> Record:
    """The approval with this id, or the only one whose id begins so. Raises `CannotAnswer`."""
    named = _ID.fullmatch(text.strip())
    if named is None:
        raise CannotAnswer(f"{shown(text)} is no id of an approval: `sidecar approvals list` shows them")
    digits = named["digits"]
    if len(digits) == _WHOLE:
        try:
            return await approvals.find(f"apr_{digits}")
        except NoApproval:
            raise CannotAnswer(_unknown(f"apr_{digits}")) from None
    if len(digits) < LEAST:
        raise CannotAnswer(f"{shown(text)} is too short: write at least {LEAST} digits of the id")
    among = await approvals.records(STATES, limit=MOST, brief=True)
    if len(among) >= MOST:
        raise CannotAnswer(f"there are too many approvals to look for {shown(text)}: write the whole id")
    found = [one for one in among if one.id.startswith(f"apr_{digits}")]
    if not found:
        raise CannotAnswer(_unknown(f"apr_{digits}…"))
    if len(found) > 1:
        raise CannotAnswer(f"{len(found)} approvals begin with apr_{digits}: write more of the id")
    return await whole(approvals, found[0])


async def whole(approvals: Approvals, listed: Record) -> Record:
    """An approval of a brief list with what that left out."""
    return listed if listed.asked.shown.arguments else await approvals.find(listed.id)


def user() -> str:
    """The name of the user who runs this, by the system and not by the environment."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"  # containers run as users without a name


def origin() -> str:
    """Where an answer comes from: the user and the machine."""
    return f"{user()}@{socket.gethostname()}"


def _unknown(id_: str) -> str:
    return f"there is no approval {id_} in this store: `sidecar approvals list --all` shows all"
