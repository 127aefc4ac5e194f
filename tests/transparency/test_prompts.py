"""Prompts and completion work as if nothing stood between."""

from __future__ import annotations

import pytest
from mcp_types import PromptReference

from tests.transparency.connection import Connection
from tests.transparency.ways import every_way

pytestmark = [pytest.mark.anyio, pytest.mark.slow, every_way]


async def test_prompts_are_listed(connection: Connection) -> None:
    assert len((await connection.same(lambda client: client.list_prompts())).prompts) == 5


async def test_a_prompt_arrives_with_its_arguments_filled_in(connection: Connection) -> None:
    arguments = {"arg1": "hello", "arg2": "wörld"}
    prompt = await connection.same(lambda client: client.get_prompt("test_prompt_with_arguments", arguments))
    assert "wörld" in prompt.messages[0].model_dump_json()


async def test_prompts_arrive_with_their_pictures_and_resources(connection: Connection) -> None:
    assert len((await connection.same(lambda client: client.get_prompt("test_prompt_with_image"))).messages) == 2
    arguments = {"resourceUri": "test://example-resource"}
    prompt = await connection.same(lambda client: client.get_prompt("test_prompt_with_embedded_resource", arguments))
    assert len(prompt.messages) == 2


async def test_a_prompt_that_is_not_there_is_the_servers_own_error(connection: Connection) -> None:
    error = await connection.same_error(lambda client: client.get_prompt("no_such_prompt"))
    assert error.error.message == "Unknown prompt: no_such_prompt"


async def test_an_argument_is_completed(connection: Connection) -> None:
    prompt, argument = PromptReference(name="test_prompt_with_arguments"), {"name": "arg1", "value": "par"}
    completed = await connection.same(lambda client: client.complete(prompt, argument))
    assert completed.completion.values == ["paris", "park", "party"]
