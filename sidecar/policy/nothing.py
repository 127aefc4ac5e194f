"""What decides while no policy was admitted yet: nothing is permitted, and everybody is told why."""

from __future__ import annotations

from typing import Final

from sidecar.mcp.protocol import OF_CLIENTS
from sidecar.policy.bundle import Bundle, build
from sidecar.policy.compile import compile_policy
from sidecar.policy.merge import merge
from sidecar.policy.model import ALWAYS_OPEN
from sidecar.policy.read import read

NO_SERIAL: Final = 0
"""The serial of no policy; those of bundles begin at 1."""
WHY: Final = "no policy is in force yet: no bundle was admitted"


def nothing() -> Bundle:
    """A bundle under which no tool is permitted, and no request that is not needed to say so.

    The policy that is awaited may deny any other. Notifications pass: they get nothing, and a session begins with one.
    """
    denied = sorted(name for name in OF_CLIENTS if name not in ALWAYS_OPEN and not name.startswith("notifications/"))
    text = f'version: "1"\ndefault: deny\nlist: callable\nmethods: {{deny: [{", ".join(denied)}]}}\n'
    policy, _ = merge([read(text, "(no policy)")[0]])
    return build(compile_policy(policy), NO_SERIAL)
