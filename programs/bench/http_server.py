"""The same minimal MCP server over streamable HTTP, with a session, on the sidecar's own HTTP server and uvloop.

python -m programs.bench.http_server PORT

It answers with JSON. Whatever the HTTP server costs is in the direct way too, and so is not counted against a proxy.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Final

import uvloop

from programs.bench.server import CALL, REPLY, result
from sidecar.http.server import Exchange, HttpServer
from sidecar.http.values import Request, Response

_JSON: Final = (("content-type", "application/json"),)
_SESSION: Final = ("mcp-session-id", "bench-1")


class Server:
    """Answers one client."""

    def __init__(self) -> None:
        self._calls = 0

    async def handle(self, request: Request, exchange: Exchange) -> None:
        """Answer one request."""
        exchange.send(self._answer(request.body) if request.method == "POST" else Response(405, (("allow", "POST"),)))

    def _answer(self, body: object) -> Response:
        assert isinstance(body, bytes)
        if call := CALL.match(body):
            self._calls += 1
            return Response(200, _JSON, (REPLY % call[1])[:-1])
        message = json.loads(body)
        if "id" not in message or "method" not in message:
            return Response(202)
        reply = {"jsonrpc": "2.0", "id": message["id"], "result": result(message, self._calls)}
        self._calls += message["method"] == "tools/call" and message["params"]["name"] == "echo"
        headers = (*_JSON, _SESSION) if message["method"] == "initialize" else _JSON
        return Response(200, headers, json.dumps(reply, separators=(",", ":")).encode())


async def main(port: int) -> None:
    """Serve until killed."""
    await HttpServer.start("127.0.0.1", port, Server().handle)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
