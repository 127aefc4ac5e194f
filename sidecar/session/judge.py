"""Whoever judges, as a session needs them. The gate is one; nothing here says how a verdict comes about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
        self, call: ToolCall, caller: Caller, deliver: Callable[[Verdict], None], *, may_hold: bool = True
    ) -> Judgement:  # fmt: skip
        """Judge one call and deliver the verdict, once and after this returned, unless the judgement is dropped before.

        A call that `may_hold` can get a `Hold` first. Raises `InvalidMessage` for a call that cannot be judged.
        """

    def conclude(self) -> None:
        """Deliver the verdicts that are ready: what came after those calls is passed on next."""

    def settle(
        self, forward: Forward, outcome: Outcome, done: Callable[[], None] = ..., cause: str = ..., status: int = ...
    ) -> None:
        """A forwarded call ended with this outcome. `done` is called when all that follows from it took place.

        `cause` and `status` say why the server did not answer it; `cause` is empty where it did.
        """

    def given_up(self, forward: Forward) -> None:
        """The client gave up a forwarded call: it is settled if its answer comes after all, or nobody waits for it."""

    def permits(self, method: str, caller: Caller) -> bool:
        """True when a message with this method, which is no call, may go on."""

    @property
    def filters(self) -> bool:
        """True when lists of tools have to be filtered."""

    def filter(self, tools: Sequence[str], deliver: Callable[[frozenset[str] | None], None]) -> None:
        """Deliver which of the listed tools a client may not see; None when nobody can tell."""

    def wants_definition(self, tool: str) -> bool:
        """True for a tool whose definition an approval is bound to."""

    def saw(self, tool: str, digest: str) -> None:
        """The server listed a tool whose definition is wanted; `digest` stands for that."""
