"""One call on its way through the gate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from sidecar.auth.caller import Caller
from sidecar.enforce.verdict import Verdict
from sidecar.ledger.values import Counter, Seen
from sidecar.mcp.tool_call import ToolCall
from sidecar.policy.bundle import Bundle

MAX_ATTEMPTS: Final = 5
"""How often a question is put anew because another policy came into force meanwhile."""
MAX_MOVES: Final = 100
"""How often a call is judged anew because a counter that it was judged by has changed meanwhile.

Each time some other call got through; of this process only those that read none of these counters, or others beside
them, so it takes other sidecars or many calls that only count to come so far.
"""


class Trial(msgspec.Struct):
    """One call, judged under one bundle. `deliver` gets the verdict, once.

    `since` is when it began, by the performance counter; `engine_seconds` how long the engine took, where it was asked,
    and `answered` after how many seconds its answer was there.
    `seen` is where the counters stood that it was judged by, `moves` how often they stood elsewhere at its claim, and
    `turn` the counters for which others that were judged by them wait until it is done. `may_hold` where it can wait in
    place for a person, and `held_until` until when it does, by the clock of the event loop. `spares_shadow` where the
    question has nothing for rules in shadow, so that what they say does not count.
    """

    call: ToolCall
    caller: Caller
    decision_id: str
    bundle: Bundle
    deliver: Callable[[Verdict], None]
    since: float
    engine_seconds: float | None = None
    attempts: int = 0
    seen: tuple[Seen, ...] = ()
    moves: int = 0
    turn: tuple[Counter, ...] | None = None
    dropped: bool = False
    may_hold: bool = True
    held_until: float | None = None
    spares_shadow: bool = False
    answered: float = 0.0

    def drop(self) -> None:
        """The client gave the call up: it will neither be forwarded nor answered."""
        self.dropped = True
