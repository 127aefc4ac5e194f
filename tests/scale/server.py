"""A lean MCP server over HTTP with sessions, in the process of the test, which sees and steers its calls.

Its tools: `echo` answers at once; `meet` answers everybody when as many wait as the test said; `slow` answers when the
test lets it. It knows no policy.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sidecar.http.server import Exchange, HttpServer, Limits
from sidecar.http.values import Request, Response

SESSION = "mcp-session-id"


class Server:
    """The sessions that are open, and what is under way."""

    def __init__(self, meeting: int, slow: int) -> None:
        self.sessions: set[str] = set()
        self.slow_running = 0
        self.all_slow_run = asyncio.Event()
        self.let_slow_answer = asyncio.Event()
        self._slow = slow
        self._meeting = asyncio.Barrier(meeting)

    async def handle(self, request: Request, exchange: Exchange) -> None:
        """Answer one request."""
        session = request.headers.get(SESSION)
        if request.method == "DELETE":
            self.sessions.discard(session or "")
            exchange.send(Response(200))
            return
        assert isinstance(request.body, bytes)
        message = json.loads(request.body)
        if message["method"] == "initialize":
            session = secrets.token_urlsafe(16)
            self.sessions.add(session)
            exchange.send(_result(message, _hello(message), ((SESSION, session),)))
        elif session not in self.sessions:
            exchange.send(Response(404))
        elif "id" not in message:
            exchange.send(Response(202))
        else:
            await self._run(message["params"]["name"])
            exchange.send(_result(message, {"content": [{"type": "text", "text": session}]}))

    async def _run(self, tool: str) -> None:
        match tool:
            case "meet":
                await self._meeting.wait()
            case "slow":
                self.slow_running += 1
                if self.slow_running == self._slow:
                    self.all_slow_run.set()
                await self.let_slow_answer.wait()
                self.slow_running -= 1


@asynccontextmanager
async def serve(server: Server) -> AsyncIterator[str]:
    """Serve on a free port of loopback; the URL."""
    listening = await HttpServer.start("127.0.0.1", 0, server.handle, Limits(body_seconds=120))
    try:
        yield f"http://127.0.0.1:{listening.port}/mcp"
    finally:
        await listening.close()


def _hello(message: dict[str, Any]) -> dict[str, Any]:
    return {
        "protocolVersion": message["params"]["protocolVersion"],
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "many", "version": "1"},
    }


def _result(message: dict[str, Any], result: object, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()
    return Response(200, (("content-type", "application/json"), *headers), body)
