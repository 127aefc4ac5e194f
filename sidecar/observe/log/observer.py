"""The observer that writes the operator's log, made of one for each subject."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sidecar.events import Handlers
from sidecar.observe.comparison import Comparison
from sidecar.observe.log.approvals import ApprovalLog
from sidecar.observe.log.calls import CallLog
from sidecar.observe.log.policies import PolicyLog
from sidecar.observe.log.running import RunningLog
from sidecar.observe.log.upstream import UpstreamLog


class Log:
    """Logs events; a lasting state is logged when it begins and when it ends. `clock` gives seconds.

    `comparison` tells which names of the policy no tool has; it hears of events by itself.
    """

    def __init__(self, comparison: Comparison, clock: Callable[[], float] = time.monotonic) -> None:
        heard: dict[Any, list[Callable[[Any], None]]] = {}
        for one in (CallLog(clock), RunningLog(clock), UpstreamLog(clock), PolicyLog(comparison), ApprovalLog(clock)):
            for kind, hear in one.handlers.items():
                heard.setdefault(kind, []).append(hear)
        self.handlers: Handlers = {kind: hears[0] if len(hears) == 1 else _all(hears) for kind, hears in heard.items()}


def _all(hears: list[Callable[[Any], None]]) -> Callable[[Any], None]:
    def hear(event: Any) -> None:
        for one in hears:
            one(event)

    return hear
