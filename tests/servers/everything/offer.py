"""What an area of the server offers, as values: a tool with the function that answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from mcp.server import ServerRequestContext
from mcp_types import CallToolRequestParams, CallToolResult, ContentBlock, InputRequiredResult, TextContent, Tool

Context: TypeAlias = ServerRequestContext[Any, Any]
Answer: TypeAlias = Callable[[Context, CallToolRequestParams], Awaitable[CallToolResult | InputRequiredResult]]

NO_ARGUMENTS: Final[Mapping[str, Any]] = {"type": "object", "properties": {}}


@dataclass(frozen=True, slots=True)
class Offer:
    """A tool and what answers a call of it."""

    tool: Tool
    answer: Answer


def offer(
    description: str, schema: Mapping[str, Any] = NO_ARGUMENTS, output: Mapping[str, Any] | None = None
) -> Callable[[Answer], Offer]:
    """Make a tool of a function; its name is the function's."""

    def make(answer: Answer) -> Offer:
        name = answer.__name__
        output_schema = None if output is None else dict(output)
        tool = Tool(name=name, description=description, input_schema=dict(schema), output_schema=output_schema)
        return Offer(tool, answer)

    return make


def strings(*required: str) -> Mapping[str, Any]:
    """The schema of an object in which these members, all texts, must be."""
    return {"type": "object", "properties": {name: {"type": "string"} for name in required}, "required": [*required]}


def said(text: str) -> CallToolResult:
    """A result that is a text."""
    return shown(TextContent(text=text))


def shown(*content: ContentBlock) -> CallToolResult:
    """A result of these parts."""
    return CallToolResult(content=[*content])


def argument(params: CallToolRequestParams, name: str, default: str = "") -> str:
    """An argument as text."""
    return str((params.arguments or {}).get(name, default))
