"""Resources: fixed ones, a template, and one that can be watched."""

from __future__ import annotations

import json
import re
from typing import Final

from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    BlobResourceContents,
    EmptyResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    SubscribeRequestParams,
    TextResourceContents,
    UnsubscribeRequestParams,
)

from tests.servers.everything.media import PNG
from tests.servers.everything.offer import Context

WATCHED: Final = "test://watched-resource"

_CONTENTS: Final[dict[str, TextResourceContents | BlobResourceContents]] = {
    one.uri: one
    for one in (
        TextResourceContents(
            uri="test://static-text",
            mime_type="text/plain",
            text="This is the content of the static text resource.",
        ),
        BlobResourceContents(uri="test://static-binary", mime_type="image/png", blob=PNG),
        TextResourceContents(uri=WATCHED, mime_type="text/plain", text="Watched resource content"),
    )
}
_TEMPLATE: Final = re.compile(r"test://template/([^/]+)/data")


async def list_resources(ctx: Context, params: PaginatedRequestParams | None) -> ListResourcesResult:
    """Answer `resources/list`."""
    return ListResourcesResult(
        resources=[
            Resource(uri=uri, name=uri.removeprefix("test://"), mime_type=content.mime_type)
            for uri, content in _CONTENTS.items()
        ]
    )


async def list_templates(ctx: Context, params: PaginatedRequestParams | None) -> ListResourceTemplatesResult:
    """Answer `resources/templates/list`."""
    template = ResourceTemplate(uri_template="test://template/{id}/data", name="data", mime_type="application/json")
    return ListResourceTemplatesResult(resource_templates=[template])


async def read(ctx: Context, params: ReadResourceRequestParams) -> ReadResourceResult:
    """Answer `resources/read`."""
    if (content := _CONTENTS.get(params.uri)) is not None:
        return ReadResourceResult(contents=[content])
    if found := _TEMPLATE.fullmatch(params.uri):
        data = {"id": found[1], "templateTest": True, "data": f"Data for ID: {found[1]}"}
        text = TextResourceContents(uri=params.uri, mime_type="application/json", text=json.dumps(data))
        return ReadResourceResult(contents=[text])
    raise MCPError(INVALID_PARAMS, "Resource not found", {"uri": params.uri})


async def subscribe(ctx: Context, params: SubscribeRequestParams) -> EmptyResult:
    """Answer `resources/subscribe`; a tool then says when the resource changes."""
    return EmptyResult()


async def unsubscribe(ctx: Context, params: UnsubscribeRequestParams) -> EmptyResult:
    """Answer `resources/unsubscribe`."""
    return EmptyResult()
