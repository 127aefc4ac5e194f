"""Whose call it is, as far as anybody knows: the session, what the client calls itself, who authenticated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sidecar.auth.principal import Principal


@dataclass(frozen=True, slots=True)
class Caller:
    """One caller, as it is counted and told of.

    `session` is our own name of a session that we or the server opened, never an id that a client made up or could
    use; it holds the counters with `scope: session`. `client` is what the client calls itself, fit to show.
    """

    session: str
    client: str = ""
    principal: Principal | None = None

    @property
    def document(self) -> dict[str, Any] | None:
        """The principal as it stands in the engine's input, or None."""
        return self.principal.document if self.principal is not None else None

    def holder(self, scope: str) -> str | None:
        """Whose counter a call of this caller takes from; None where nobody can tell."""
        match scope:
            case "session":
                return self.session
            case "principal":
                return self.principal.key if self.principal is not None else None
            case _:
                return ""
