"""Calls that ask for approval, as the gate would store them."""

from __future__ import annotations

import hashlib
from typing import Any

from sidecar.ledger.approvals import Asked, GrantTerms, Recent, Shown
from sidecar.ledger.values import Reservation

CANCEL = '{"instId":"SOL-USDT","ordId":"2510789768709120"}'
ORDER = '{"instId":"SOL-USDT","tdMode":"cash","side":"buy","ordType":"limit","sz":12.50,"px":148.20}'
GRANT = GrantTerms(
    3600, 10, (("args.instId", "value SOL-USDT"),), (("args.sz", "12.5"),),
    ("args.tdMode", "args.side", "args.ordType", "args.px", "any other argument"),
)  # fmt: skip


def asked(
    tool: str = "cancel_order", arguments: str = CANCEL, *, server: str = "okx", timeout: int = 1800,
    approvers: int = 1, four_eyes: bool = False, grant: GrantTerms | None = None, holder: str = "session 1",
    use_within: int = 600, **shown: Any,
) -> Asked:  # fmt: skip
    """A call that asks; `shown` has what else is shown of it."""
    seen: dict[str, Any] = {
        "arguments": arguments,
        "masked": (),
        "other": "",
        "rule": "cancels need a person",
        "reason": "Requires human approval",
        "file": "policies/okx-approval.yaml",
        "line": 27,
        "risk_class": "Financial",
        "severity": "critical",
        "asker": "",
        "issuer": "",
        "client": "trading-agent",
        "session": "5f1c9e20",
    }
    names = hashlib.sha256(f"{server} {tool} {arguments} {holder}".encode()).hexdigest()
    return Asked(
        server, tool, holder, names, hashlib.sha256(arguments.encode()).hexdigest(), "", "rules", "instance 1",
        timeout, use_within, approvers, four_eyes, notify=False, shown=Shown(**{**seen, **shown}), grant=grant,
    )  # fmt: skip


def order(now: float, arguments: str = ORDER, **others: Any) -> Asked:
    """An order with all that can be shown of a call: limits, what came before, calls like it."""
    recent = (
        Recent(now - 2400, "account_balance", "allow"),
        Recent(now - 1860, "market_tickers", "allow"),
        Recent(now - 900, "place_order", "spend_limit"),
        Recent(now - 840, "place_order", "allow"),
    )
    usual: dict[str, Any] = {
        "grant": GRANT,
        "rule": "orders over 1000 USD",
        "line": 41,
        "reason": "Orders over 1000 USD need a person",
        "recent": recent,
        "takes": (takes("okx/place_order.usd", 1852, 10000), takes("okx/place_order.count", 1, 20, 3600)),
        "limits": ("daily spend in USD", "order rate"),
    }
    return asked("place_order", arguments, **{**usual, **others})


def takes(counter: str, amount: int, limit: int, window: int = 86400) -> Reservation:
    """What a call takes from a limit."""
    return Reservation(counter, "", window, amount, limit)
