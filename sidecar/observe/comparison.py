"""The policy in force beside the newest whole list of the server's tools: names and patterns that no tool has.

Most of them are misspelt, and their rules protect nothing. Whatever comes first, a policy or a list, the two are
compared once for each of both. Arguments that the rules of a tool read and its definition lacks are looked for in each
answer, and forgotten with the policy: definitions are not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple

from sidecar.events import EngineReady, Handlers, Listed
from sidecar.mcp.declared import undeclared
from sidecar.observe.whole_list import MOST_TOOLS, Pages, WholeList
from sidecar.policy.terms import Terms
from sidecar.policy.unmatched import unmatched
from sidecar.text import shown

MOST_NAMES: Final = 20
"""Tools and patterns that one message names."""


class Unmet(NamedTuple):
    """What there is to say about it, in words: of `names`, `patterns` and `arguments`, or what was `not_compared`."""

    about: Literal["names", "patterns", "arguments", "not_compared"]
    text: str


class Comparison:
    """Hears of policies and of lists of tools. Each of `told` is called with all that there is to say when it changes.

    The same policy and the same list are not compared again, however often an engine starts and a client lists.
    """

    def __init__(self) -> None:
        self.told: list[Callable[[tuple[Unmet, ...]], None]] = []
        self._unmet: tuple[Unmet, ...] = ()
        self._compared: tuple[Unmet, ...] = ()
        self._lacking: dict[str, frozenset[str]] = {}
        self._pages = Pages()
        self._listed: WholeList | None = None
        self._terms: Terms | None = None
        self.handlers: Handlers = {EngineReady: self._engine_ready, Listed: self._heard_list}

    def _engine_ready(self, event: EngineReady) -> None:
        if event.terms is not self._terms:
            self._terms = event.terms
            self._lacking.clear()
            self._compare()
            self._tell()

    def _heard_list(self, event: Listed) -> None:
        self._look_for_arguments(event)
        whole = self._pages.whole(event)
        if whole is not None and whole != self._listed:
            self._listed = whole
            self._lacking = {tool: names for tool, names in self._lacking.items() if tool in whole.tools}
            self._compare()
        self._tell()

    def _look_for_arguments(self, event: Listed) -> None:
        read = self._terms.arguments if self._terms is not None else {}
        if read and len(event.definitions) <= MOST_TOOLS:
            self._lacking |= undeclared(event.definitions, read)

    def _compare(self) -> None:
        if self._terms is not None and self._listed is not None:
            self._compared = compared(self._terms, self._listed)

    def _tell(self) -> None:
        lacking = sorted((tool, name) for tool, names in self._lacking.items() for name in names)
        unmet = self._compared
        if lacking:
            named = _named([f"args.{shown(name)} of {shown(tool)}" for tool, name in lacking])
            text = f"the policy reads arguments that the tools do not declare: {named}"
            unmet = (*unmet, Unmet("arguments", text))
        if unmet != self._unmet:
            self._unmet = unmet
            for tell in self.told:
                tell(unmet)


def compared(terms: Terms, listed: WholeList) -> tuple[Unmet, ...]:
    """What there is to say about the names and patterns of a policy and a whole list of tools."""
    if listed.too_long:
        return (_NOT_COMPARED,)
    missing = [shown(name) for name in sorted(terms.tools - listed.tools)]
    found = unmatched(terms.named_patterns(), listed.tools)
    patterns = [shown(pattern) for pattern in found.patterns]
    unmet = []
    if missing:
        unmet.append(Unmet("names", f"the policy names tools that the server lacks: {_named(missing)}"))
    if patterns:
        unmet.append(Unmet("patterns", f"no tool of the server matches {_named(patterns)}"))
    return tuple(unmet) if found.all_tried else (*unmet, _NOT_COMPARED)


_NOT_COMPARED: Final = Unmet(
    "not_compared",
    "the server lists too many tools to look for every name and pattern of the policy among them",
)


def _named(names: Sequence[str]) -> str:
    """All that is named, or as much as can be read."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"{', '.join(names[:MOST_NAMES])}{more}"
