"""What each agent did and was refused in the last hour, for whoever decides about its next call.

Tools and outcomes, no arguments. There is a bound to it, and it is forgotten with the process.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from sidecar.auth.caller import Caller
from sidecar.ledger.approvals import Recent

HOUR: Final = 3600.0
MAX_HOLDERS: Final = 1_000
"""Agents that are remembered; the one that was quiet for longest is forgotten first."""
MAX_EACH: Final = 50
"""Calls of one agent that are remembered: the newest."""


class RecentCalls:
    """The calls of agents; `clock` gives Unix seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._calls: OrderedDict[str, deque[Recent]] = OrderedDict()

    def note(self, holder: str, tool: str, kind: str) -> None:
        """A call of an agent was decided: `kind` is `allow`, or why not."""
        calls = self._calls.get(holder)
        if calls is None:
            if len(self._calls) >= MAX_HOLDERS:
                self._calls.popitem(last=False)
            calls = self._calls[holder] = deque(maxlen=MAX_EACH)
        else:
            self._calls.move_to_end(holder)
        calls.append(Recent(self._clock(), tool, kind))

    def of(self, holder: str) -> tuple[Recent, ...]:
        """The calls of an agent in the last hour, the newest first."""
        since = self._clock() - HOUR
        return tuple(one for one in reversed(self._calls.get(holder, ())) if one.at >= since)


def holder_of(caller: Caller) -> str:
    """Who asks: an authenticated principal, else the session. No two share a text."""
    return f"principal {caller.principal.key}" if caller.principal is not None else f"session {caller.session}"
