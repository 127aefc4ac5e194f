"""`python -m tests.servers.failing FILE`: a low-level server of the Python SDK whose tool fails after it did its work.

The tool `pay` adds a line to FILE, and then raises what its argument `raises` names.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CallToolRequestParams, CallToolResult, ListToolsResult, Tool


async def main(done: Path) -> None:
    """Serve on standard input and output."""

    async def list_tools(_: Any, __: Any) -> ListToolsResult:
        return ListToolsResult(tools=[Tool(name="pay", input_schema={"type": "object"})])

    async def call_tool(_: Any, params: CallToolRequestParams) -> CallToolResult:
        with done.open("a") as file:
            file.write("paid\n")
        if (params.arguments or {}).get("raises") == "invalid params":
            raise MCPError(INVALID_PARAMS, "the output does not fit")
        raise RuntimeError("the connection broke after the order was placed")

    server = Server("failing", on_list_tools=list_tools, on_call_tool=call_tool)
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())


asyncio.run(main(Path(sys.argv[1])))
