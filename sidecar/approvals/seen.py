"""What people decided by the CLI, found in the store: its process is over before anybody could ask it for metrics.

Each is seen by one sidecar, so that sums over sidecars are right: by the one that asked.
"""

from __future__ import annotations

from typing import Final

from sidecar.events import AnswerSeen
from sidecar.ledger.approvals import Answer, Approvals, Counts, Record, State

ANSWERED: Final[tuple[State, ...]] = ("approved", "denied", "in_use", "consumed", "unknown")
LOOKS: Final = 10
"""One look of so many reads the records though the counts are the same: one may have come for one that went."""


class SeenAnswers:
    """The answers to what one sidecar asked. `since` is when it began, in Unix seconds."""

    def __init__(self, server: str, instance: str, approvals: Approvals, since: float) -> None:
        self._server = server
        self._instance = instance
        self._approvals = approvals
        self._since = since
        self._counts: Counts | None = None
        self._looks = 0

    async def look(self, counts: Counts) -> list[AnswerSeen]:
        """The answers since the last look that decided something; `counts` stand now. Raises `StoreUnavailable`."""
        self._looks += 1
        if counts == self._counts and self._looks % LOOKS:
            return []
        self._counts = counts
        changed = await self._approvals.records(ANSWERED, server=self._server, changed_after=self._since, brief=True)
        found = [
            AnswerSeen(self._server, record, answer)
            for record in reversed(changed)
            if record.asked.owner == self._instance
            for answer in _deciding(record)
            if answer.via == "cli" and answer.at > self._since
        ]
        self._since = max([self._since, *(record.changed for record in changed)])
        return found


def _deciding(record: Record) -> list[Answer]:
    """The answers after which an approval was in another state: of those who agree, the last one that it took."""
    agreed = [answer for answer in record.answers if answer.verdict == "approve"]
    return [*agreed[record.asked.approvers - 1 :], *(one for one in record.answers if one.verdict != "approve")]
