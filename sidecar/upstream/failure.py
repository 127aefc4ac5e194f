"""Why a request that was sent on got no answer of the server, as a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgspec

from sidecar.errors import StartError
from sidecar.events import UPSTREAM_ERRORS, Emit, UpstreamFailed
from sidecar.mcp.tool_call import Outcome

GIVEN_UP: Final = "given_up"
"""The cause where nobody waited for the answer any more: that is no failure of the server."""
DEFECT: Final = "defect"
"""The cause where a defect of ours ended the request."""


class Failure(msgspec.Struct, frozen=True):
    """`text` is for people and models and holds no secret. `outcome`: whether it may have run.

    `cause` is one of `UPSTREAM_ERRORS`, `given_up` or `defect`; `status` is that of HTTP where that is the cause.
    """

    text: str
    outcome: Outcome
    cause: str
    status: int = 0

    @property
    def data(self) -> dict[str, Any] | None:
        """What a program is told: `upstream` is the cause, `status` stands beside it; None where it is no cause of the
        server's."""
        if self.cause not in UPSTREAM_ERRORS:
            return None
        return {"upstream": self.cause, "status": self.status} if self.status else {"upstream": self.cause}


Told: TypeAlias = Callable[[Failure], None]
"""Hears of each failure of the server, its text in the words for an operator."""


class NotConnected(StartError):
    """No connection to the server could be made: `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self.failure = failure


def teller(server: str, emit: Emit) -> Told:
    """What tells the events of failures of the server of this name."""

    def tell(failure: Failure) -> None:
        emit(UpstreamFailed(server, failure.cause, failure.status, failure.text))

    return tell


def untold(_: Failure) -> None:
    """Nobody listens."""
