"""Tools that only answer: every kind of content, structured output, errors, and what they were given."""

from __future__ import annotations

import json
from typing import Final

from mcp_types import (
    AudioContent,
    CallToolRequestParams,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    TextContent,
    TextResourceContents,
)

from tests.servers.everything.media import PNG, WAV
from tests.servers.everything.offer import Context, Offer, argument, offer, said, shown

_PICTURE: Final = ImageContent(data=PNG, mime_type="image/png")
_PLACE: Final = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "degrees": {"type": "number"}},
    "required": ["city", "degrees"],
}


@offer("Answers with a text")
async def test_simple_text(ctx: Context, params: CallToolRequestParams) -> CallToolResult:
    return said("This is a simple text response for testing.")


@offer("Answers with a picture")
async def test_image_content(ctx: Context, params: CallToolRequestParams) -> CallToolResult:
    return shown(_PICTURE)


@offer("Answers with a sound")
async def test_audio_content(ctx: Context, params: CallToolRequestParams) -> CallToolResult:
    return shown(AudioContent(data=WAV, mime_type="audio/wav"))


@offer("Answers with a resource")
async def test_embedded_resource(ctx: Context, params: CallToolRequestParams) -> CallToolResult:
    text = "This is an embedded resource content."
    return shown(_embedded("test://embedded-resource", "text/plain", text))


@offer("Answers with a text, a picture and a resource")
async def test_multiple_content_types(ctx: Context, params: CallToolRequestParams) -> CallToolResult:
    return shown(
        TextContent(text="Multiple content types test:"),
        _PICTURE,
        _embedded("test://mixed-content-resource", "application/json", json.dumps({"test": "data", "value": 123})),
    )


@offer("Answers that it failed")
async def test_error_handling(ctx: Context, params: CallToolRequestParams) -> CallToolResult:
    return CallToolResult(
        content=[TextContent(text="This tool intentionally returns an error for testing")], is_error=True
    )


@offer("Answers with a structure beside the text", output=_PLACE)
async def test_structured_output(ctx: Context, params: CallToolRequestParams) -> CallToolResult:
    place = {"city": "Zürich", "degrees": -3.5}
    return CallToolResult(content=[TextContent(text=json.dumps(place))], structured_content=place)


@offer("Answers with its arguments as JSON", {"type": "object"})
async def test_echo(ctx: Context, params: CallToolRequestParams) -> CallToolResult:
    return said(json.dumps(params.arguments, ensure_ascii=False))


@offer(
    "Answers with the region that is also in a header",
    {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}},
)
async def test_x_mcp_header(ctx: Context, params: CallToolRequestParams) -> CallToolResult:
    return said(f"region={argument(params, 'region', 'none')}")


def _embedded(uri: str, mime_type: str, text: str) -> EmbeddedResource:
    return EmbeddedResource(resource=TextResourceContents(uri=uri, mime_type=mime_type, text=text))


OFFERS: Final[tuple[Offer, ...]] = (
    test_simple_text,
    test_image_content,
    test_audio_content,
    test_embedded_resource,
    test_multiple_content_types,
    test_error_handling,
    test_structured_output,
    test_echo,
    test_x_mcp_header,
)
