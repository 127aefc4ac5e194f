"""What policy said of a call that was decided, told apart from what else can become of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sidecar.rehearsal.judging import Action

STRICTNESS: Final[Mapping[Action, int]] = {"deny": 2, "approval": 1, "allow": 0}
ASKED: Final = frozenset({"approval_required", "approval_denied", "approvals_full"})
"""Kinds of a refusal where policy asks a person: nobody answered yet, a person refused, or too many calls wait."""
NO_POLICY: Final = frozenset({
    "engine_unavailable", "store_unavailable", "invalid_request", "cancelled", "approval_in_use", "outcome_unknown",
})  # fmt: skip
"""Kinds of a decision that says nothing of a policy: something failed, or the same call runs or may have run."""


def said_by_policy(kind: str, *, allowed: bool, approved: bool) -> Action | None:
    """What policy said of a call; `approved` where it used an approval. None where no policy decided it."""
    if kind in NO_POLICY:
        return None
    if kind in ASKED or approved:
        return "approval"
    return "allow" if allowed else "deny"
