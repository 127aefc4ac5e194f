"""Tools that make the server say that something changed, to clients of either era."""

from __future__ import annotations

from mcp.server.subscriptions import SubscriptionBus
from mcp.shared.subscriptions import PromptsListChanged, ResourceUpdated, ToolsListChanged
from mcp_types import CallToolRequestParams, CallToolResult

from tests.servers.everything.offer import Context, Offer, offer, said
from tests.servers.everything.resources import WATCHED


def offers(bus: SubscriptionBus) -> tuple[Offer, ...]:
    """The tools; what listens to `bus` hears of every change."""
    # Clients that shake hands are told on the connection, the others on the streams that they opened for it: on a
    # connection of the one kind the other's way is silent.

    @offer("Says that the list of tools changed")
    async def test_trigger_tool_change(ctx: Context, params: CallToolRequestParams) -> CallToolResult:
        await ctx.session.send_tool_list_changed()
        await bus.publish(ToolsListChanged())
        return said("The list of tools changed")

    @offer("Says that the list of prompts changed")
    async def test_trigger_prompt_change(ctx: Context, params: CallToolRequestParams) -> CallToolResult:
        await ctx.session.send_prompt_list_changed()
        await bus.publish(PromptsListChanged())
        return said("The list of prompts changed")

    @offer("Says that the watched resource changed")
    async def test_trigger_resource_update(ctx: Context, params: CallToolRequestParams) -> CallToolResult:
        await ctx.session.send_resource_updated(WATCHED)
        await bus.publish(ResourceUpdated(uri=WATCHED))
        return said("The watched resource changed")

    return (test_trigger_tool_change, test_trigger_prompt_change, test_trigger_resource_update)
