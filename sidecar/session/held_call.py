"""What a client hears while its call is held for a person: progress, and a page to open where it takes requests."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from sidecar.enforce.verdict import Hold
from sidecar.mcp import elicitation, jsonrpc, protocol
from sidecar.mcp.jsonrpc import Id
from sidecar.session.judge import Judgement
from sidecar.session.route import Send

PROGRESS_SECONDS: Final = 5.0
"""Seconds between two reports of progress: clients that give up after a silence do so after 30 or 60."""


_WAITING: Final = "waiting for an approval: "


class HeldCall:
    """A call that is held: as long as `trial` is neither ended nor dropped, its client hears of it by `tell`.

    Progress is reported under `token`, where there is one. It is minus the seconds that the hold can last yet: so it
    grows, and stays below whatever the server reports later. `asked` are the ids of our own requests that wait for an
    answer of the client.
    """

    def __init__(self, hold: Hold, trial: Judgement, tell: Send, token: Any, asked: set[Id]) -> None:
        self._hold = hold
        self.trial = trial
        self._tell = tell
        self._token = token if type(token) in (str, int) else None
        self._asked = asked
        self._loop = asyncio.get_running_loop()
        self._until = self._loop.time() + hold.seconds
        self._timer: asyncio.TimerHandle | None = None
        self._request: Id | None = None
        self._elicitation = ""

    def begin(self, *, elicits: bool) -> None:
        """Tell the client that its call is held; with `elicits` it is asked to open the page."""
        if elicits:
            self._request, self._elicitation = elicitation.new_id(), elicitation.new_id()
            self._asked.add(self._request)
            self._tell(elicitation.request(self._request, self._elicitation, self._hold.url, self._hold.message))
        if self._token is not None:
            self._report()

    def end(self) -> None:
        """It is not held any more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._elicitation:
            if self._request in self._asked:
                self._asked.discard(self._request)
                self._tell(jsonrpc.notification(protocol.CANCELLED, {"requestId": self._request}))
            self._tell(elicitation.complete(self._elicitation))

    def drop(self) -> None:
        """The client gave the call up: it will neither be forwarded nor answered."""
        self.trial.drop()
        self.end()

    def _report(self) -> None:
        left = round(self._until - self._loop.time(), 3)
        report = {"progressToken": self._token, "progress": -left, "message": _WAITING + self._hold.message}
        self._timer = self._loop.call_later(PROGRESS_SECONDS, self._report)
        self._tell(jsonrpc.notification(protocol.PROGRESS, report))
