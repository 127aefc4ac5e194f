"""A client of one session on one kept connection, as lean as asyncio's streams let it be."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any, Self
from urllib.parse import urlsplit

from tests.support.peer import REVISION

SECONDS = 60.0
"""Longest wait for one answer: a thousand may come before it."""


class Session:
    """One session, which is open from `open` to `end`."""

    def __init__(self, host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._host = host
        self._reader, self._writer = reader, writer
        self._id = ""
        self._last = 0

    @classmethod
    async def open(cls, url: str) -> Self:
        """Connect and say hello."""
        address = urlsplit(url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        session = cls(address.netloc, reader, writer)
        about = {"name": "many", "version": "1"}
        hello = {"protocolVersion": REVISION, "capabilities": {}, "clientInfo": about}
        head, _ = await session._send("POST", session._request("initialize", hello))
        found = re.search(r"\r\nmcp-session-id: (\S+)\r\n", head, re.IGNORECASE)
        assert found is not None, head
        session._id = found[1]
        await session._send("POST", {"jsonrpc": "2.0", "method": "notifications/initialized"}, 202)
        return session

    async def call(self, tool: str, **arguments: object) -> Any:
        """Call a tool; its result."""
        _, body = await self._send("POST", self._request("tools/call", {"name": tool, "arguments": arguments}))
        message = json.loads(body)
        assert message["id"] == self._last
        # The server answers with the session's id: an answer of somebody else's call would show.
        assert message["result"]["content"][0]["text"] == self._id, message
        return message["result"]

    async def end(self) -> None:
        """Delete the session and close the connection."""
        await self._send("DELETE", None)
        self._writer.close()
        await self._writer.wait_closed()

    def _request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._last += 1
        return {"jsonrpc": "2.0", "id": self._last, "method": method, "params": params}

    async def _send(self, method: str, message: dict[str, Any] | None, status: int = 200) -> tuple[str, bytes]:
        body = b"" if message is None else json.dumps(message).encode()
        session = f"mcp-session-id: {self._id}\r\nmcp-protocol-version: {REVISION}\r\n" if self._id else ""
        head = (
            f"{method} /mcp HTTP/1.1\r\nhost: {self._host}\r\ncontent-type: application/json\r\n"
            f"accept: application/json, text/event-stream\r\n{session}content-length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        async with asyncio.timeout(SECONDS):
            answer = (await self._reader.readuntil(b"\r\n\r\n")).decode()
            length = re.search(r"\r\ncontent-length: (\d+)\r\n", answer, re.IGNORECASE)
            assert length is not None, answer
            content = await self._reader.readexactly(int(length[1]))
        assert answer.startswith(f"HTTP/1.1 {status} "), (answer, content)
        return answer, content
