"""Who calls: a subject, its issuer, and its claims. No tokens, no HTTP.

A caller that did not authenticate is None, never a principal without a name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

CHANGING_CLAIMS: Final = frozenset({"exp", "iat", "nbf", "jti", "auth_time", "at_hash", "nonce"})
"""Claims that change with every token; those that matter were checked when the token was verified."""


@dataclass(frozen=True, slots=True)
class Principal:
    """One authenticated caller. `issuer` is empty for a token of our own; `claims` are JSON values."""

    subject: str
    issuer: str = ""
    claims: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)

    @property
    def key(self) -> str:
        """Issuer and subject as one text, unique for each pair: the holder of counters with `scope: principal`."""
        return msgspec.json.encode((self.issuer, self.subject)).decode()

    @property
    def document(self) -> dict[str, Any]:
        """The principal in the engine's input, the same for all tokens with the same claims about this caller.

        Answers are cached by the question, so a claim that changes with every token would defeat the cache.
        """
        claims = {name: value for name, value in self.claims.items() if name not in CHANGING_CLAIMS}
        return {"subject": self.subject, "issuer": self.issuer, "claims": claims}


def key_of(principal: Principal | None) -> str:
    """The key of a principal; empty for None."""
    return principal.key if principal is not None else ""
