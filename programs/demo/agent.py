"""The agent: an MCP client of the SDK that starts the sidecar as its server, and makes calls through it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp_types import CallToolResult, TextContent

from programs.demo.script import Call, Step
from sidecar.enforce.denial import DECISION_META, DENIED
from tests.support import ROOT, SIDECAR

MCP_OKX: Final = SIDECAR.with_name("mcp-okx")
POLICY: Final = "policies/okx-trading.yaml"
SECONDS: Final = 20.0
"""Longest wait for an answer; only a failing demo waits it out."""


@asynccontextmanager
async def agent(exchange: str, folder: Path, telemetry: int, policy: str = POLICY) -> AsyncIterator[Client]:
    """A client with the sidecar and the OKX server behind it, all ended when left.

    `folder` gets the sidecar's state and `stderr.txt`.
    """
    parameters = StdioServerParameters(
        command=str(SIDECAR),
        args=[
            "run", "-c", policy, "--state-dir", str(folder / "state"), "--telemetry", f"127.0.0.1:{telemetry}",
            "--", str(MCP_OKX),
        ],
        env=okx_environment(exchange),
        cwd=ROOT,
    )  # fmt: skip
    with (folder / "stderr.txt").open("w") as errors:
        async with Client(stdio_client(parameters, errlog=errors), read_timeout_seconds=SECONDS) as client:
            yield client


def okx_environment(exchange: str) -> dict[str, str]:
    """What the OKX server needs to know. Its keys are made up: the stub looks at none."""
    return {
        "OKX_BASE_URL": exchange, "OKX_API_KEY": "demo", "OKX_API_SECRET": "demo", "OKX_PASSPHRASE": "demo",
        # With its banner FastMCP asks PyPI for a newer version of itself: nothing here may leave the machine.
        "FASTMCP_SHOW_SERVER_BANNER": "false", "FASTMCP_CHECK_FOR_UPDATES": "off",
    }  # fmt: skip


async def play(client: Client, step: Step) -> Call:
    """Make one call and say what became of it."""
    since = time.perf_counter()
    result = await client.call_tool(step.tool, step.arguments)
    return judged(step, result, time.perf_counter() - since)


def judged(step: Step, result: CallToolResult, seconds: float) -> Call:
    """A tool's result in a few words."""
    text = " ".join(part.text for part in result.content if isinstance(part, TextContent))
    if result.is_error and text.startswith(DENIED):
        rule = (result.meta or {}).get(DECISION_META, {}).get("rule", "")
        reason, *advice = text.removeprefix(DENIED).strip().split("\n")
        return Call(step, "refused", rule, reason, seconds, tuple(advice))
    answer = result.structured_content or {}
    if result.is_error or answer.get("code") != "0":
        return Call(step, "failed", "", answer.get("msg") or text, seconds)
    return Call(step, "allowed", "", in_short(step.tool, answer["data"]), seconds)


def in_short(tool: str, data: list[dict[str, Any]]) -> str:
    """What a person wants to know of OKX's answer to a tool."""
    match tool:
        case "market_tickers":
            return f"{data[0]['instId']} {data[0]['last']} ({data[0]['change24h']:+} %)"
        case "account_balance":
            return ", ".join(f"{holding['availBal']} {holding['ccy']}" for holding in data[0]["details"])
        case "close_positions":
            return f"closed {data[0]['instId']}"
        case _:
            return f"order {data[0]['ordId']}"
