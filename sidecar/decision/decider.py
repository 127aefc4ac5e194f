"""Whoever decides, as the gate needs them: the policy in force, questions about calls and lists, and what is found.

The engine is one; another may compare two policies, or repeat what was recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from sidecar.decision.decision import Answer, Visible
from sidecar.errors import EngineUnavailable, Superseded
from sidecar.policy.bundle import Bundle

Finding: TypeAlias = Answer | EngineUnavailable | Superseded
"""What becomes of a question: the answer; why there is none; that it comes from a newer policy."""


class Decider(Protocol):
    """Decides by one bundle at a time."""

    @property
    def bundle(self) -> Bundle:
        """The policy in force."""

    def recall(self, body: bytes) -> Answer | None:
        """The answer to a question that was asked before, while it may still be used."""

    def confirm(self) -> bool:
        """True while what was recalled before still counts."""

    def put(
        self, body: bytes, bundle: Bundle, decision_id: str, done: Callable[[Finding], None], *, lasting: bool
    ) -> None:
        """Put a question under `bundle`; `done` gets what is found, once. A `lasting` answer may be recalled."""

    async def ask_visible(self, body: bytes, tools: Sequence[str], bundle: Bundle, decision_id: str) -> Visible:
        """The answer about a list of tools.

        Raises `EngineUnavailable` when there is no usable one, `Superseded` when it comes from a newer policy.
        """
