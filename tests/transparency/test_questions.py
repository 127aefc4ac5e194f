"""What a server asks of the client reaches it, and the answers reach the server, in the way of either era."""

from __future__ import annotations

import json

import pytest

from tests.transparency.answers import FIELDS
from tests.transparency.connection import Connection
from tests.transparency.ways import every_way, legacy_ways, modern_ways

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@legacy_ways
async def test_a_server_that_samples_gets_what_the_clients_model_says(connection: Connection) -> None:
    assert await connection.text("test_sampling", {"prompt": "Grüezi"}) == "LLM response: “Grüezi” indeed"
    assert connection.heard.asked == ["sampling 100: Grüezi"]


@legacy_ways
async def test_a_form_is_filled_in(connection: Connection) -> None:
    written = json.dumps({name: FIELDS[name] for name in ("email", "username")})
    answer = await connection.text("test_elicitation", {"message": "Who?"})
    assert answer == f"User response: action=accept, content={written}"


@legacy_ways
async def test_a_form_with_every_kind_of_field_arrives_as_it_was_sent(connection: Connection) -> None:
    for tool in ("test_elicitation_sep1034_defaults", "test_elicitation_sep1330_enums"):
        await connection.same_call(tool)
    assert "enumNames" in connection.heard.asked[1]


@legacy_ways
async def test_roots_are_listed_to_the_server(connection: Connection) -> None:
    assert await connection.text("test_list_roots") == "work=file:///srv/work"


@modern_ways
async def test_a_result_that_needs_input_is_completed_in_further_rounds(connection: Connection) -> None:
    assert await connection.text("test_input_required_result_elicitation") == "Hello, Ada!"
    assert await connection.text("test_input_required_result_multi_round") == "Ada likes green"
    assert await connection.text("test_input_required_result_list_roots") == "work=file:///srv/work"
    sampled = await connection.text("test_input_required_result_sampling")
    assert sampled == "“What is the capital of France?” indeed"


@modern_ways
async def test_several_inputs_and_the_servers_own_state_come_back_together(connection: Connection) -> None:
    answer = await connection.text("test_input_required_result_multiple_inputs")
    assert answer == "“Generate a greeting” indeed, Ada of 1 roots"
    assert await connection.text("test_input_required_result_request_state") == "state-ok"


@modern_ways
async def test_a_prompt_that_needs_input_is_completed(connection: Connection) -> None:
    prompt = await connection.client.get_prompt("test_input_required_result_prompt")
    assert "Use this context: a context" in prompt.messages[0].model_dump_json()


@every_way
async def test_what_the_client_said_that_it_can_do_reaches_the_server(connection: Connection) -> None:
    assert await connection.text("test_missing_capability") == "The client can sample"
