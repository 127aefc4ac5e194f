"""What a client is told about a call that may not pass: the text, and the form that carries it.

The reason comes from the rule, or from whoever refused the call; the words around it stand here.
"""

from __future__ import annotations

from typing import Any, Final

from sidecar.mcp import jsonrpc
from sidecar.mcp.jsonrpc import Request, Response
from sidecar.mcp.tool_call import ToolCall
from sidecar.text import quoted, shown

DENIED: Final = "[INTERCEPT POLICY DENIED]"
APPROVAL: Final = "[INTERCEPT APPROVAL REQUIRED]"
APPROVAL_REQUIRED: Final = -32003
DECISION_META: Final = "intercept/decision"


def denial(call: ToolCall, text: str, decision: dict[str, Any]) -> Response:
    """The answer to a call that policy refuses: a tool result that a model can read, not a protocol error."""
    body: dict[str, Any] = {
        "content": [{"type": "text", "text": f"{DENIED} {text}"}],
        "isError": True,
        "_meta": {DECISION_META: decision},
    }
    if call.stateless:
        body["resultType"] = "complete"
    return jsonrpc.result(call.id, body)


def method_denied(request: Request) -> Response:
    """The answer to a request whose method policy closes: a JSON-RPC error, as for a method that does not exist."""
    text = f"the method {quoted(shown(request.method))} is not permitted by policy"
    return jsonrpc.error(request.id, jsonrpc.METHOD_NOT_FOUND, text)


def approval_required(call: ToolCall, text: str, decision: dict[str, Any]) -> Response:
    """The answer to a call that a person has to agree to first: a JSON-RPC error, nothing was forwarded."""
    return jsonrpc.error(call.id, APPROVAL_REQUIRED, f"{APPROVAL} {text}", decision)
