"""The rules of one policy, found by the tool of a call and the name of the rule that decided it."""

from __future__ import annotations

import re

from sidecar.policy.names import is_pattern, matcher
from sidecar.policy.terms import RuleInfo, Terms


class RuleIndex:
    """Finds rules of `terms`. It is made when the first one is looked up: a policy may have ten thousand."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._exact: dict[tuple[str, str], RuleInfo] | None = None
        self._patterns: dict[str, list[tuple[re.Pattern[str], RuleInfo]]] = {}

    def find(self, tool: str, rule: str) -> RuleInfo | None:
        """The first rule of this name that is about `tool`, one of its own entry before one of a pattern.

        None where there is none, as for a hidden tool.
        """
        if not rule:
            return None
        exact = self._exact if self._exact is not None else self._made()
        found = exact.get((tool, rule))
        if found is not None:
            return found
        return next((info for names, info in self._patterns.get(rule, ()) if names.match(tool)), None)

    def _made(self) -> dict[tuple[str, str], RuleInfo]:
        exact = self._exact = {}
        for info in self._terms.rules:
            if is_pattern(info.tool):
                self._patterns.setdefault(info.rule, []).append((matcher(info.tool), info))
            else:
                exact.setdefault((info.tool, info.rule), info)
        return exact
