"""Whoever judges, as a session needs them. The gate is one; nothing here says how a verdict comes about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from sidecar.auth.caller import Caller
from sidecar.enforce.call_cache import CallCache
from sidecar.enforce.verdict import Forward, Verdict
from sidecar.mcp.tool_call import Outcome, ToolCall


class Judgement(Protocol):
    """A call that is being judged."""

    def drop(self) -> None:
        """The client gave the call up: it will neither be forwarded nor answered."""


class Judge(Protocol):
    """Gives a verdict on each call, and says what else of a session's messages may pass."""

    @property
    def known(self) -> CallCache:
        """The calls that came before, which need not be read again."""

    def next_id(self) -> str:
        """An id for the next decision or refusal."""

    def judge(
        self, call: ToolCall, caller: Caller, deliver: Callable[[Verdict], None], *, holds: bool = True
    ) -> Judgement:  # fmt: skip
        """Judge one call and deliver the verdict, once and after this returned, unless the judgement is dropped before.

        Where the call `holds`, a `Hold` may be delivered before the verdict. Raises `InvalidMessage` for a call that
        cannot be judged.
        """

    def end_holds(self) -> None:
        """No call is held any more: those that are get their verdict now."""

    def conclude(self) -> None:
        """Deliver the verdicts that are ready: what came after those calls is passed on next."""

    def settle(self, forward: Forward, outcome: Outcome, done: Callable[[], None] = ...) -> None:
        """A forwarded call ended with this outcome. `done` is called when all that follows from it took place."""

    def permits(self, method: str, caller: Caller) -> bool:
        """True when a message with this method, which is no call, may go on."""

    @property
    def filters(self) -> bool:
        """True when lists of tools have to be filtered."""

    def filter(self, tools: Sequence[str], deliver: Callable[[frozenset[str] | None], None]) -> None:
        """Deliver which of the listed tools a client may not see; None when nobody can tell."""

    def wants_definition(self, tool: str) -> bool:
        """True for a tool of which calls may be bound to the server's definition."""

    def saw(self, definitions: Mapping[str, str]) -> None:
        """The server listed tools: the digests of those definitions that are wanted, by the tools' names."""
