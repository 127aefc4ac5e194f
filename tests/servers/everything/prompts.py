"""Prompts, and the completion of arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CompleteRequestParams,
    CompleteResult,
    Completion,
    ContentBlock,
    EmbeddedResource,
    GetPromptRequestParams,
    GetPromptResult,
    ImageContent,
    InputRequiredResult,
    ListPromptsResult,
    PaginatedRequestParams,
    Prompt,
    PromptArgument,
    PromptMessage,
    TextContent,
    TextResourceContents,
)

from tests.servers.everything.media import PNG
from tests.servers.everything.offer import Context
from tests.servers.everything.rounds import context_prompt

_WORDS: Final = ("paris", "park", "party", "test")


def _prompt(name: str, description: str, *arguments: str) -> Prompt:
    return Prompt(
        name=name,
        description=description,
        arguments=[PromptArgument(name=argument, description=argument, required=True) for argument in arguments],
    )


_PROMPTS: Final = (
    _prompt("test_simple_prompt", "A text"),
    _prompt("test_prompt_with_arguments", "A text with two arguments in it", "arg1", "arg2"),
    _prompt("test_prompt_with_embedded_resource", "A resource and a text", "resourceUri"),
    _prompt("test_prompt_with_image", "A picture and a text"),
    _prompt("test_input_required_result_prompt", "A text that needs a context"),
)


async def list_prompts(ctx: Context, params: PaginatedRequestParams | None) -> ListPromptsResult:
    """Answer `prompts/list`."""
    return ListPromptsResult(prompts=[*_PROMPTS])


async def get(ctx: Context, params: GetPromptRequestParams) -> GetPromptResult | InputRequiredResult:
    """Answer `prompts/get`."""
    if params.name == "test_input_required_result_prompt":
        return await context_prompt(params)
    prompt = next((prompt for prompt in _PROMPTS if prompt.name == params.name), None)
    if prompt is None:
        raise MCPError(INVALID_PARAMS, f"Unknown prompt: {params.name}")
    content = _content(prompt.name, params.arguments or {})
    return GetPromptResult(
        description=prompt.description, messages=[PromptMessage(role="user", content=part) for part in content]
    )


async def complete(ctx: Context, params: CompleteRequestParams) -> CompleteResult:
    """Answer `completion/complete` with the words that begin as the value does."""
    words = [word for word in _WORDS if word.startswith(params.argument.value)]
    return CompleteResult(completion=Completion(values=words, total=len(words), has_more=False))


def _content(name: str, arguments: Mapping[str, str]) -> tuple[ContentBlock, ...]:
    match name:
        case "test_prompt_with_arguments":
            one, two = arguments.get("arg1", ""), arguments.get("arg2", "")
            return (TextContent(text=f"Prompt with arguments: arg1='{one}', arg2='{two}'"),)
        case "test_prompt_with_embedded_resource":
            resource = TextResourceContents(
                uri=arguments.get("resourceUri", ""),
                mime_type="text/plain",
                text="Embedded resource content for testing.",
            )
            return (
                EmbeddedResource(resource=resource),
                TextContent(text="Please process the embedded resource above."),
            )
        case "test_prompt_with_image":
            picture = ImageContent(data=PNG, mime_type="image/png")
            return (picture, TextContent(text="Please analyze the image above."))
        case _:
            return (TextContent(text="This is a simple prompt for testing."),)
