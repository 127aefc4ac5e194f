"""The environment of an OPA that we start: what OPA and Go read, and no secret, because Rego can read all of it."""

from __future__ import annotations

import os
from typing import Final

PASSED: Final = ("PATH", "HOME", "TMPDIR", "GOMAXPROCS", "GOGC", "GOMEMLIMIT", "GODEBUG", "GOTRACEBACK")
"""No proxy and no certificates, because OPA connects to loopback only."""


def passed() -> dict[str, str]:
    """The variables that it gets."""
    return {name: os.environ[name] for name in PASSED if name in os.environ}
