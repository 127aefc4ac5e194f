"""A client of the Python SDK, of either line, that asks for what a person has to agree to.

`approval_client.py KIND http URL` or `... KIND stdio COMMAND [ARGUMENT...]`. KIND is `session`, `pages` for a session
whose client opens pages, or `stateless` for one that does without a session (revision 2026-07-28, newer line only).

Each line on its standard input is the text for a call of `test_echo`. What happens is printed as lines of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import mcp
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitResult


def tell(**what: Any) -> None:
    """Print what happened."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def progressed(progress: float, total: float | None, message: str | None) -> None:
    """The call goes on."""
    tell(progress=message)


async def opened(context: Any, params: Any) -> ElicitResult:
    """The person at this client opens the page."""
    tell(page=params.url)
    return ElicitResult(action="accept")


async def caller(
    kind: str, transport: str, words: list[str], stack: AsyncExitStack
) -> Callable[..., Awaitable[Any]]:  # fmt: skip
    """What calls a tool."""
    parameters = StdioServerParameters(command=words[0], args=words[1:])
    if kind == "stateless":
        target: Any = parameters if transport == "stdio" else words[0]
        client = mcp.Client(target, mode="2026-07-28", elicitation_callback=opened)  # type: ignore[attr-defined,unused-ignore]
        return (await stack.enter_async_context(client)).call_tool
    streams = stdio_client(parameters) if transport == "stdio" else streamable_http_client(words[0])
    reading, writing, *_ = await stack.enter_async_context(streams)
    callback = opened if kind == "pages" else None
    session = await stack.enter_async_context(ClientSession(reading, writing, elicitation_callback=callback))
    await session.initialize()
    return session.call_tool


async def talk(kind: str, transport: str, *words: str) -> None:
    """Call as long as there are lines."""
    async with AsyncExitStack() as stack:
        call = await caller(kind, transport, [*words], stack)
        tell(ready=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            try:
                result = await call("test_echo", {"text": line.strip()}, progress_callback=progressed)
            except Exception as error:
                found: Any = getattr(error, "error", error)
                if not hasattr(found, "code"):
                    raise
                tell(code=found.code, data=found.data)
            else:
                tell(result=result.content[0].text)


asyncio.run(talk(*sys.argv[1:]))
