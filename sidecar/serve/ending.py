"""How serving ends, and that it is told: the last that observers hear of."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, field

from sidecar.events import Emit, Stopped, StopReason


@dataclass(frozen=True, slots=True)
class End:
    """The end of serving: our exit status, and what brought it about."""

    status: int
    why: StopReason


@dataclass(slots=True)
class Life:
    """From the start of a sidecar to its end. `stopped_by` gets the numbers of signals that ask us to end.

    `end` is set once serving ended in good order; without it we never came to serve, or a defect of ours ended that.
    """

    server: str
    emit: Emit
    stopped_by: list[int]
    end: End | None = None
    since: float = field(default_factory=time.monotonic)

    def over(self) -> None:
        """Tell that we end."""
        signals = [signal.Signals(number).name for number in self.stopped_by[:1]]
        end = self.end
        if end is None:
            end = End(128 + self.stopped_by[0], "signal") if signals else End(1, "error")
        name = signals[0] if signals and end.why == "signal" else ""
        self.emit(Stopped(self.server, end.status, end.why, name, time.monotonic() - self.since))
