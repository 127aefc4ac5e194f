"""`sidecar schema`: what editors know policies by."""

from __future__ import annotations

from sidecar.policy.schema import schema


def schema_command() -> int:
    """Print the JSON Schema of policies, for editors."""
    print(schema(), end="")
    return 0
