"""One look of `sidecar status`: at the sidecars that run, at their audit logs, and at the store of approvals."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path

from sidecar.cli import status_audit
from sidecar.cli.status_values import Counted, Looked, Status, Waiting
from sidecar.errors import StartError, StoreUnavailable
from sidecar.system import instances, ownership


@dataclass(frozen=True, slots=True)
class Place:
    """Where to look: a state folder, and the store that `dsn` names, where approvals are not in the folder."""

    folder: Path
    dsn: str | None = field(repr=False)
    prefix: str


async def look(place: Place) -> Status:
    """Everything there is to know now. What cannot be had is said in the values."""
    # Only here: what asks over HTTP and reads metrics takes long to import.
    from sidecar.cli import status_telemetry  # noqa: PLC0415

    now, folder = time.time(), str(place.folder)
    instances.forget_ended(folder)
    running = instances.running(folder)
    looked = await asyncio.gather(*map(status_telemetry.look, running))
    for one in looked:
        if not one.counted.source:
            one.counted = status_audit.counted(one.instance.audit)
    events = place.folder / "events"
    audits = [one.audit for one in running] or status_audit.latest(events, now)
    past = Counted() if running else status_audit.of_last_day(events, now)
    return Status(folder, looked, past, status_audit.recent(audits), await _waiting(place, looked))


async def _waiting(place: Place, looked: list[Looked]) -> Waiting:
    if place.dsn is None and not (place.folder / "counters.db").is_file():
        return Waiting()
    # Only here: it imports much that nobody needs who has no store.
    from sidecar.cli.approvals_store import Store, ledger_of  # noqa: PLC0415

    try:
        if place.dsn is None:
            ownership.check(place.folder, "the state folder (--state-dir)")
        async with ledger_of(Store(place.folder, place.dsn, place.prefix)) as ledger:
            listed = await ledger.approvals.records(("pending", "unknown"), brief=True)
    except (StoreUnavailable, StartError) as error:
        return Waiting(None, None, str(error))
    return Waiting(
        sum(one.state == "pending" for one in listed), sum(one.state == "unknown" for one in listed)
    )  # fmt: skip
