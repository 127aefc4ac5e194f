"""Whose call it is: the session, the name that the client gives itself, and who authenticated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sidecar.auth.principal import Principal


@dataclass(frozen=True, slots=True)
class Caller:
    """One caller, for counters, metrics and the audit log.

    `session` is our own name of a session that we or the server opened, never an id that a client made up or could
    use; counters with `scope: session` belong to it. `client` is the name that the client gives itself, safe to show.
    """

    session: str
    client: str = ""
    principal: Principal | None = None

    @property
    def document(self) -> dict[str, Any] | None:
        """The principal as a document for the engine's input, or None."""
        return self.principal.document if self.principal is not None else None

    def holder(self, scope: str) -> str | None:
        """The holder of the counters that this caller's calls take from; None if it is not known."""
        match scope:
            case "session":
                return self.session
            case "principal":
                return self.principal.key if self.principal is not None else None
            case _:
                return ""
