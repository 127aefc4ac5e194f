"""The areas put together as one server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    InputRequiredResult,
    ListToolsResult,
    PaginatedRequestParams,
    SetLevelRequestParams,
    TextContent,
)

from tests.servers.everything import asks, changes, content, during, prompts, resources, rounds, schemas
from tests.servers.everything.offer import Context, Offer

NAME: Final = "everything"


class Everything(Server[Any]):
    """A server that may always say that one of its lists changed."""

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        """What it says of itself in the handshake."""
        changing = NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)
        return super().create_initialization_options(changing, experimental_capabilities, extensions)


def build() -> Everything:
    """A server of its own, with nothing remembered."""
    bus, level = InMemorySubscriptionBus(), during.Level()
    tools = Tools(
        *content.OFFERS, *schemas.OFFERS, *during.OFFERS, *asks.OFFERS, *rounds.OFFERS,
        *during.Cancellations().offers, *level.offers, *changes.offers(bus),
    )  # fmt: skip
    server = Everything(
        NAME,
        version="1.0.0",
        instructions="Call anything.",
        get_tool_input_schema=tools.schema,
        on_list_tools=tools.list,
        on_call_tool=tools.call,
        on_list_resources=resources.list_resources,
        on_list_resource_templates=resources.list_templates,
        on_read_resource=resources.read,
        on_subscribe_resource=resources.subscribe,
        on_unsubscribe_resource=resources.unsubscribe,
        on_subscriptions_listen=ListenHandler(bus),
        on_list_prompts=prompts.list_prompts,
        on_get_prompt=prompts.get,
        on_completion=prompts.complete,
    )
    server.add_request_handler("logging/setLevel", SetLevelRequestParams, level.set)
    server.middleware.append(RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience=NAME))
    return server


class Tools:
    """The tools by their names, in the order in which they are listed."""

    def __init__(self, *offers: Offer) -> None:
        self._offers = {offer.tool.name: offer for offer in offers}

    def schema(self, name: str) -> Mapping[str, Any] | None:
        """The input schema of a tool; None for a tool that is not here."""
        offer = self._offers.get(name)
        return None if offer is None else offer.tool.input_schema

    async def list(self, ctx: Context, params: PaginatedRequestParams | None) -> ListToolsResult:
        """Answer `tools/list`."""
        return ListToolsResult(tools=[offer.tool for offer in self._offers.values()])

    async def call(self, ctx: Context, params: CallToolRequestParams) -> CallToolResult | InputRequiredResult:
        """Answer `tools/call`."""
        if params.name not in self._offers:  # as the SDK's own servers do
            return CallToolResult(content=[TextContent(text=f"Unknown tool: {params.name}")], is_error=True)
        return await self._offers[params.name].answer(ctx, params)
