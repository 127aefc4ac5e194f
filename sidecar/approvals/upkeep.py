"""The upkeep of approvals in a running sidecar: what is over ends, what waits is counted, and webhooks hear of it.

It begins with the first policy that asks a person, or with the listener of approvals. No call waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Final

from sidecar.approvals.outbox import Outbox
from sidecar.approvals.seen import SeenAnswers
from sidecar.approvals.webhook import webhook
from sidecar.errors import StoreUnavailable
from sidecar.events import ApprovalChanged, ApprovalsCounted, Emit, StoreFailed
from sidecar.ledger.protocol import Ledger
from sidecar.policy.terms import Terms
from sidecar.system import tasks
from sidecar.system.operator_log import fields, log

PERIOD: Final = 1.0
"""Seconds between two looks."""
AGAIN: Final = 60.0
"""Seconds after which a store that is still gone is told of again."""
FINISH: Final = 0.5
"""Seconds that messages to a webhook have at our end; what is not taken by then, somebody sends again."""


class Upkeep:
    """The upkeep of one server's approvals by one sidecar, `instance`.

    `terms` gives those of the policy in force. `page` is the URL of the page of approvals, empty where this sidecar has
    none. `secret` gives the value of an environment variable. `clock` gives Unix seconds.
    """

    def __init__(
        self, *, server: str, instance: str, ledger: Ledger, emit: Emit, terms: Callable[[], Terms], page: str,
        secret: Callable[[str], str], clock: Callable[[], float] = time.time, period: float = PERIOD,
    ) -> None:  # fmt: skip
        self._server = server
        self._instance = instance
        self._approvals = ledger.approvals
        self._emit = emit
        self._terms = terms
        self._begun = bool(page)
        self._secret = secret
        self._clock = clock
        self._period = period
        self._outbox = Outbox(server, ledger, page, emit, clock)
        self._seen = SeenAnswers(server, instance, ledger.approvals, clock())
        self._failing_since: float | None = None
        self._over = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin, in the background."""
        # Apart, since others take us for dead where we do not look for some seconds, whatever a webhook takes.
        self._tasks = [tasks.lasting(self._look_again_and_again), tasks.lasting(self._tell_again_and_again)]

    async def close(self) -> None:
        """End; what is under way to a webhook may finish, for a moment."""
        # Both: `asyncio.wait_for` of Python 3.11, which the Redis client uses, can lose a cancellation.
        self._over.set()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._outbox.finish(FINISH)

    async def _look_again_and_again(self) -> None:
        while not self._over.is_set():
            # Once begun it lasts: an approval may be in use when a policy that asks nobody comes into force.
            self._begun = self._begun or self._terms().asks_people
            if self._begun:
                try:
                    await self._look()
                except StoreUnavailable as error:
                    self._failed(error)
                else:
                    self._works()
            await self._pause()

    async def _tell_again_and_again(self) -> None:
        while not self._over.is_set():
            # The policy in force was not accepted without what its webhook needs.
            hook = webhook(self._terms().approvals, self._secret) if self._begun else None
            if hook is not None:
                with contextlib.suppress(StoreUnavailable):  # that is told by whoever looks
                    await self._outbox.look(hook)
            await self._pause()

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._period):
                await self._over.wait()

    async def _look(self) -> None:
        for record in await self._approvals.sweep(self._instance):
            self._emit(ApprovalChanged(record.asked.server, record))
        counts = await self._approvals.counts(self._server)
        waits = 0.0 if counts.oldest is None else max(0.0, self._clock() - counts.oldest)
        self._emit(ApprovalsCounted(self._server, counts, waits))
        for answer in await self._seen.look(counts):
            self._emit(answer)

    def _failed(self, error: StoreUnavailable) -> None:
        """Say once, and then now and again, that the store is gone."""
        now = time.monotonic()
        if self._failing_since is None or now - self._failing_since >= AGAIN:
            self._failing_since = now
            text = f"{error}; until it can be, approvals do not expire and nobody is told of them"
            self._emit(StoreFailed(self._server, text))

    def _works(self) -> None:
        if self._failing_since is not None:
            self._failing_since = None
            log.warning(
                "the store can be used again: approvals that are over end, and webhooks hear of them",
                extra=fields("store_recovered"),
            )
