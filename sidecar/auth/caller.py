"""Whose call it is: the session, the name that the client gives itself, and who authenticated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sidecar.auth.principal import Principal
from sidecar.mcp.protocol import ClientInfo


@dataclass(frozen=True, slots=True)
class Caller:
    """One caller, for counters, metrics and the audit log.

    `session` is our own name of a session that we or the server opened, never an id that a client made up or could
    use; counters with `scope: session` belong to it. `client` is the name that the client gives itself, safe to show,
    and `said` all that it says of itself, where it has said anything. `elicits` where it says that it sends the person
    at it to pages; no rule reads that.
    """

    session: str
    client: str = ""
    principal: Principal | None = None
    said: ClientInfo | None = None
    elicits: bool = False

    @property
    def document(self) -> dict[str, Any]:
        """What is known of the caller, by the roots of the paths by which rules read it."""
        known: dict[str, Any] = {}
        if self.principal is not None:
            known["principal"] = self.principal.document
        if self.said is not None:
            texts = {"name": self.said.name, "version": self.said.version}
            known["session"] = {"client": {key: text for key, text in texts.items() if text is not None}}
        return known

    def holder(self, scope: str) -> str | None:
        """The holder of the counters that this caller's calls take from; None if it is not known."""
        match scope:
            case "session":
                return self.session
            case "principal":
                return self.principal.key if self.principal is not None else None
            case _:
                return ""
