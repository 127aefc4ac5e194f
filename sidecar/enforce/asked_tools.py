"""The tools of whose calls a rule asks a person, or asked before: the same call may be one that nobody knows of yet."""

from __future__ import annotations

import re
from collections.abc import Collection

from sidecar.policy.model import ANY_TOOL
from sidecar.policy.terms import Terms


class AskedTools:
    """The tools of all policies that were in force here, and `doubtful` ones, of which approvals stand in the store.

    A rule that is removed settles no call: what may have run stays in the way of the same call until a person has said
    what became of it.
    """

    def __init__(self, doubtful: Collection[str]) -> None:
        self._names = set(doubtful)
        self._patterns: dict[str, re.Pattern[str]] = {}
        self._seen: Terms | None = None

    def have(self, tool: str, terms: Terms) -> bool:
        """Whether `tool` is one of them, where `terms` are those of the policy that is in force."""
        if terms is not self._seen:
            self._seen = terms
            self._names |= terms.asking
            self._patterns |= {one.pattern: one for one in terms.asking_patterns}
        if self._names and (tool in self._names or ANY_TOOL in self._names):
            return True
        return bool(self._patterns) and any(one.match(tool) for one in self._patterns.values())
