"""Tools that say something before they answer: log lines, progress, a stream that ends early, and cancellation."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

import anyio
from mcp_types import CallToolRequestParams, CallToolResult, EmptyResult, SetLevelRequestParams

from tests.servers.everything.offer import Context, Offer, argument, offer, said, strings

SECONDS: Final = 10.0
"""Longest wait for a cancellation to come."""


@offer("Logs three lines")
async def test_tool_with_logging(ctx: Context, params: CallToolRequestParams) -> CallToolResult:
    for line in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await log(ctx, line)
    return said("Logged three lines")


@offer("Logs a line, for clients that want none")
async def test_logging_tool(ctx: Context, params: CallToolRequestParams) -> CallToolResult:
    await log(ctx, "A line")
    return said("Logged a line")


@offer("Reports progress three times")
async def test_tool_with_progress(ctx: Context, params: CallToolRequestParams) -> CallToolResult:
    for done in (0, 50, 100):
        await ctx.session.report_progress(done, 100, f"Completed step {done} of 100")
    return said("Completed all steps")


@offer("Ends the stream of its own call; the answer comes where the client takes the stream up again")
async def test_reconnection(ctx: Context, params: CallToolRequestParams) -> CallToolResult:
    await log(ctx, "Before disconnect")
    if ctx.close_sse_stream is not None:  # only streams that can be taken up again have it
        await ctx.close_sse_stream()
    await log(ctx, "After reconnect")
    return said("Reconnection test completed")


async def log(ctx: Context, text: str) -> None:
    """Send a log line on the stream of the request."""
    await ctx.session.send_log_message("info", text, "everything", ctx.request_id)


class Cancellations:
    """A call that lasts until it is cancelled, and one that says whether that happened; each call has a name."""

    def __init__(self) -> None:
        self._cancelled: defaultdict[str, anyio.Event] = defaultdict(anyio.Event)

    @property
    def offers(self) -> tuple[Offer, ...]:
        """The two tools."""
        cancelled = self._cancelled

        @offer("Lasts until it is cancelled; reports progress when it has begun", strings("call"))
        async def test_cancellation(ctx: Context, params: CallToolRequestParams) -> CallToolResult:
            try:
                await ctx.session.report_progress(0, 1)
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():
                cancelled[argument(params, "call")].set()
                raise
            return said("It cannot come to this")

        @offer("Says whether a call was cancelled, once it was or when the wait for it is over", strings("call"))
        async def test_was_cancelled(ctx: Context, params: CallToolRequestParams) -> CallToolResult:
            with anyio.move_on_after(SECONDS):
                await cancelled[argument(params, "call")].wait()
                return said("yes")
            return said("no")

        return (test_cancellation, test_was_cancelled)


class Level:
    """The level of log lines that a client asked for last."""

    def __init__(self) -> None:
        self._level = "none"

    async def set(self, ctx: Context, params: SetLevelRequestParams) -> EmptyResult:
        """Answer `logging/setLevel`."""
        self._level = params.level
        return EmptyResult()

    @property
    def offers(self) -> tuple[Offer, ...]:
        """The tool that says which it is."""

        @offer("Says which level of log lines was asked for last")
        async def test_logging_level(ctx: Context, params: CallToolRequestParams) -> CallToolResult:
            return said(self._level)

        return (test_logging_level,)


OFFERS: Final[tuple[Offer, ...]] = (
    test_tool_with_logging,
    test_logging_tool,
    test_tool_with_progress,
    test_reconnection,
)
