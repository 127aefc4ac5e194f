"""Sign-ins that fail: each is told, but whoever tries without end must not push older lines out of the audit log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from sidecar.events import HttpRefused

PERIOD: Final = 60.0
"""Seconds of a period."""
EACH: Final = 50
"""Failures of one period that are told one by one. What follows is counted, and told at the end of the period."""
PEERS: Final = 20
"""Addresses of which a period counts what is not told one by one; of all others it is counted together."""

FAILURES: Final = frozenset({"credentials", "keys"})
"""Reasons of `HttpRefused` that are failed sign-ins: nothing or nothing good was shown, or it cannot be checked."""

Later = Callable[[float, Callable[[], None]], object]
"""Calls a function, so many seconds later."""


class SignIns:
    """Tells of failed sign-ins by `tell`, and how many each one stands for."""

    def __init__(self, tell: Callable[[HttpRefused, int], None], later: Later) -> None:
        self._tell = tell
        self._later = later
        self._count = 0
        self._more: dict[tuple[str, int, str, str], tuple[HttpRefused, int]] = {}

    def failed(self, event: HttpRefused) -> None:
        """One more."""
        if self._count == 0:
            self._later(PERIOD, self.summarize)
        self._count += 1
        if self._count <= EACH:
            self._tell(event, 1)
            return
        kind = event.listener, event.status, event.reason, event.peer
        if kind not in self._more and len(self._more) >= PEERS:
            # Few of these exist: the statuses and reasons are ours. None of the addresses is named for all of them.
            event = msgspec.structs.replace(event, peer="")
            kind = event.listener, event.status, event.reason, ""
        _, more = self._more.get(kind, (event, 0))
        self._more[kind] = event, more + 1

    def summarize(self) -> None:
        """Tell what was only counted until now, by one of each kind and address, the last one."""
        more, self._more, self._count = self._more, {}, 0
        for event, times in more.values():
            self._tell(event, times)
