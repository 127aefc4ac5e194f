"""A client of the official SDK that calls one tool and prints what came as its first line: `URL HOST TOOL [TEXT]`."""

from __future__ import annotations

import asyncio
import json
import sys

import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

SECONDS = 30


async def main(url: str, host: str, tool: str, text: str = "") -> None:
    """Call the tool; what goes wrong on the way is printed as `error`."""
    try:
        async with (
            httpx2.AsyncClient(headers={"Host": host}, timeout=SECONDS) as http,
            Client(streamable_http_client(url, http_client=http), read_timeout_seconds=SECONDS) as client,
        ):
            await client.list_tools()  # the SDK would do so after the call, to check the answer's shape
            found = await client.call_tool(tool, {"text": text})
            print(json.dumps(found.model_dump(by_alias=True, mode="json", exclude_none=True)))
    except Exception as error:  # noqa: BLE001 - of whatever kind: the test looks at it
        print(json.dumps({"error": repr(error)}))


asyncio.run(main(*sys.argv[1:]))
