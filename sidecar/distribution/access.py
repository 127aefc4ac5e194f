"""Who we are to a place that has bundles: a secret that may change, and where docker keeps its logins."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sidecar.errors import SourceUnavailable

SAID = "SIDECAR_POLICY_TOKEN (the token, or name:password) or SIDECAR_POLICY_TOKEN_FILE"
"""How to give a secret, in messages."""


@dataclass(frozen=True, slots=True)
class Access:
    """`read` gives a bearer token or `name:password`, None where no secret was set.

    It is called for each request: a secret in a file is renewed there. `docker` is docker's `config.json`, in which
    registries alone are looked up.
    """

    read: Callable[[], str] | None = field(default=None, repr=False)
    docker: Path | None = None

    @property
    def given(self) -> bool:
        """True where a secret was set."""
        return self.read is not None

    def secret(self) -> str:
        """The secret as it is now, empty where none was set. Raises `SourceUnavailable` where it cannot be read."""
        return self.read() if self.read is not None else ""


ANONYMOUS = Access()


def authorization(secret: str) -> str:
    """The header for a secret, empty for none. A bearer token has no colon (RFC 6750), so one tells a password."""
    if not secret:
        return ""
    if not (secret.isascii() and secret.isprintable()) and ":" not in secret:
        raise SourceUnavailable("the token holds characters that no token has: write it alone, on one line")
    return basic(secret) if ":" in secret else f"Bearer {secret}"


def basic(login: str) -> str:
    """The header for `name:password`."""
    return f"Basic {base64.b64encode(login.encode()).decode()}"
