"""Who authenticated: a placeholder of the same shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller."""

    subject: str
    issuer: str = ""
    claims: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """One text."""
        return f"{self.issuer} {self.subject}"

    @property
    def document(self) -> dict[str, Any]:
        """For the input."""
        return {"subject": self.subject, "issuer": self.issuer, "claims": self.claims}
