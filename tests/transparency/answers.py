"""The client's side of a conversation: what it answers when it is asked, and what it heard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import anyio
from mcp.client import ClientRequestContext
from mcp.client.session import IncomingMessage
from mcp_types import (
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequestFormParams,
    ElicitRequestParams,
    ElicitResult,
    ListRootsResult,
    LoggingMessageNotificationParams,
    Root,
    TextContent,
)
from pydantic import FileUrl

from tests.support.peer import SECONDS

FIELDS: Final[dict[str, Any]] = {
    "name": "Ada", "username": "ada", "email": "ada@example.org", "color": "green", "ok": True, "context": "a context",
    "age": 36, "score": 99.5, "status": "active", "verified": False,
    "untitledSingle": "option2", "titledSingle": "value1", "legacyEnum": "opt3",
    "untitledMulti": ["option1", "option3"], "titledMulti": ["value2"],
}  # fmt: skip
"""What the user writes into a form, by the names of the fields."""


class Heard:
    """Everything that came to the client besides answers, in order."""

    def __init__(self) -> None:
        self.logs: list[tuple[str, str | None, Any]] = []
        self.changes: list[Any] = []
        self.asked: list[str] = []
        self.progress: list[tuple[float, float | None, str | None]] = []
        self._news = anyio.Event()

    def forget(self) -> None:
        """Begin anew."""
        for what in (self.logs, self.changes, self.asked, self.progress):
            what.clear()

    async def wait_for(self, true: Callable[[], object], seconds: float = SECONDS) -> None:
        """Wait until something holds. Raises TimeoutError."""
        with anyio.fail_after(seconds):
            while not true():
                await self._news.wait()
                self._news = anyio.Event()

    async def log(self, params: LoggingMessageNotificationParams) -> None:
        """Hear a log line."""
        self.logs.append((params.level, params.logger, params.data))
        self._news.set()

    async def progressed(self, progress: float, total: float | None, message: str | None) -> None:
        """Hear how far a call is; to be handed to the call."""
        self.progress.append((progress, total, message))
        self._news.set()

    async def message(self, message: IncomingMessage) -> None:
        """Hear that something changed; log lines and progress come elsewhere too."""
        if isinstance(message, Exception):
            raise message
        if message.method.endswith(("list_changed", "updated")):
            self.changes.append(message.model_dump(by_alias=True, mode="json", exclude_none=True))
            self._news.set()

    async def sample(self, context: ClientRequestContext, params: CreateMessageRequestParams) -> CreateMessageResult:
        """Be asked for what a model says."""
        content = params.messages[0].content
        text = content.text if isinstance(content, TextContent) else "no text"
        self.asked.append(f"sampling {params.max_tokens}: {text}")
        return CreateMessageResult(role="assistant", content=TextContent(text=f"“{text}” indeed"), model="tests")

    async def elicit(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        """Be asked to fill in a form."""
        assert isinstance(params, ElicitRequestFormParams)
        fields = params.requested_schema["properties"]
        self.asked.append(f"elicitation: {params.message} {fields}")
        return ElicitResult(action="accept", content={name: FIELDS[name] for name in fields})

    async def roots(self, context: ClientRequestContext) -> ListRootsResult:
        """Be asked for the roots."""
        self.asked.append("roots")
        return ListRootsResult(roots=[Root(uri=FileUrl("file:///srv/work"), name="work")])
