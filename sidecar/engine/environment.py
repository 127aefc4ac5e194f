"""The environment of an OPA that we start: no secret, because Rego can read all of it.

One that serves shows its environment to whoever may ask it, so it gets no more than settings of Go.
"""

from __future__ import annotations

import os
from typing import Final

GO: Final = ("GOMAXPROCS", "GOGC", "GOMEMLIMIT", "GODEBUG", "GOTRACEBACK")
"""No proxy and no certificates, because OPA connects to loopback only."""
_OURS: Final = ("PATH", "HOME", "TMPDIR")


def passed() -> dict[str, str]:
    """The variables of one that runs a command for us and ends."""
    return {name: os.environ[name] for name in (*_OURS, *GO) if name in os.environ}


def of_a_server() -> dict[str, str]:
    """The variables of one that answers questions."""
    return {name: os.environ[name] for name in GO if name in os.environ}
