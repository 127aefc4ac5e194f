"""Who is at the other end, what changes there, and clients that are there at the same time."""

from __future__ import annotations

import json

import anyio
import pytest
from mcp.shared.subscriptions import ToolsListChanged
from mcp_types import TextContent

from tests.support.peer import SECONDS
from tests.transparency.answers import Heard
from tests.transparency.connection import Connection, in_a_task
from tests.transparency.ways import every_way, legacy_ways, modern_ways, shared_legacy_ways, shared_ways

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

TOOLS_CHANGED = {"method": "notifications/tools/list_changed"}


@every_way
async def test_the_server_is_known_by_its_own_name_and_capabilities(connection: Connection) -> None:
    client, reference = connection.client, connection.reference
    assert client.protocol_version == reference.protocol_version
    assert client.server_info == reference.server_info
    assert client.server_capabilities == reference.server_capabilities
    assert client.instructions == reference.instructions


@modern_ways
async def test_the_server_is_discovered(connection: Connection) -> None:
    discovered = await connection.same(lambda client: client.session.discover())
    assert discovered.supported_versions == ["2026-07-28"]


@legacy_ways
async def test_a_change_of_the_list_of_tools_is_heard_of_once(connection: Connection) -> None:
    heard = connection.heard
    await connection.text("test_trigger_tool_change")
    await heard.wait_for(lambda: heard.changes)
    await connection.client.send_ping()
    assert heard.changes == [TOOLS_CHANGED]


@modern_ways
async def test_a_listener_hears_of_what_it_listens_to_and_of_nothing_else(connection: Connection) -> None:
    async with connection.client.listen(tools_list_changed=True) as changes:
        await connection.text("test_trigger_prompt_change")
        await connection.text("test_trigger_tool_change")
        with anyio.fail_after(SECONDS):
            assert await anext(aiter(changes)) == ToolsListChanged()


@shared_ways
async def test_two_clients_at_the_same_time_each_get_their_own_answers(connection: Connection) -> None:
    async with in_a_task(connection.another(Heard())) as other:
        for number in range(3):
            assert await connection.text("test_echo", {"first": number}) == json.dumps({"first": number})
            second = await other.call_tool("test_echo", {"second": number})
            assert second.content == [TextContent(text=json.dumps({"second": number}))]


@shared_legacy_ways
async def test_what_a_server_says_to_one_client_is_not_heard_by_another(connection: Connection) -> None:
    elsewhere = Heard()
    async with in_a_task(connection.another(elsewhere)) as other:
        await other.list_tools()
        await connection.text("test_trigger_tool_change")
        await connection.heard.wait_for(lambda: connection.heard.changes)
        await other.call_tool("test_tool_with_logging")
        await elsewhere.wait_for(lambda: len(elsewhere.logs) >= 3)
    assert elsewhere.changes == []
    assert connection.heard.logs == []
