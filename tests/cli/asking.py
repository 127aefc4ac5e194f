"""Calls that wait for a person in a store, as the gate would leave them there."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from sidecar.ledger.approvals import Asked, GrantTerms, Recent, Record, Shown, Unapproved
from sidecar.ledger.protocol import Claim, Ledger
from sidecar.ledger.sqlite import SqliteLedger
from sidecar.ledger.values import Reservation
from sidecar.mcp import strict_json

ORDERS: Final = Reservation("okx/cancel_order.orders", "", 3600, 1, 10)
"""What a call of these takes, where it takes something."""
GRANT: Final = GrantTerms(3600, 10, (("args.instId", "value SOL-USDT"),), (("args.sz", "5"),), ("args.px",))

_NUMBERS: Final = itertools.count(1)
_Result = TypeVar("_Result")


def asked(
    arguments: dict[str, Any] | None = None, *, tool: str = "cancel_order", approvers: int = 1, four_eyes: bool = False,
    asker: str = "", grant: GrantTerms | None = None, takes: bool = False, timeout: int = 1800, server: str = "okx",
    masked: tuple[str, ...] = (), **shown: Any,
) -> Asked:  # fmt: skip
    """A call of its own, that needs a person."""
    name = f"{next(_NUMBERS)}"
    given: dict[str, Any] = {
        "rule": "every cancel", "reason": "Requires human approval", "file": "policy.yaml", "line": 12,
        "risk_class": "Financial", "severity": "critical", "asker": asker, "issuer": "", "client": "", "session": "s1",
        "other": "", "takes": (ORDERS,) if takes else (), "limits": ("orders an hour",) if takes else (), **shown,
    }  # fmt: skip
    holder = f"principal {asker}" if asker else f"session {given['session']}"
    return Asked(
        server=server, tool=tool, holder=holder, binding=f"b{name}", call=f"c{name}", definition="", rules="r",
        owner="sidecar-1", timeout=timeout, use_within=600, approvers=approvers, four_eyes=four_eyes, notify=False,
        shown=Shown(
            arguments=strict_json.encode({"ordId": "42"} if arguments is None else arguments).decode(),
            masked=masked, **given,
        ),
        grant=grant,
    )  # fmt: skip


def recent(*tools: str) -> tuple[Recent, ...]:
    """Calls of the same agent, that were allowed a minute ago."""
    return tuple(Recent(time.time() - 60, tool, "allow") for tool in tools)


def store(folder: Path) -> Path:
    """The file of the store in a state folder that a sidecar made."""
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "events").mkdir(mode=0o700, exist_ok=True)
    return folder / "counters.db"


def using(folder: Path, work: Callable[[Ledger], Awaitable[_Result]]) -> _Result:
    """What `work` gives, with the store in a state folder."""

    async def run() -> _Result:
        ledger = SqliteLedger(store(folder), time.time)
        try:
            return await work(ledger)
        finally:
            await ledger.close()

    return asyncio.run(run())


def pending(folder: Path, *calls: Asked) -> list[str]:
    """Leave calls that wait in the store of a state folder; their ids."""

    async def ask(ledger: Ledger) -> list[str]:
        return [await ask_in(ledger, call) for call in calls]

    return using(folder, ask)


async def ask_in(ledger: Ledger, call: Asked) -> str:
    """Leave a call that waits; its id."""
    claimed = await ledger.claim(call.shown.takes, (), call)
    assert isinstance(claimed, Unapproved), claimed
    return claimed.record.id


def used(folder: Path, call: Asked) -> str:
    """Make a call that was approved again: it is in use then, and took what it takes from its limits."""

    async def use(ledger: Ledger) -> str:
        claimed = await ledger.claim(call.shown.takes, (), call)
        assert isinstance(claimed, Claim), claimed
        assert claimed.approval is not None
        return claimed.approval.id

    return using(folder, use)


def lost(folder: Path, call: Asked) -> str:
    """Make a call that was approved again, and get no answer: it is unknown then."""
    id_ = used(folder, call)
    using(folder, lambda ledger: ledger.approvals.settle(id_, "unknown"))
    return id_


def found(folder: Path, id_: str) -> Record:
    """An approval in the store of a state folder."""
    return using(folder, lambda ledger: ledger.approvals.find(id_))
