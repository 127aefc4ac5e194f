"""Who calls: a subject, its issuer, and its claims. No tokens, no HTTP.

A caller that did not authenticate is None, never a principal without a name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec


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
        """All that is known of the principal, from which a question takes what rules read."""
        return {"subject": self.subject, "issuer": self.issuer, "claims": dict(self.claims)}


def key_of(principal: Principal | None) -> str:
    """The key of a principal; empty for None."""
    return principal.key if principal is not None else ""
