"""Calls that need an approval, and people who answer, as tests of the stores make them."""

from __future__ import annotations

from typing import Literal

from sidecar.ledger.approvals import Answer, Asked, GrantTerms, Record, SameCall, Shown, Unapproved, Wants
from sidecar.ledger.protocol import Claim, Claimed, Ledger
from sidecar.ledger.values import Reservation
from tests.ledger.stores import claim

Verdict = Literal["approve", "deny", "committed", "failed", "revoke"]

SHOWN = Shown(
    arguments='{"sz":"1.10"}', masked=(), other="", rule="orders", reason="", file="policy.yaml", line=3,
    risk_class="Financial", severity="critical", asker="bob", issuer="https://issuer.example", client="agent",
    session="s-1",
)  # fmt: skip
TERMS = GrantTerms(seconds=3600, calls=3, same=(("args.instId", '"BTC-USDT"'),), at_most=(("args.sz", "5"),))


def asks(
    call: str = "c", *, holder: str = "agent", definition: str = "", rules: str = "rules", owner: str = "here",
    timeout: int = 1800, use_within: int = 600, approvers: int = 1, four_eyes: bool = False, notify: bool = False,
    grant: GrantTerms | None = None, shown: Shown = SHOWN, server: str = "stub",
) -> Asked:  # fmt: skip
    """A call that needs an approval; `call` and `holder` are what it is bound to."""
    return Asked(
        server, "place_order", holder, f"{server}/{call}/{holder}/{rules}", call, definition, rules, owner, timeout,
        use_within, approvers, four_eyes, notify, shown, grant,
    )  # fmt: skip


def same(call: str = "c", *, server: str = "stub") -> SameCall:
    """The same call where it needs no approval."""
    return SameCall(server, call)


def says(verdict: Verdict, by: str = "alice", *, grant: bool = False, reason: str = "") -> Answer:
    """What a person says; the store writes down when."""
    return Answer(by, 0.0, "cli", "pts/1", verdict, reason, grant)


async def pending(ledger: Ledger, wants: Asked) -> Record:
    """An approval that somebody is asked for just now."""
    claimed = await claim(ledger, asks=wants)
    assert isinstance(claimed, Unapproved), claimed
    assert claimed.is_new
    assert claimed.record.state == "pending"
    return claimed.record


async def approved(ledger: Ledger, wants: Asked, *, grant: bool = False) -> Record:
    """An approval that was given just now."""
    record = await pending(ledger, wants)
    record, changed = await ledger.approvals.decide(record.id, says("approve", grant=grant))
    assert changed
    return record


async def used(ledger: Ledger, wants: Asked, *reservations: Reservation) -> Record:
    """The approval that a call takes into use."""
    claimed = await claim(ledger, *reservations, asks=wants)
    assert isinstance(claimed, Claim), claimed
    assert claimed.approval is not None
    assert claimed.approval.state == "in_use"
    return claimed.approval


async def state(ledger: Ledger, record: Record) -> str:
    """The state of an approval now."""
    return (await ledger.approvals.find(record.id)).state


async def refused(ledger: Ledger, wants: Wants, *reservations: Reservation) -> Record:
    """The approval that keeps a call from running."""
    claimed: Claimed = await claim(ledger, *reservations, asks=wants)
    assert isinstance(claimed, Unapproved), claimed
    return claimed.record
