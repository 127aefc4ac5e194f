"""The values that labels may have: known tools, clients and rules. Any other is counted as `_other`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sidecar.mcp.protocol import METHODS
from sidecar.observe.metrics.instruments import OTHER
from sidecar.policy.terms import Terms
from sidecar.text import shown

MAX_TOOLS: Final = 500
"""Tools with series of their own, from the policy and from the server's lists."""
MAX_CLIENTS: Final = 100
"""Clients with series of their own; a client can give itself another name in each request."""
OURS: Final = frozenset({"", "(default deny)", "(hidden)"})
"""What stands for a rule where none of the policy's refused."""


class Names:
    """The tools, clients and rules that are known so far."""

    def __init__(self) -> None:
        self._tools: dict[str, str] = {}
        """Known tools, as they are shown."""
        self._clients: set[str] = set()
        self._rules: frozenset[str] = OURS

    def know(self, tools: Iterable[str]) -> None:
        """Tools that the policy or the server names."""
        for tool in tools:
            if len(self._tools) >= MAX_TOOLS:
                return
            self._tools[tool] = shown(tool)

    def activate(self, terms: Terms) -> None:
        """Another policy is in force: its tools are known too, and its rules instead of those before."""
        self.know(sorted(terms.tools))
        self._rules = OURS.union(rule.rule for rule in terms.rules)

    def knows(self, tool: str) -> bool:
        """True for a tool with series of its own."""
        return tool in self._tools

    def tool(self, name: str) -> str:
        """The label of a tool that is called."""
        return self._tools.get(name, OTHER)

    def client(self, name: str) -> str:
        """The label of a client."""
        if name in self._clients:
            return name
        if name and len(self._clients) < MAX_CLIENTS:
            self._clients.add(name)
            return name
        return OTHER

    def rule(self, name: str) -> str:
        """The label of a rule that decided. Hand-written Rego may say any name."""
        return name if name in self._rules else OTHER


def method(name: str) -> str:
    """The label of a method."""
    return name if name in METHODS else OTHER
