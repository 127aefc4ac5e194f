"""A client of the Python SDK, of either line: `python_client.py http URL`, `sse URL` or `stdio COMMAND [ARGUMENT...]`.

It lists the tools, calls two of them, and prints what came as one line of JSON. Nothing in it is of one line only.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AbstractAsyncContextManager
from typing import Any

from mcp import ClientSession, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client


def transport(kind: str, target: str, *rest: str) -> AbstractAsyncContextManager[Any]:
    """The streams to a server."""
    match kind:
        case "http":
            return streamable_http_client(target)
        case "sse":
            return sse_client(target)
        case _:
            return stdio_client(StdioServerParameters(command=target, args=[*rest]))


async def talk(streams: AbstractAsyncContextManager[Any]) -> dict[str, Any]:
    """List and call."""
    async with streams as (reading, writing, *_), ClientSession(reading, writing) as session:
        await session.initialize()
        tools = (await session.list_tools()).tools
        allowed = await session.call_tool("test_echo", {"text": "Grüezi"})
        denied = await session.call_tool("test_simple_text", {})
    results = {
        name: result.model_dump(by_alias=True, mode="json", exclude_none=True)
        for name, result in (("allowed", allowed), ("denied", denied))
    }
    return {"tools": [tool.name for tool in tools], **results}


print(json.dumps(asyncio.run(talk(transport(*sys.argv[1:])))))
