"""`python -m tests.servers.protected PORT`: a server of the SDK that is an OAuth resource and names its own address.

It takes the one token in the variable TOKEN. The authorization server that its metadata name is nowhere.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys

import uvicorn
from mcp.server import MCPServer
from mcp.server.auth.provider import AccessToken, TokenVerifier
from mcp.server.auth.settings import AuthSettings
from pydantic import AnyHttpUrl


class OneToken(TokenVerifier):
    """Knows one token, which was issued for one resource."""

    def __init__(self, token: str, resource: str) -> None:
        self._token, self._resource = token, resource

    async def verify_token(self, token: str) -> AccessToken | None:
        if token != self._token:
            return None
        return AccessToken(token=token, client_id="somebody", scopes=[], resource=self._resource)


class Announced(uvicorn.Server):
    """Says when it listens."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(f"listening on http://127.0.0.1:{self.config.port}/mcp", file=sys.stderr, flush=True)


async def main(port: int) -> None:
    """Serve until stopped."""
    origin = f"http://127.0.0.1:{port}"
    url = f"{origin}/mcp"
    settings = AuthSettings(
        issuer_url=AnyHttpUrl(origin), resource_server_url=AnyHttpUrl(url), validate_token_resource=True
    )
    server = MCPServer("protected", auth=settings, token_verifier=OneToken(os.environ["TOKEN"], url))

    @server.tool()
    def hello() -> str:
        return "hello"

    await Announced(uvicorn.Config(server.streamable_http_app(), port=port, log_level="warning")).serve()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
