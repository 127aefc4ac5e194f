"""Tools that ask the client while they run, as servers did until revision 2025-11-25."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    CallToolRequestParams,
    CallToolResult,
    ElicitResult,
    ListRootsRequest,
    ListRootsResult,
    SamplingMessage,
    TextContent,
)

from tests.servers.everything.offer import Context, Offer, argument, offer, said, strings

_USER: Final = {
    "type": "object",
    "properties": {
        "username": {"type": "string", "description": "User's response"},
        "email": {"type": "string", "description": "User's email address"},
    },
    "required": ["username", "email"],
}
_DEFAULTS: Final = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    },
}


def _titled(ordinals: str) -> list[dict[str, str]]:
    return [{"const": f"value{at}", "title": title} for at, title in enumerate(ordinals.split(", "), 1)]


_OPTIONS: Final = ["option1", "option2", "option3"]
_ENUMS: Final = {
    "type": "object",
    "properties": {
        "untitledSingle": {"type": "string", "enum": _OPTIONS},
        "titledSingle": {"type": "string", "oneOf": _titled("First Option, Second Option, Third Option")},
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": _OPTIONS}},
        "titledMulti": {
            "type": "array",
            "items": {"anyOf": _titled("First Choice, Second Choice, Third Choice")},
        },
    },
}


@offer("Lets the client's model answer a prompt", strings("prompt"))
async def test_sampling(ctx: Context, params: CallToolRequestParams) -> CallToolResult:
    prompt = TextContent(text=argument(params, "prompt"))
    answer = await ctx.session.create_message(
        [SamplingMessage(role="user", content=prompt)], max_tokens=100, related_request_id=ctx.request_id
    )
    text = answer.content.text if isinstance(answer.content, TextContent) else "no text"
    return said(f"LLM response: {text}")


@offer("Asks the user for a name and an address", strings("message"))
async def test_elicitation(ctx: Context, params: CallToolRequestParams) -> CallToolResult:
    answer = await _ask(ctx, argument(params, "message"), _USER)
    return said(f"User response: {_in_words(answer)}")


@offer("Asks the user, with an answer ready for each question")
async def test_elicitation_sep1034_defaults(ctx: Context, params: CallToolRequestParams) -> CallToolResult:
    answer = await _ask(ctx, "Please review what is filled in", _DEFAULTS)
    return said(f"Elicitation completed: {_in_words(answer)}")


@offer("Asks the user to choose, in each way that there is")
async def test_elicitation_sep1330_enums(ctx: Context, params: CallToolRequestParams) -> CallToolResult:
    answer = await _ask(ctx, "Please choose", _ENUMS)
    return said(f"Elicitation completed: {_in_words(answer)}")


@offer("Asks the client for its roots")
async def test_list_roots(ctx: Context, params: CallToolRequestParams) -> CallToolResult:
    on_this_stream = ServerMessageMetadata(related_request_id=ctx.request_id)
    answer = await ctx.session.send_request(ListRootsRequest(), ListRootsResult, metadata=on_this_stream)
    return said(", ".join(f"{root.name}={root.uri}" for root in answer.roots))


@offer("Refuses clients that did not say that they can sample")
async def test_missing_capability(ctx: Context, params: CallToolRequestParams) -> CallToolResult:
    declared = ctx.session.client_capabilities
    if declared is None or declared.sampling is None:
        raise MCPError(
            MISSING_REQUIRED_CLIENT_CAPABILITY,
            "This tool needs a client that can sample",
            {"requiredCapabilities": {"sampling": {}}},
        )
    return said("The client can sample")


async def _ask(ctx: Context, message: str, schema: Mapping[str, Any]) -> ElicitResult:
    return await ctx.session.elicit_form(message, dict(schema), ctx.request_id)


def _in_words(answer: ElicitResult) -> str:
    return f"action={answer.action}, content={json.dumps(answer.content, sort_keys=True)}"


OFFERS: Final[tuple[Offer, ...]] = (
    test_sampling,
    test_elicitation,
    test_elicitation_sep1034_defaults,
    test_elicitation_sep1330_enums,
    test_list_roots,
    test_missing_capability,
)
