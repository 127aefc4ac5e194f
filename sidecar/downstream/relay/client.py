"""One client at a server over HTTP, as the relay knows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from sidecar.auth.principal import Principal, key_of
from sidecar.mcp.jsonrpc import Message, Outgoing
from sidecar.session.route import Route
from sidecar.session.session import Session

OpenSession: TypeAlias = Callable[["Tracked", Principal | None, str], Session]
"""Makes the session of a tracked client: with its caller, and the revision where it is known."""


class Tracked:
    """A client: its session, the server's id for it where there is one, and who listens to it.

    A session counts for `holder`. `tell` sends the server an answer of ours to a request of its own.
    """

    def __init__(
        self, open_session: OpenSession, caller: Principal | None, revision: str,
        tell: Callable[[Tracked, Outgoing], None],
    ) -> None:  # fmt: skip
        self.id = ""
        self.holder = ""
        self.streams: set[Callable[[Message], None]] = set()
        self.route = Route(lambda message: None, lambda message: tell(self, message))
        self.session = open_session(self, caller, revision)

    @property
    def client(self) -> tuple[str, str]:
        """Who this is: the session, and the principal whose it is; where there is none, either is empty."""
        return self.id, key_of(self.session.caller.principal)

    def announce(self, message: Message) -> None:
        """Tell the client something that the server did not say, where anybody listens."""
        for write in list(self.streams):
            write(message)
