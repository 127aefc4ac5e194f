"""What happens while a call runs: log lines, progress, cancellation, and a stream that ends before the answer came."""

from __future__ import annotations

import anyio
import pytest

from tests.transparency.connection import Connection
from tests.transparency.ways import every_way, legacy_ways, ways_of_log_lines

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@ways_of_log_lines
async def test_log_lines_are_heard_in_the_order_in_which_they_were_logged(connection: Connection) -> None:
    heard = connection.heard
    assert await connection.text("test_tool_with_logging") == "Logged three lines"
    await heard.wait_for(lambda: len(heard.logs) >= 3)
    lines = ("Tool execution started", "Tool processing data", "Tool execution completed")
    assert heard.logs == [("info", "everything", line) for line in lines]


@legacy_ways
async def test_the_level_of_log_lines_reaches_the_server(connection: Connection) -> None:
    for level in ("warning", "debug"):
        await connection.client.set_logging_level(level)
        assert await connection.text("test_logging_level") == level


@every_way
async def test_progress_is_heard_in_order(connection: Connection) -> None:
    heard = connection.heard
    await connection.client.call_tool("test_tool_with_progress", progress_callback=heard.progressed)
    await heard.wait_for(lambda: len(heard.progress) >= 3)
    assert heard.progress == [(done, 100, f"Completed step {done} of 100") for done in (0, 50, 100)]


@every_way
async def test_a_call_that_the_client_cancels_ends_at_the_server(connection: Connection) -> None:
    heard, arguments = connection.heard, {"call": str(connection.way)}

    async def call() -> None:
        await connection.client.call_tool("test_cancellation", arguments, progress_callback=heard.progressed)

    async with anyio.create_task_group() as group:
        group.start_soon(call)
        await heard.wait_for(lambda: heard.progress)
        group.cancel_scope.cancel()
    assert await connection.text("test_was_cancelled", arguments) == "yes"


@ways_of_log_lines
async def test_a_call_whose_stream_the_server_ends_is_answered_all_the_same(connection: Connection) -> None:
    heard = connection.heard
    assert await connection.text("test_reconnection") == "Reconnection test completed"
    await heard.wait_for(lambda: len(heard.logs) >= 2)
    assert [data for _, _, data in heard.logs] == ["Before disconnect", "After reconnect"]


@legacy_ways
async def test_a_ping_is_answered(connection: Connection) -> None:
    await connection.same(lambda client: client.send_ping())
