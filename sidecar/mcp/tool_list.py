"""Lists of tools: the names in an answer to `tools/list`, the answer without hidden tools, and changes of the list."""

from __future__ import annotations

from typing import Any, Final

from sidecar import text
from sidecar.mcp import jsonrpc
from sidecar.mcp.jsonrpc import Id, Notification, Request, Response
from sidecar.mcp.protocol import SUBSCRIPTION_META

TOOLS_LIST_CHANGED: Final = "notifications/tools/list_changed"


def listed_tools(reply: Response) -> list[str]:
    """The names in an answer to `tools/list`; what has no name is left out."""
    tools = reply.result.get("tools") if type(reply.result) is dict else None
    named = [tool.get("name") for tool in tools if type(tool) is dict] if type(tools) is list else []
    return [name for name in named if type(name) is str]


def filtered(reply: Response, hidden: frozenset[str]) -> Response:
    """An answer to `tools/list` without the hidden tools; everything else in it stays as it is.

    Raises ValueError if it is no list that can be filtered.
    """
    answer = reply.result
    if type(answer) is not dict or type(answer.get("tools")) is not list:
        raise ValueError("the server's answer holds no list of tools")
    if any(key != "tools" and text.folded(key) == "tools" for key in answer):
        raise ValueError("the server's answer holds a second list of tools")
    kept = [tool for tool in answer["tools"] if type(tool) is dict and _is_shown(tool, hidden)]
    filtered_answer = answer | {"tools": kept}
    if answer.get("cacheScope") == "public":
        filtered_answer["cacheScope"] = "private"  # who may see it depends on our policy
    assert reply.id is not None  # it answers a request
    return jsonrpc.result(reply.id, filtered_answer)


def looks_like_list(reply: Response) -> bool:
    """True for a result that somebody could take for a list of tools: a list of objects under `tools`, in any case."""
    answer = reply.result
    if type(answer) is not dict:
        return False
    if answer.keys() <= _OF_CALLS:
        return False  # no more work than that for almost every answer
    return any(_has_object(value) and text.folded(key) == "tools" for key, value in answer.items())


def _has_object(value: Any) -> bool:
    return type(value) is list and any(type(item) is dict for item in value)


def _is_shown(tool: dict[str, Any], hidden: frozenset[str]) -> bool:
    name = tool.get("name")
    if any(key != "name" and text.folded(key) == "name" for key in tool):
        return False  # readers could differ on which of them is its name
    return type(name) is str and name not in hidden


def can_announce_tools(reply: Response) -> bool:
    """True if an answer to `initialize` announces changes of the list of tools: then clients wait for news of them."""
    answer = reply.result if type(reply.result) is dict else {}
    capabilities = answer.get("capabilities")
    tools = capabilities.get("tools") if type(capabilities) is dict else None
    return type(tools) is dict and tools.get("listChanged") is True


def listens_for_tools(request: Request) -> bool:
    """True if a `subscriptions/listen` asks for changes of the list of tools."""
    wanted = (request.params or {}).get("notifications")
    return type(wanted) is dict and wanted.get("toolsListChanged") is True


def tools_changed(subscription: Id | None = None) -> Notification:
    """The notification that the list of tools changed, for everybody or for one subscription."""
    params = {"_meta": {SUBSCRIPTION_META: subscription}} if subscription is not None else None
    return jsonrpc.notification(TOOLS_LIST_CHANGED, params)


_OF_CALLS = frozenset({"content", "isError", "structuredContent", "resultType", "_meta"})
