"""What a client is told about a call that may not pass: the text, and the form that carries it.

The reason comes from the rule, or from whoever refused the call; the words around it stand here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sidecar.mcp import jsonrpc
from sidecar.mcp.jsonrpc import Request, Response
from sidecar.mcp.tool_call import ToolCall
from sidecar.text import shown_quoted

DENIED: Final = "[INTERCEPT POLICY DENIED]"
APPROVAL: Final = "[INTERCEPT APPROVAL REQUIRED]"
APPROVAL_REQUIRED: Final = -32003
DECISION_META: Final = "intercept/decision"


MORE_REASONS: Final = 3
"""The most reasons of other rules that a refusal names."""
UNCHANGED: Final = "Do not repeat this call unchanged."
LATER: Final = "Try again later."
_MAY_PASS_LATER: Final = frozenset({"engine_unavailable", "store_unavailable", "approval_in_use", "approvals_full"})
"""Kinds of denial that are not about the call, so that the same call may pass another time."""


def told(reason: str, others: Sequence[str], kind: str, retry_after: int | None) -> str:
    """The text of a refusal: its reason, up to three more, and what to do next, each on lines of its own.

    `retry_after` is in seconds, and known for limits into which the same call fits another time.
    """
    more = list(dict.fromkeys(other for other in others if other != reason))[:MORE_REASONS]
    if retry_after is not None:
        advice = f"Try again in {retry_after} s."
    else:
        advice = LATER if kind in _MAY_PASS_LATER else UNCHANGED
    return "\n".join([reason, *more, advice])


def denial(call: ToolCall, text: str, decision: dict[str, Any]) -> Response:
    """The answer to a call that policy refuses: a tool result that a model can read, not a protocol error."""
    return _result(call, f"{DENIED} {text}", decision)


def method_denied(request: Request) -> Response:
    """The answer to a request whose method policy closes: a JSON-RPC error, as for a method that does not exist."""
    text = f"the method {shown_quoted(request.method)} is not permitted by policy"
    return jsonrpc.error(request.id, jsonrpc.METHOD_NOT_FOUND, text)


def approval_required(call: ToolCall, text: str, decision: dict[str, Any], *, as_result: bool) -> Response:
    """The answer to a call that a person has to agree to first: nothing was forwarded.

    A JSON-RPC error, or for agents that never see those (`as_result`) the result of a tool.
    """
    text = f"{APPROVAL} {text}"
    if not as_result:
        return jsonrpc.error(call.id, APPROVAL_REQUIRED, text, decision)
    return _result(call, text, decision)


def what_to_do(approval: str, until: str, url: str, *, of_session: bool) -> str:
    """What an agent is told beside the message of the rule: who is asked, until when, and what to do then.

    An approval `of_session` ends with the session, as where nobody is authenticated.
    """
    where = f" at {url}" if url else ""
    only = ", and only in this session" if of_session else ""
    return (
        f"A person is asked about this call{where} (approval {approval}, until {until}). "
        f"Once it is approved, repeat this call with the very same arguments: it goes through once{only}."
    )


def _result(call: ToolCall, text: str, decision: dict[str, Any]) -> Response:
    body: dict[str, Any] = {
        "content": [{"type": "text", "text": text}],
        "isError": True,
        "_meta": {DECISION_META: decision},
    }
    if call.stateless:
        body["resultType"] = "complete"
    return jsonrpc.result(call.id, body)
