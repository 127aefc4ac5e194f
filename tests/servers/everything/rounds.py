"""Tools and a prompt that need more rounds: they answer what they still need, and are called again with it."""

from __future__ import annotations

from typing import Any, Final

from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    GetPromptRequestParams,
    GetPromptResult,
    InputRequest,
    InputRequiredResult,
    ListRootsRequest,
    ListRootsResult,
    PromptMessage,
    SamplingMessage,
    TextContent,
)

from tests.servers.everything.offer import Context, Offer, offer, said

Params = CallToolRequestParams | GetPromptRequestParams
Result = CallToolResult | InputRequiredResult


@offer("Needs a name")
async def test_input_required_result_elicitation(ctx: Context, params: CallToolRequestParams) -> Result:
    if name := _filled_in(params, "user_name", "name"):
        return said(f"Hello, {name}!")
    return _needs(user_name=_name())


@offer("Reports progress, and then needs a name")
async def test_streaming_elicitation(ctx: Context, params: CallToolRequestParams) -> Result:
    await ctx.session.report_progress(1, 2)
    return await test_input_required_result_elicitation.answer(ctx, params)


@offer("Needs what the client's model says")
async def test_input_required_result_sampling(ctx: Context, params: CallToolRequestParams) -> Result:
    if answer := _completed(params, "capital_question"):
        return said(answer)
    return _needs(capital_question=_sampled("What is the capital of France?"))


@offer("Needs the client's roots")
async def test_input_required_result_list_roots(ctx: Context, params: CallToolRequestParams) -> Result:
    roots = (params.input_responses or {}).get("client_roots")
    if isinstance(roots, ListRootsResult):
        return said(", ".join(f"{root.name}={root.uri}" for root in roots.roots))
    return _needs(client_roots=ListRootsRequest())


@offer("Needs a confirmation and its own state back")
async def test_input_required_result_request_state(ctx: Context, params: CallToolRequestParams) -> Result:
    if params.request_state == "asked" and "confirm" in (params.input_responses or {}):
        return said("state-ok")
    return _needs("asked", confirm=_confirmation())


@offer("Needs three things at once")
async def test_input_required_result_multiple_inputs(ctx: Context, params: CallToolRequestParams) -> Result:
    name, greeting = _filled_in(params, "user_name", "name"), _completed(params, "greeting")
    roots = (params.input_responses or {}).get("client_roots")
    if name and greeting and isinstance(roots, ListRootsResult):
        return said(f"{greeting}, {name} of {len(roots.roots)} roots")
    return _needs(
        "asked for three",
        user_name=_name(),
        greeting=_sampled("Generate a greeting", 50),
        client_roots=ListRootsRequest(),
    )


@offer("Needs a name, and then a color")
async def test_input_required_result_multi_round(ctx: Context, params: CallToolRequestParams) -> Result:
    state = params.request_state or ""
    if state.startswith("name:") and (color := _filled_in(params, "step2", "color")):
        return said(f"{state.removeprefix('name:')} likes {color}")
    if state == "asked" and (name := _filled_in(params, "step1", "name")):
        return _needs(f"name:{name}", step2=_form("Step 2: What is your favorite color?", color="string"))
    return _needs("asked", step1=_form("Step 1: What is your name?", name="string"))


@offer("Needs its own state back as it was")
async def test_input_required_result_tampered_state(ctx: Context, params: CallToolRequestParams) -> Result:
    # A state that somebody changed never comes here: the boundary in front of the tools refuses it.
    return said("state-ok") if params.request_state == "sealed" else _needs("sealed", confirm=_confirmation())


@offer("Needs whatever the client can give")
async def test_input_required_result_capabilities(ctx: Context, params: CallToolRequestParams) -> Result:
    can = ctx.session.client_capabilities
    requests: dict[str, InputRequest] = {}
    if can is not None and can.elicitation is not None:
        requests["user_name"] = _name()
    if can is not None and can.sampling is not None:
        requests["greeting"] = _sampled("Generate a greeting", 50)
    return _needs("asked for what it can", **requests)


async def context_prompt(params: GetPromptRequestParams) -> GetPromptResult | InputRequiredResult:
    """Answer the prompt `test_input_required_result_prompt`."""
    if context := _filled_in(params, "user_context", "context"):
        text = TextContent(text=f"Use this context: {context}")
        return GetPromptResult(messages=[PromptMessage(role="user", content=text)])
    return _needs(user_context=_form("What context should the prompt use?", context="string"))


def _needs(state: str | None = None, **requests: InputRequest) -> InputRequiredResult:
    return InputRequiredResult(input_requests=requests or None, request_state=state)


def _form(message: str, **types: str) -> ElicitRequest:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: {"type": type_} for name, type_ in types.items()},
        "required": [*types],
    }
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def _name() -> ElicitRequest:
    return _form("What is your name?", name="string")


def _confirmation() -> ElicitRequest:
    return _form("Please confirm", ok="boolean")


def _sampled(prompt: str, max_tokens: int = 100) -> CreateMessageRequest:
    message = SamplingMessage(role="user", content=TextContent(text=prompt))
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=[message], max_tokens=max_tokens))


def _filled_in(params: Params, key: str, field: str) -> str | None:
    """What the user wrote into a field; None unless all of it came."""
    answer = (params.input_responses or {}).get(key)
    value = (answer.content or {}).get(field) if isinstance(answer, ElicitResult) else None
    return value if isinstance(value, str) else None


def _completed(params: Params, key: str) -> str | None:
    """What the client's model said."""
    answer = (params.input_responses or {}).get(key)
    if isinstance(answer, CreateMessageResult) and isinstance(answer.content, TextContent):
        return answer.content.text
    return None


OFFERS: Final[tuple[Offer, ...]] = (
    test_input_required_result_elicitation,
    test_streaming_elicitation,
    test_input_required_result_sampling,
    test_input_required_result_list_roots,
    test_input_required_result_request_state,
    test_input_required_result_multiple_inputs,
    test_input_required_result_multi_round,
    test_input_required_result_tampered_state,
    test_input_required_result_capabilities,
)
