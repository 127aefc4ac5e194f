"""`python -m tests.servers.everything http|sse|stdio [--port N]`: serves until it is stopped.

The two that listen do so on 127.0.0.1 only, and say `listening on URL` on standard error when they do.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
import warnings

import uvicorn
from mcp.server.sse import SseServerTransport
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPDeprecationWarning
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from tests.servers.everything.server import build
from tests.servers.everything.store import MemoryStore

RETRY_MILLISECONDS = 50
"""How soon a client takes up a stream that ended early."""


def main() -> None:
    """Serve on the transport that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers.everything")
    parser.add_argument("transport", choices=["http", "sse", "stdio"])
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    # Sampling, logging and roots are on their way out of the protocol, and are what must be tested here.
    warnings.filterwarnings("ignore", category=MCPDeprecationWarning)
    match options.transport:
        case "http":
            app = build().streamable_http_app(event_store=MemoryStore(), retry_interval=RETRY_MILLISECONDS)
            asyncio.run(listen(app, options.port, "/mcp"))
        case "sse":
            asyncio.run(listen(sse_app(), options.port, "/sse"))
        case _:
            asyncio.run(speak())


async def speak() -> None:
    """Serve one client on standard input and output."""
    server = build()
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())


def sse_app() -> Starlette:
    """The older HTTP transport: a stream at `/sse`, and messages posted to where that says."""
    server = build()
    loopback = TransportSecuritySettings(
        allowed_hosts=["127.0.0.1:*", "localhost:*"], allowed_origins=["http://127.0.0.1:*", "http://localhost:*"]
    )
    transport = SseServerTransport("/messages/", security_settings=loopback)

    async def stream(request: Request) -> Response:
        async with transport.connect_sse(request.scope, request.receive, request._send) as (reading, writing):
            await server.run(reading, writing, server.create_initialization_options())
        return Response()

    return Starlette(routes=[Route("/sse", stream), Mount("/messages/", app=transport.handle_post_message)])


async def listen(app: Starlette, port: int, path: str) -> None:
    """Serve on a port of 127.0.0.1; 0 takes a free one."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}{path}", file=sys.stderr, flush=True)
        # h11 drops the blanks around a header's value, as RFC 9110 wants; httptools leaves those behind it. Streams
        # that clients keep open would hold up the end for as long.
        config = uvicorn.Config(app, http="h11", log_level="warning", timeout_graceful_shutdown=1)
        await uvicorn.Server(config).serve([listener])


if __name__ == "__main__":
    main()
