"""The agent: an MCP client of the SDK that starts the sidecar as its server, and makes calls through it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp_types import CallToolResult, TextContent

from programs.checkout import MCP_OKX, ROOT, SIDECAR
from programs.demo.script import Call, Step
from sidecar.enforce.denial import APPROVAL_REQUIRED, DECISION_META, DENIED

SECONDS: Final = 20.0
"""Longest wait for an answer; only a failing demo waits it out."""
TELEMETRY: Final = "127.0.0.1:0"
"""A free port; the sidecar says which."""
TELEMETRY_AT: Final = r"telemetry on (http://\S+)"
"""How it says so on its error stream."""


@asynccontextmanager
async def agent(exchange: str, folder: Path, policy: Path) -> AsyncIterator[Client]:
    """A client with the sidecar and the OKX server behind it, all ended when left.

    `folder` gets the sidecar's state in `state`, and `stderr.txt`.
    """
    parameters = StdioServerParameters(
        command=str(SIDECAR),
        args=[
            "run", "-c", str(policy), "--state-dir", str(folder / "state"), "--telemetry", TELEMETRY,
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
    try:
        return judged(step, await client.call_tool(step.tool, step.arguments))
    except MCPError as error:
        return held(step, error)


def held(step: Step, error: MCPError) -> Call:
    """The error that says that a person has to approve a call first; any other one is a failure."""
    facts = error.data if isinstance(error.data, dict) else {}
    if error.code != APPROVAL_REQUIRED:
        return Call(step, "failed", "", f"error {error.code}: {error.message}")
    return Call(step, "held", str(facts.get("rule", "")), error.message, str(facts.get("id", "")))


def judged(step: Step, result: CallToolResult) -> Call:
    """What became of a call, by its result."""
    text = words(result)
    if result.is_error and text.startswith(DENIED):
        decision = (result.meta or {}).get(DECISION_META, {})
        return Call(step, "refused", decision.get("rule", ""), text, decision.get("id", ""))
    answer = result.structured_content or {}
    if result.is_error or answer.get("code") != "0":
        return Call(step, "failed", "", answer.get("msg") or text)
    return Call(step, "allowed", "", in_short(step.tool, answer["data"]))


def words(result: CallToolResult) -> str:
    """The text of a tool's result, as the model behind the agent reads it."""
    return "\n".join(part.text for part in result.content if isinstance(part, TextContent))


def in_short(tool: str, data: list[dict[str, Any]]) -> str:
    """What a person wants to know of OKX's answer to a tool."""
    match tool:
        case "market_tickers":
            return f"{data[0]['instId']} {data[0]['last']} ({data[0]['change24h']:+} %)"
        case "account_balance":
            return ", ".join(f"{holding['availBal']} {holding['ccy']}" for holding in data[0]["details"])
        case "cancel_order":
            return "cancelled"
        case "close_positions":
            return f"closed {data[0]['instId']}"
        case _:
            return f"order {data[0]['ordId']}"
