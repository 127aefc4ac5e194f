"""Lists of tools: which of them no client may see. When nobody can tell, none is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Final, TypeAlias

from sidecar.decision.decider import Decider
from sidecar.decision.question import question_about_list
from sidecar.enforce.questions import MAX_QUESTION
from sidecar.enforce.trial import MAX_ATTEMPTS
from sidecar.errors import EngineUnavailable, Superseded
from sidecar.policy.bundle import Bundle
from sidecar.policy.model import Mode
from sidecar.system import defects
from sidecar.system.tasks import Group

LARGE: Final = 64 << 10
"""Bytes of a question about a list that OPA is asked one at a time: several would hold up the questions about calls."""

DeliverHidden: TypeAlias = Callable[[frozenset[str] | None], None]
"""Gets the tools that a client may not see, or None when nobody can tell."""


class Lists:
    """Asks which tools of a list to hide. `work` holds the lists that are being filtered."""

    def __init__(
        self, *, server: str, decider: Decider, mode: Mode | None, next_id: Callable[[], str]
    ) -> None:  # fmt: skip
        self.work = Group()
        self._server = server
        self._decider = decider
        self._mode = mode
        self._next_id = next_id
        self._large = asyncio.Lock()

    def withheld_by(self, bundle: Bundle) -> tuple[object, ...]:
        """All that decides which tools lists do not show under a bundle; empty where they show every tool."""
        return () if bundle.terms.mode(self._mode) == "monitor" else bundle.terms.withheld

    def filter(self, tools: Sequence[str], deliver: DeliverHidden) -> None:
        """Deliver which of the listed tools a client may not see, once."""
        self.work.start(self._filter(tools, deliver))

    async def _filter(self, tools: Sequence[str], deliver: DeliverHidden) -> None:
        try:
            hidden = await self._hidden(tools)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody can tell what may be seen
            defects.tell("a list of tools is refused", error)
            hidden = None
        deliver(hidden)

    async def _hidden(self, tools: Sequence[str]) -> frozenset[str] | None:
        body = question_about_list(self._server, tools)
        if len(body) > MAX_QUESTION:
            return None  # it would hold up the calls of others, and take much memory meanwhile
        async with self._large if len(body) > LARGE else nullcontext():
            return await self._ask(body, tools)

    async def _ask(self, body: bytes, tools: Sequence[str]) -> frozenset[str] | None:
        for _ in range(MAX_ATTEMPTS):
            try:
                answer = await self._decider.ask_visible(body, tools, self._decider.bundle, self._next_id())
            except Superseded:
                continue
            except EngineUnavailable:
                break
            return frozenset(answer.hidden)
        return None
