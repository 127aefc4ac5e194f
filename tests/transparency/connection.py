"""A client at one end of a way and the server at the other, kept open over many tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import anyio
from mcp import Client, MCPError, StdioServerParameters
from mcp.client import Transport
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp_types import CallToolResult, Implementation, TextContent

from tests.servers.everything.server import Everything, build
from tests.support.listener import ALLOW_ALL, Listener, everything, sidecar
from tests.support.peer import SECONDS
from tests.transparency.answers import Heard
from tests.transparency.ways import Era, Way
from tests.transparency.ways import Transport as Kind

T = TypeVar("T")
Opening: TypeAlias = Callable[[Heard], Client]
"""Makes a client for a way whose other end is already there."""


class Connection:
    """`client` is at the end of `way`, `reference` in the process of its server; `heard` is what came to `client`."""

    def __init__(
        self, way: Way, client: Client, reference: Client, heard: Heard, another: Opening, folder: Path
    ) -> None:
        self.way = way
        self.client = client
        self.reference = reference
        self.heard = heard
        self.another = another
        self._folder = folder

    @property
    def said(self) -> str:
        """The end of what the programs of this way wrote on their error streams."""
        files = sorted(self._folder.glob("stderr*.txt"))
        return "\n".join(file.read_text(errors="replace")[-2000:] for file in files)

    async def same(self, ask: Callable[[Client], Awaitable[T]]) -> T:
        """What comes on this way; it must be what comes in the same process."""
        result = await ask(self.client)
        assert result == await ask(self.reference)
        return result

    async def same_call(self, tool: str) -> CallToolResult:
        """What a tool answers on this way; it must be what it answers in the same process."""
        return await self.same(lambda client: client.call_tool(tool))

    async def same_error(self, ask: Callable[[Client], Awaitable[object]]) -> MCPError:
        """The error that comes on this way; it must be the one that comes in the same process."""
        error = await _error(ask, self.client)
        assert error.error == (await _error(ask, self.reference)).error
        return error

    async def text(self, tool: str, arguments: dict[str, Any] | None = None) -> str:
        """What a tool answers, which must be one text."""
        result = await self.client.call_tool(tool, arguments)
        (content,) = result.content
        assert isinstance(content, TextContent)
        return content.text


class Servers:
    """The servers that listen, each started when it is first needed."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self._urls: dict[Kind, str] = {}

    def url(self, transport: Kind) -> str:
        """Where the server of a transport listens."""
        if transport not in self._urls:
            self._urls[transport] = self._stack.enter_context(Listener(everything(transport), self._folder)).url
        return self._urls[transport]


@asynccontextmanager
async def connect(way: Way, servers: Servers, folder: Path) -> AsyncIterator[Connection]:
    """Start what stands between, and connect."""
    heard = Heard()
    with ExitStack() as stack:
        another = opening(way, servers, folder, stack)
        async with AsyncExitStack() as clients:
            client = await clients.enter_async_context(in_a_task(another(heard)))
            reference = await clients.enter_async_context(in_a_task(_client(build(), Heard(), way.era)))
            connection = Connection(way, client, reference, heard, another, folder)
            await _warm_up(connection)
            yield connection


def opening(way: Way, servers: Servers, folder: Path, stack: ExitStack) -> Opening:
    """How a client gets to the server of a way; `stack` ends what was started for it."""
    if way.client == "stdio":
        errors = stack.enter_context((folder / "stderr.txt").open("a"))
        command, *arguments = everything("stdio") if way.direct else _front(way, servers, folder)
        # What the SDK hands on of the environment is enough for a server; the sidecar finds its OPA without any.
        parameters = StdioServerParameters(command=command, args=arguments, env={"HOME": str(folder)})
        return lambda heard: _client(stdio_client(parameters, errlog=errors), heard, way.era)
    if way.direct:
        url = servers.url(way.server)
    else:
        url = stack.enter_context(Listener(_front(way, servers, folder), folder, says="ready\n")).url
    return lambda heard: _client(url if way.client == "http" else sse_client(url), heard, way.era)


def _front(way: Way, servers: Servers, folder: Path) -> list[str]:
    """The sidecar's command line."""
    listening = [] if way.client == "stdio" else ["--transport", way.client, "--bind", "127.0.0.1", "--port", "0"]
    server = ["--", *everything("stdio")] if way.server == "stdio" else ["--upstream", servers.url(way.server)]
    return sidecar(folder, ALLOW_ALL, *listening, *server)


def _client(server: Everything | Transport | str, heard: Heard, era: Era) -> Client:
    return Client(
        server,
        mode=era,
        read_timeout_seconds=SECONDS,
        client_info=Implementation(name="transparency", version="1"),
        sampling_callback=heard.sample,
        elicitation_callback=heard.elicit,
        list_roots_callback=heard.roots,
        logging_callback=heard.log,
        log_level="info",
        message_handler=heard.message,
    )


@asynccontextmanager
async def in_a_task(client: Client) -> AsyncIterator[Client]:
    """Enter a client in a task of its own: what breaks in it then breaks no tests but those that use it."""
    entered, left = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with client:
            entered.set()
            await left.wait()

    task, entering = asyncio.create_task(hold()), asyncio.create_task(entered.wait())
    await asyncio.wait([task, entering], timeout=SECONDS, return_when=asyncio.FIRST_COMPLETED)
    if not entered.is_set():
        entering.cancel()
        if task.done():
            await task
        task.cancel()
        raise TimeoutError(f"no connection within {SECONDS:g} s")
    try:
        yield client
    finally:
        left.set()
        await asyncio.wait_for(task, SECONDS)


async def _warm_up(connection: Connection) -> None:
    """Prove that the connection stands.

    The stream on which a server says things unasked is opened by clients of HTTP after the handshake, whenever they
    like, and what was said before is lost. So a change is announced until it is heard; after that nothing is lost.
    """
    await connection.client.list_tools()
    heard = connection.heard
    with anyio.fail_after(SECONDS):
        while connection.way.era == "legacy" and not heard.changes:
            await connection.text("test_trigger_prompt_change")
            with suppress(TimeoutError):
                await heard.wait_for(lambda: heard.changes, 0.2)
    heard.forget()


async def _error(ask: Callable[[Client], Awaitable[object]], client: Client) -> MCPError:
    try:
        result = await ask(client)
    except MCPError as error:
        return error
    raise AssertionError(f"it was answered: {result}")
