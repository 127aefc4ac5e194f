"""Who calls: a subject, who vouches for it, and what else is said of it. No tokens, no HTTP.

Nobody authenticated is None, never a principal without a name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

CHANGING_CLAIMS: Final = frozenset({"exp", "iat", "nbf", "jti", "auth_time", "at_hash", "nonce"})
"""Claims that change with every token; whoever made the principal has checked those that matter."""


@dataclass(frozen=True, slots=True)
class Principal:
    """One authenticated caller. `issuer` is empty for a token of our own; `claims` are JSON values."""

    subject: str
    issuer: str = ""
    claims: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)

    @property
    def key(self) -> str:
        """Issuer and subject as one text, another one for every other pair: the holder of what is counted."""
        return msgspec.json.encode((self.issuer, self.subject)).decode()

    @property
    def document(self) -> dict[str, Any]:
        """What the engine is told: the same for every token of this caller that says the same of it.

        The engine's answers are remembered by the question, so a claim that changes with every token would defeat that.
        """
        claims = {name: value for name, value in self.claims.items() if name not in CHANGING_CLAIMS}
        return {"subject": self.subject, "issuer": self.issuer, "claims": claims}


def key_of(principal: Principal | None) -> str:
    """The key of who calls; empty for nobody."""
    return principal.key if principal is not None else ""
