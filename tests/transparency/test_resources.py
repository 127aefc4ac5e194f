"""Resources are listed, read and watched as if nothing stood between."""

from __future__ import annotations

import anyio
import pytest
from mcp.shared.subscriptions import ResourceUpdated
from mcp_types import BlobResourceContents, TextResourceContents

from tests.servers.everything.resources import WATCHED
from tests.support.peer import SECONDS
from tests.transparency.connection import Connection
from tests.transparency.ways import every_way, legacy_ways, modern_ways

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@every_way
async def test_resources_and_templates_are_listed(connection: Connection) -> None:
    assert len((await connection.same(lambda client: client.list_resources())).resources) == 3
    assert len((await connection.same(lambda client: client.list_resource_templates())).resource_templates) == 1


@every_way
async def test_a_text_is_read(connection: Connection) -> None:
    read = await connection.same(lambda client: client.read_resource("test://static-text"))
    assert isinstance(read.contents[0], TextResourceContents)


@every_way
async def test_a_picture_is_read(connection: Connection) -> None:
    read = await connection.same(lambda client: client.read_resource("test://static-binary"))
    assert isinstance(read.contents[0], BlobResourceContents)


@every_way
async def test_what_a_template_makes_is_read(connection: Connection) -> None:
    read = await connection.same(lambda client: client.read_resource("test://template/a%20b/data"))
    assert read.contents[0].uri == "test://template/a%20b/data"


@every_way
async def test_a_resource_that_is_not_there_is_the_servers_own_error(connection: Connection) -> None:
    error = await connection.same_error(lambda client: client.read_resource("test://nowhere"))
    assert error.error.data == {"uri": "test://nowhere"}


@legacy_ways
async def test_a_subscribed_resource_that_changes_is_heard_of_once(connection: Connection) -> None:
    client, heard = connection.client, connection.heard
    await client.subscribe_resource(WATCHED)
    await connection.text("test_trigger_resource_update")
    await heard.wait_for(lambda: heard.changes)
    await client.unsubscribe_resource(WATCHED)
    assert heard.changes == [{"method": "notifications/resources/updated", "params": {"uri": WATCHED}}]


@modern_ways
async def test_a_listener_hears_that_its_resource_changed(connection: Connection) -> None:
    async with connection.client.listen(resource_subscriptions=[WATCHED]) as changes:
        await connection.text("test_trigger_resource_update")
        with anyio.fail_after(SECONDS):
            assert await anext(aiter(changes)) == ResourceUpdated(uri=WATCHED)
