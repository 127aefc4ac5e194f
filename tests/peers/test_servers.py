"""Real servers behind the sidecar: the same tools and answers as without it, and what is denied does not run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

import anyio
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client import Transport
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, TextContent, Tool

from sidecar.enforce.denial import DENIED, UNCHANGED
from tests.peers.servers import SERVERS, Server
from tests.support.listener import Listener, sidecar
from tests.support.peer import START_SECONDS

pytestmark = pytest.mark.slow

Making: TypeAlias = Callable[[Path], AbstractContextManager[Server]]

each_server: Final = pytest.mark.parametrize("making", SERVERS, ids=lambda making: making.__name__)


@dataclass(frozen=True, slots=True)
class Came:
    """What came of listing the tools, of the call that is allowed, and of the one that is not."""

    tools: list[Tool]
    allowed: CallToolResult
    denied: CallToolResult


@pytest.fixture
def server(making: Making, tmp_path: Path) -> Iterator[Server]:
    """The server, ready to be started."""
    with making(tmp_path) as server:
        yield server


@each_server
def test_a_server_alone_lists_its_tools_and_answers_both_calls(server: Server, tmp_path: Path) -> None:
    with started(server, tmp_path) as target:
        came = anyio.run(talk, server, target, tmp_path)
    assert len(came.tools) == server.tools
    assert server.answer in text(came.allowed)
    assert not text(came.denied).startswith(DENIED)


@each_server
@pytest.mark.parametrize("front", ["stdio", "http"])
def test_a_server_behind_the_sidecar_does_the_same_but_for_what_is_denied(
    server: Server, front: str, tmp_path: Path
) -> None:
    with started(server, tmp_path) as target:
        alone = anyio.run(listed, server, target, tmp_path)
        with fronted(server, front, target, tmp_path / "front") as front_target:
            # What the server wants of its clients is the sidecar's affair here.
            came = anyio.run(talk, replace(server, headers={}), front_target, tmp_path)
    assert came.tools == alone
    assert server.answer in text(came.allowed)
    assert came.denied.is_error
    assert text(came.denied) == f"{DENIED} Not for tests\n{UNCHANGED}"
    assert not server.ran()


@contextmanager
def started(server: Server, folder: Path) -> Iterator[Sequence[str]]:
    """Where a client finds the server: a URL, or a command that starts it."""
    if server.listening is None:
        yield server.command
    else:
        with Listener(server.command, folder, dict(server.env), server.listening) as listener:
            yield [listener.url + server.path]


@contextmanager
def fronted(server: Server, front: str, target: Sequence[str], folder: Path) -> Iterator[Sequence[str]]:
    """Where a client finds the sidecar in front of the server."""
    headers = [word for name, variable in server.headers.items() for word in ("--header", f"{name}: env:{variable}")]
    upstream = ["--", *target] if server.listening is None else ["--upstream", *target, *headers]
    if front == "stdio":
        yield sidecar(folder, server.policy, *upstream)
    else:
        listen = ["--transport", "http", "--bind", "127.0.0.1", "--port", "0"]
        command = sidecar(folder, server.policy, *listen, *upstream)
        with Listener(command, folder, dict(server.env), says="ready\n") as listener:
            yield [listener.url]


async def talk(server: Server, target: Sequence[str], folder: Path) -> Came:
    """List and call."""
    async with client(server, target, folder) as one:
        tools = (await one.list_tools()).tools
        allowed = await one.call_tool(server.allowed.tool, dict(server.allowed.arguments))
        denied = await one.call_tool(server.denied.tool, dict(server.denied.arguments))
    return Came(tools, allowed, denied)


async def listed(server: Server, target: Sequence[str], folder: Path) -> list[Tool]:
    """List only."""
    async with client(server, target, folder) as one:
        return (await one.list_tools()).tools


@asynccontextmanager
async def client(server: Server, target: Sequence[str], folder: Path) -> AsyncIterator[Client]:
    """A client at a URL, or of a command that it starts."""
    first, *rest = target
    headers = {name: server.env[variable] for name, variable in server.headers.items()}
    async with AsyncExitStack() as stack:
        errors = stack.enter_context((folder / "stderr.txt").open("a"))
        if first.endswith("/sse"):
            transport: Transport = sse_client(first, headers)
        elif first.startswith("http://"):
            http = await stack.enter_async_context(httpx2.AsyncClient(headers=headers, timeout=START_SECONDS))
            transport = streamable_http_client(first, http_client=http)
        else:
            parameters = StdioServerParameters(command=first, args=rest, env={**server.env, "HOME": str(folder)})
            transport = stdio_client(parameters, errlog=errors)
        try:
            yield await stack.enter_async_context(Client(transport, read_timeout_seconds=START_SECONDS))
        finally:
            print((folder / "stderr.txt").read_text(errors="replace")[-3000:])  # shown where a test fails


def text(result: CallToolResult) -> str:
    """The texts of a result."""
    return "\n".join(part.text for part in result.content if isinstance(part, TextContent))
