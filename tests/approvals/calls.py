"""Calls that ask for an approval, as the gate describes them to the store."""

from __future__ import annotations

import itertools

from sidecar.ledger.approvals import Asked, GrantTerms, Shown

_NUMBERS = itertools.count(1)

GRANT = GrantTerms(3600, 10, (("args.instId", '"BTC-USDT"'),), (("args.sz", "1"),), ("args.px",))


def asked(
    *,
    server: str = "okx",
    tool: str = "cancel_order",
    arguments: str = '{"ordId":"42"}',
    holder: str = "session-1",
    asker: str = "",
    issuer: str = "",
    approvers: int = 1,
    four_eyes: bool = False,
    timeout: int = 1800,
    grant: GrantTerms | None = None,
    notify: bool = False,
    binding: str = "",
) -> Asked:
    """A call of its own, unless `binding` says which it is."""
    binding = binding or f"binding-{next(_NUMBERS)}"
    shown = Shown(
        arguments=arguments, masked=(), other="", rule=f"{tool}#1", reason="Requires human approval",
        file="okx.yaml", line=7, risk_class="Financial", severity="critical", asker=asker, issuer=issuer,
        client="agent 1.0", session="1.1",
    )  # fmt: skip
    return Asked(
        server=server, tool=tool, holder=holder, binding=binding, call=f"call of {binding}", definition="", rules="r1",
        owner="sidecar-1", timeout=timeout, use_within=600, approvers=approvers, four_eyes=four_eyes, notify=notify,
        shown=shown, grant=grant,
    )  # fmt: skip
