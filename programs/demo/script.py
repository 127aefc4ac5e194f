"""What the agent does in the demo, and what must become of each call under policies/okx-seed.yaml. Plays nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from programs.demo.exchange import FIRST_ORDER

Verdict: TypeAlias = Literal["allowed", "refused", "failed"]
"""`failed` is an answer that neither the policy nor a healthy exchange gives."""

WINDOW: Final = 60
"""Seconds of the policy's order limit; its windows begin at every full minute."""


@dataclass(frozen=True, slots=True)
class Step:
    """One call of the agent. `rule` and `reason` are those of the refusal that must come; empty when none may."""

    tool: str
    arguments: dict[str, str]
    rule: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """A step that was played: what became of it, in a few words, and how long the agent waited."""

    step: Step
    verdict: Verdict
    rule: str
    message: str
    seconds: float


_ORDER: Final = {"instId": "SOL-USDT", "tdMode": "cash", "side": "buy", "ordType": "limit", "sz": "1", "px": "188"}
_FIRST: Final = {"instId": "SOL-USDT", "ordId": str(FIRST_ORDER)}

READS: Final = (Step("market_tickers", {"instType": "SPOT"}), Step("account_balance", {"ccy": "USDT,SOL"}))
WRITES: Final = (
    *(Step("place_order", _ORDER) for _ in range(10)),
    Step("place_order", _ORDER, "order rate", "Ten orders a minute are enough"),
    Step("cancel_order", _FIRST, "cancel_order#1", "Requires human approval"),
)
"""What has to happen within one window."""


def seconds_to_wait(now: float, needed: float = 15) -> float:
    """How long to wait so that at least `needed` seconds of a window are left; 0 when they are."""
    left = WINDOW - now % WINDOW
    return left if left < needed else 0.0
