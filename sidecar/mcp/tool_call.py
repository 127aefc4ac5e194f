"""A `tools/call`: read from a request, and its outcome by the server's answer."""

from __future__ import annotations

import enum
import unicodedata
from typing import Any, Final

import msgspec

from sidecar import text
from sidecar.errors import InvalidMessage
from sidecar.mcp.jsonrpc import INVALID_PARAMS, Id, Request, Response
from sidecar.mcp.protocol import STATELESS, stated_revision
from sidecar.mcp.trace_context import TRACEPARENT, TraceContext, trace_of
from sidecar.text import is_plain

SAYING_NOT_RUN: Final = frozenset({-32700, -32601, -32020, -32021, -32022})
"""Error codes that a server answers before anything ran: unreadable, no such method, headers that disagree, a missing
capability or revision. Not -32602: SDKs also answer it after the tool ran, if the output does not fit its schema."""
MAX_TOOL_NAME: Final = 1_024
"""Characters of a tool's name; a longer one is odd. Unicode normalisation takes time that grows with the square."""


class ToolCall(msgspec.Struct, frozen=True, gc=False):
    """One `tools/call` as it will be judged and, if allowed, sent. `arguments` is `{}` when absent or null.

    `params` are all parameters, the arguments among them, as they stand in `raw`. `trace` is the trace that it is a
    part of: as its `_meta` says, or else the request that carried it.
    """

    id: Id
    tool: str
    arguments: dict[str, Any]
    stateless: bool
    raw: bytes
    params: dict[str, Any]
    trace: TraceContext | None = None


class PreparedCall(ToolCall, frozen=True, gc=False, kw_only=True):
    """A large call, with the hash of its arguments for the audit log, which was worked out beforehand."""

    arguments_hash: str


class Prepared(Request, frozen=True, gc=False, kw_only=True):
    """The request of a `PreparedCall`."""

    arguments_hash: str


class Outcome(enum.Enum):
    """How a forwarded call ended, which decides whether its reservations are given back."""

    SUCCEEDED = "success"
    FAILED = "failure"
    """A result with `isError: true`: it may have run."""
    NOT_RUN = "not_run"
    """It certainly did not run: it did not arrive, or the answer says so."""
    ERROR = "error"
    """Any other JSON-RPC error: SDKs answer it for an exception too, whatever the tool did before."""
    UNKNOWN = "unknown"
    """Cancelled, timed out, connection lost: it may have run."""


# An attribute of an enum takes 0.1 µs.
_SUCCEEDED: Final = Outcome.SUCCEEDED
_FAILED: Final = Outcome.FAILED


def read_call(request: Request) -> ToolCall:
    """The call in a `tools/call` request. Raises `InvalidMessage` unless every part has its exact shape."""
    params = request.params
    if params is None:
        raise InvalidMessage(INVALID_PARAMS, "tools/call needs params with a name", request.id)
    for key in params:
        if key not in _CALL_MEMBERS and text.folded(key) in _FOLDED_CALL_MEMBERS:
            known = _FOLDED_CALL_MEMBERS[text.folded(key)]
            raise InvalidMessage(INVALID_PARAMS, f"params has a look-alike of the key {known!r}", request.id)
    tool, arguments = params.get("name"), params.get("arguments")
    if type(tool) is not str or not tool:
        raise InvalidMessage(
            INVALID_PARAMS, "tools/call needs the name of a tool, a text that is not empty", request.id
        )
    if arguments is not None and type(arguments) is not dict:
        raise InvalidMessage(INVALID_PARAMS, "arguments must be an object", request.id)
    stateless, trace = False, None
    if type(meta := params.get("_meta")) is dict:
        stateless, trace = _is_stateless(request), trace_of(meta.get(TRACEPARENT))
    if type(request) is Prepared:
        return PreparedCall(
            request.id, tool, arguments or {}, stateless, request.raw, params, trace,
            arguments_hash=request.arguments_hash,
        )  # fmt: skip
    return ToolCall(request.id, tool, arguments or {}, stateless, request.raw, params, trace)


def is_odd_name(tool: str) -> bool:
    """True for a tool name that some server may take for another one, or that is too long.

    Such servers ignore invisible characters or outer blanks, or normalise Unicode.
    """
    if len(tool) > MAX_TOOL_NAME:
        return True
    if tool.isascii():
        return not tool.isprintable() or tool != tool.strip()
    return not is_plain(tool) or tool != tool.strip() or tool != unicodedata.normalize("NFKC", tool)


def outcome(reply: Response) -> Outcome:
    """The outcome of a call by the server's answer."""
    if reply.error is not None:
        code = reply.error.get("code")
        return Outcome.NOT_RUN if type(code) is int and code in SAYING_NOT_RUN else Outcome.ERROR
    answer = reply.result
    if type(answer) is not dict:
        return _SUCCEEDED
    if answer.get("resultType") == "input_required":
        return Outcome.NOT_RUN
    return _FAILED if answer.get("isError") is True else _SUCCEEDED


_CALL_MEMBERS = frozenset({"name", "arguments", "_meta", "task", "inputResponses", "requestState"})
_FOLDED_CALL_MEMBERS = {text.folded(key): key for key in _CALL_MEMBERS}


def _is_stateless(request: Request) -> bool:
    """True if the request itself states a revision from 2026-07-28 on, in which a result needs a `resultType`."""
    return (stated_revision(request) or "") >= STATELESS
