"""Tools are listed and called as if nothing stood between."""

from __future__ import annotations

import json
from typing import Any, Final

import anyio
import pytest
from mcp_types import TextContent

from tests.transparency.connection import Connection
from tests.transparency.ways import every_way

pytestmark = [pytest.mark.anyio, pytest.mark.slow, every_way]

ANSWERING: Final = (
    "test_simple_text",
    "test_image_content",
    "test_audio_content",
    "test_embedded_resource",
    "test_multiple_content_types",
)
HARD_ARGUMENTS: Final[dict[str, Any]] = {
    "text": "Zürich \u2028 “quoted” \\ / \x7f 日本 🦉",
    "numbers": [0, -1, 1.5, 1e-7, 123456789012345678, 0.1],
    "nothing": None,
    "nested": {"": [], "a": {"b": [True, False, {}]}},
    "looks_like": '{"method":"tools/call"}\r\n',
}


async def test_the_list_of_tools_is_the_servers(connection: Connection) -> None:
    listed = await connection.same(lambda client: client.list_tools())
    assert len(listed.tools) > 30


async def test_every_kind_of_content_arrives_as_it_was_sent(connection: Connection) -> None:
    for tool in ANSWERING:
        result = await connection.same_call(tool)
        assert not result.is_error


async def test_structured_output_arrives_beside_its_text(connection: Connection) -> None:
    result = await connection.same_call("test_structured_output")
    assert result.structured_content == {"city": "Zürich", "degrees": -3.5}


async def test_a_tools_own_error_stays_a_result(connection: Connection) -> None:
    result = await connection.same_call("test_error_handling")
    assert result.is_error
    assert result.content == [TextContent(text="This tool intentionally returns an error for testing")]


async def test_an_unknown_tool_is_answered_by_the_server(connection: Connection) -> None:
    result = await connection.same_call("no_such_tool")
    assert result.content == [TextContent(text="Unknown tool: no_such_tool")]


async def test_arguments_arrive_with_the_values_that_they_were_sent_with(connection: Connection) -> None:
    assert json.loads(await connection.text("test_echo", HARD_ARGUMENTS)) == HARD_ARGUMENTS


async def test_an_argument_that_is_also_in_a_header_arrives(connection: Connection) -> None:
    assert await connection.text("test_x_mcp_header", {"region": "Zürich 8001"}) == "region=Zürich 8001"


async def test_a_large_argument_and_a_large_answer_arrive_whole(connection: Connection) -> None:
    arguments = {"text": "0123456789" * 50_000}
    assert json.loads(await connection.text("test_echo", arguments)) == arguments


async def test_calls_at_the_same_time_each_get_their_own_answer(connection: Connection) -> None:
    answers: dict[int, str] = {}

    async def call(number: int) -> None:
        answers[number] = await connection.text("test_echo", {"number": number})

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(call, number)
    assert answers == {number: json.dumps({"number": number}) for number in range(20)}
