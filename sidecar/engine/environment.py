"""What an OPA that we start sees of our environment: what it and Go read, and no secret, since Rego can ask for all."""

from __future__ import annotations

import os
from typing import Final

PASSED: Final = ("PATH", "HOME", "TMPDIR", "GOMAXPROCS", "GOGC", "GOMEMLIMIT", "GODEBUG", "GOTRACEBACK")
"""No proxy, since it speaks to loopback only; no certificates for the same reason."""


def passed() -> dict[str, str]:
    """The variables that it gets."""
    return {name: os.environ[name] for name in PASSED if name in os.environ}
