"""Tells webhooks of approvals: what the store has for them, again and again until it is taken. Never in a call's way.

What has to be told stands in the store, so it survives us, and sidecars that share the store share the work: whoever
fetches a notice has it for a while. A notice is told at least once: where we end between telling and noting that,
another tells it again, under the same id.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final, Protocol

from sidecar.approvals.document import After, limits_after
from sidecar.approvals.webhook import Webhook, again_in, body, signed
from sidecar.errors import StoreUnavailable
from sidecar.events import Emit, NoticeSent
from sidecar.ledger.approvals import NoApproval, Notice
from sidecar.ledger.protocol import Ledger
from sidecar.system import tasks
from sidecar.system.operator_log import fields, log

AT_ONCE: Final = 8
"""Messages under way at once."""
BUSY_FOR: Final = 60.0
"""Seconds for which nobody else fetches a notice; an attempt takes a few at most."""


class Sends(Protocol):
    """Sends a message to a URL."""

    async def send(self, url: str, headers: dict[str, str], body: bytes) -> str:
        """Why it was not taken, else empty."""


class Outbox:
    """The notices of one server. `page` is the URL of the page of approvals, empty for none; `clock` Unix seconds."""

    def __init__(self, server: str, ledger: Ledger, page: str, emit: Emit, clock: Callable[[], float]) -> None:
        self._server = server
        self._ledger = ledger
        self._page = page
        self._emit = emit
        self._clock = clock
        self._under_way: set[asyncio.Task[None]] = set()
        self._sender: Sends | None = None

    async def look(self, webhook: Webhook) -> None:
        """Begin to tell what is due, as far as there is room for more. Raises `StoreUnavailable`."""
        if (room := AT_ONCE - len(self._under_way)) <= 0:
            return
        notices = await self._ledger.approvals.notices(self._server, BUSY_FOR, room)
        if notices and self._sender is None:
            # Imported and made in a thread: both take longer than a call may wait.
            self._sender = await tasks.in_thread_if_can_be(_sender)
        for notice in notices:
            task = tasks.start(self._tell(notice, webhook))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def finish(self, seconds: float) -> None:
        """Wait for what is under way, for a while; what is not taken by then is told again by whoever is next."""
        if self._under_way:
            _, late = await asyncio.wait(self._under_way, timeout=seconds)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    async def _tell(self, notice: Notice, webhook: Webhook) -> None:
        try:
            if notice.attempts and await self._is_out_of_date(notice):
                await self._ledger.approvals.noticed(notice.id, None)
                return
            await self._send(notice, webhook)
        except StoreUnavailable as error:
            # Nothing is lost: it is due again when nobody has it any more.
            log.warning(
                "a message to the webhook is sent again later: %s", error,
                extra=fields("webhook_deferred", approval=notice.record.id, cause=str(error)),
            )  # fmt: skip

    async def _send(self, notice: Notice, webhook: Webhook) -> None:
        assert self._sender is not None  # it was made before the first notice
        after = await self._limits_after(notice)
        now, id_ = self._clock(), notice.record.id
        content = body(notice, f"{self._page}/approvals/{id_}" if self._page else None, now, after)
        headers = signed(webhook.secret, notice.id, math.floor(now), content)
        why = await self._sender.send(webhook.url, headers, content)
        again = again_in(notice, self._clock()) if why else None
        self._emit(NoticeSent(self._server, id_, notice.event, notice.attempts + 1, why, bool(why) and again is None))
        await self._ledger.approvals.noticed(notice.id, again)

    async def _limits_after(self, notice: Notice) -> tuple[After, ...]:
        if notice.event != "pending":
            return ()
        try:
            return await limits_after(notice.record, self._ledger)
        except StoreUnavailable as error:  # one damaged counter: that a person is asked does not depend on it
            log.warning(
                "the webhook is not told of limits: %s", error,
                extra=fields("webhook_without_limits", approval=notice.record.id, cause=str(error)),
            )  # fmt: skip
            return ()

    async def _is_out_of_date(self, notice: Notice) -> bool:
        """True where a call was said to wait for a person, and by now it does not."""
        if notice.event != "pending":
            return False
        try:
            return (await self._ledger.approvals.find(notice.record.id)).state != "pending"
        except NoApproval:
            return True


def _sender() -> Sends:
    # Only here: it takes 100 ms to import, and most policies name no webhook.
    from sidecar.approvals.sender import Sender  # noqa: PLC0415

    return Sender()
