"""What the agent does in the demo, and what must become of each call under policies/okx-trading.yaml. Plays nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from programs.demo.exchange import FIRST_ORDER
from sidecar.enforce.denial import DENIED

Verdict: TypeAlias = Literal["allowed", "refused", "held", "failed"]
"""`held` is a call that a person has to approve first, under a policy of somebody's own.

`failed` is an answer that neither the policy nor a healthy exchange gives.
"""

WINDOW: Final = 86400
"""Seconds of the policy's limit on what orders are worth; its windows begin at midnight, UTC."""


@dataclass(frozen=True, slots=True)
class Step:
    """One call of the agent. `rule` and `reason` are those of the refusal that must come; empty when none may."""

    tool: str
    arguments: dict[str, str]
    rule: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """A step that was played, and what became of it.

    `message` is what the agent reads, word by word; of a call that was allowed only what a person wants to know of it.
    `decision` is the id in the audit log of a call that was refused or held.
    """

    step: Step
    verdict: Verdict
    rule: str
    message: str
    decision: str = ""

    @property
    def reason(self) -> str:
        """The first sentence of the message."""
        return self.message.removeprefix(DENIED).strip().partition("\n")[0]

    def repeats(self, other: Call) -> bool:
        """Whether it is the same call as another one, and the same became of it."""
        return (self.step.tool, self.step.arguments, self.verdict, self.rule) == (
            other.step.tool, other.step.arguments, other.verdict, other.rule,
        )  # fmt: skip


_ORDER: Final = {"instId": "SOL-USDT", "tdMode": "cash", "side": "buy", "ordType": "limit", "sz": "2", "px": "500"}
_BITCOIN: Final = _ORDER | {"instId": "BTC-USDT", "sz": "0.01", "px": "97000"}
_FIRST: Final = {"instId": "SOL-USDT", "ordId": str(FIRST_ORDER)}
_POSITION: Final = {"instId": "SOL-USDT", "mgnMode": "cross"}

READS: Final = (Step("market_tickers", {"instType": "SPOT"}), Step("account_balance", {"ccy": "USDT,SOL"}))
WRITES: Final = (
    Step("place_order", _BITCOIN, "instruments", "Only SOL-USDT and SOL-USDC are traded here"),
    Step("place_order", _ORDER | {"px": "500.01"}, "worth of an order", "At most 1000 USD an order: sz times px"),
    *(Step("place_order", _ORDER) for _ in range(10)),
    Step("place_order", _ORDER, "worth of a day", "The day's 10000 USD are used up"),
    Step("cancel_order", _FIRST),
    Step("close_positions", _POSITION, "close_positions#1", "Not open to agents. Ask a person to do it."),
)
"""What has to happen within one window."""


def seconds_to_wait(now: float, needed: float = 15) -> float:
    """How long to wait so that at least `needed` seconds of a window are left; 0 when they are."""
    left = WINDOW - now % WINDOW
    return left if left < needed else 0.0
