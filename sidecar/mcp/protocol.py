"""The few facts of the Model Context Protocol that judging a call needs: methods, tool calls, denials, outcomes.

Sources: the schema of revision 2026-07-28 and of those before it; JSON-RPC messages are `sidecar.mcp.jsonrpc`'s.
"""

from __future__ import annotations

import enum
import re
import unicodedata
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from sidecar import __version__, text
from sidecar.errors import InvalidMessage
from sidecar.mcp import jsonrpc, strict_json
from sidecar.mcp.jsonrpc import INVALID_PARAMS, INVALID_REQUEST, Id, Notification, Request, Response
from sidecar.text import is_plain, quoted, shown

INITIALIZE: Final = "initialize"
TOOLS_CALL: Final = "tools/call"
TOOLS_LIST: Final = "tools/list"
LISTEN: Final = "subscriptions/listen"
CANCELLED: Final = "notifications/cancelled"
PROGRESS: Final = "notifications/progress"

REVISIONS: Final = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28")
"""The protocol revisions that pass through, oldest first."""
WITH_BATCHES: Final = ("2025-03-26",)
"""The revisions that have JSON-RPC batches."""
STATELESS: Final = "2026-07-28"
"""The first revision without sessions: each request says by itself all that it needs."""

TOOLS_LIST_CHANGED: Final = "notifications/tools/list_changed"

DENIED: Final = "[INTERCEPT POLICY DENIED]"
APPROVAL: Final = "[INTERCEPT APPROVAL REQUIRED]"
APPROVAL_REQUIRED: Final = -32003
DECISION_META: Final = "intercept/decision"
SERVER_GONE: Final = -32000
"""Code of the error that answers what was outstanding when the server ended (implementation-defined range)."""

SAYING_NOT_RUN: Final = frozenset({-32700, -32601, -32020, -32021, -32022})
"""Codes of errors that a server answers before anything ran: not readable, no such method, headers that say something
else, a capability or a revision that is missing. Not -32602: SDKs answer it after the tool, for an output that does
not fit its schema."""

OF_STATELESS_CLIENTS: Final = frozenset(
    {
        "server/discover", "completion/complete", "tools/call", "tools/list", "prompts/get", "prompts/list",
        "resources/list", "resources/read", "resources/templates/list", "subscriptions/listen",
        "tasks/get", "tasks/update", "tasks/cancel", "notifications/cancelled",
    }
)  # fmt: skip
"""Every method from a client to a server in the stateless revision, its extensions included."""
OF_CLIENTS: Final = OF_STATELESS_CLIENTS | {
    "initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe",
    "tasks/result", "tasks/list", "notifications/initialized", "notifications/progress",
    "notifications/roots/list_changed", "notifications/tasks/status",
}  # fmt: skip
"""Every method from a client to a server in any revision."""
METHODS: Final = OF_CLIENTS | {
    "roots/list", "sampling/createMessage", "elicitation/create", "notifications/message",
    "notifications/tools/list_changed", "notifications/prompts/list_changed",
    "notifications/resources/list_changed", "notifications/resources/updated", "notifications/elicitation/complete",
}  # fmt: skip
"""Every method of any revision, of either side. Whether others pass is policy's; a look-alike of one of these never."""


MAX_METHOD: Final = 256
MAX_TOOL_NAME: Final = 1_024
"""Characters of a name that is looked at: what Unicode's forms cost grows with their square."""


class _NoMemo(dict[str, tuple[Any, ...]]):
    """Takes everything and keeps nothing."""

    def __setitem__(self, key: str, value: tuple[Any, ...]) -> None:
        pass


_NO_MEMO: Final = _NoMemo()


class ToolCall(msgspec.Struct, frozen=True, gc=False):
    """One `tools/call` as it will be judged and, if allowed, sent. `arguments` is `{}` when absent or null.

    `memo` is where others keep what they work out of `tool` and `arguments`, each under a key of his own, beside
    whatever else it depends on. Calls that are known to come again share one; the others' keeps nothing.
    """

    id: Id
    tool: str
    arguments: dict[str, Any]
    stateless: bool
    raw: bytes
    memo: dict[str, tuple[Any, ...]] = msgspec.field(default_factory=lambda: _NO_MEMO)


class Outcome(enum.Enum):
    """How a forwarded call ended, as far as what it reserved is concerned."""

    SUCCEEDED = "success"
    FAILED = "failure"
    """A result with `isError: true`: it may have run."""
    NOT_RUN = "not_run"
    """It certainly did not run: it never arrived, or the answer says so."""
    ERROR = "error"
    """Any other JSON-RPC error: SDKs answer an exception with one, after whatever the tool did before it."""
    UNKNOWN = "unknown"
    """Cancelled, timed out, connection lost: it may have run."""


def check_method(message: Request | Notification) -> None:
    """Refuse a method that differs from a known one only in case, blanks, slashes or look-alike characters.

    Servers exist that trim names, or route them as paths. Raises `InvalidMessage`.
    """
    if is_odd_method(message.method):
        id_ = message.id if isinstance(message, Request) else None
        raise InvalidMessage(INVALID_REQUEST, f"no method is called {quoted(shown(message.method))}", id_)


def is_odd_method(method: str) -> bool:
    """True for a method that is none, and that servers exist to take for one; and for one that is too long."""
    if method in METHODS:
        return False
    return len(method) > MAX_METHOD or not is_plain(method) or folded(method) in _FOLDED_METHODS


def folded(method: str) -> str:
    """What is left of a method where nobody minds case, form or blanks, and where it is read as a path."""
    plain = _BEHIND_PATH.split(unicodedata.normalize("NFKC", unquote(method)).casefold())[0]
    steps: list[str] = []
    for step in _SEPARATORS.split(plain):
        if step == "..":
            del steps[-1:]
        elif step != ".":
            steps.append(step)
    return "".join(steps)


_BEHIND_PATH = re.compile(r"[?#;]")
_SEPARATORS = re.compile(r"[\s/\\]+")
_FOLDED_METHODS = frozenset(map(folded, METHODS))


def tool_call(request: Request) -> ToolCall:
    """The call in a `tools/call` request. Raises `InvalidMessage` unless every part has its exact shape."""
    params = request.params
    if params is None:
        raise InvalidMessage(INVALID_PARAMS, "tools/call needs params with a name", request.id)
    for key in params:
        if key not in _CALL_MEMBERS and text.folded(key) in _FOLDED_CALL_MEMBERS:
            known = _FOLDED_CALL_MEMBERS[text.folded(key)]
            raise InvalidMessage(INVALID_PARAMS, f"params has a look-alike of the key {known!r}", request.id)
    tool, arguments, meta = params.get("name"), params.get("arguments"), params.get("_meta")
    if type(tool) is not str or not tool:
        raise InvalidMessage(
            INVALID_PARAMS, "tools/call needs the name of a tool, a text that is not empty", request.id
        )
    if arguments is not None and type(arguments) is not dict:
        raise InvalidMessage(INVALID_PARAMS, "arguments must be an object", request.id)
    return ToolCall(request.id, tool, arguments or {}, meta is not None and _is_stateless(meta), request.raw)


def is_odd_name(tool: str) -> bool:
    """True for a tool name that servers exist to fold onto another, or that is too long.

    They fold invisible characters, outer blanks, and what Unicode writes in several ways.
    """
    if len(tool) > MAX_TOOL_NAME:
        return True
    if tool.isascii():
        return not tool.isprintable() or tool != tool.strip()
    return not is_plain(tool) or tool != tool.strip() or tool != unicodedata.normalize("NFKC", tool)


def denial(call: ToolCall, text: str, decision: dict[str, Any]) -> bytes:
    """The answer to a call that policy refuses: a tool result that a model can read, not a protocol error."""
    body: dict[str, Any] = {
        "content": [{"type": "text", "text": f"{DENIED} {text}"}],
        "isError": True,
        "_meta": {DECISION_META: decision},
    }
    if call.stateless:
        body["resultType"] = "complete"
    return jsonrpc.result(call.id, body)


def approval_required(call: ToolCall, text: str, decision: dict[str, Any]) -> bytes:
    """The answer to a call that a person has to agree to first: a JSON-RPC error, nothing was forwarded."""
    return jsonrpc.error(call.id, APPROVAL_REQUIRED, f"{APPROVAL} {text}", decision)


def outcome(reply: Response) -> Outcome:
    """What the server's answer says about a call."""
    if reply.error is not None:
        code = reply.error.get("code")
        return Outcome.NOT_RUN if type(code) is int and code in SAYING_NOT_RUN else Outcome.ERROR
    answer = reply.result
    if type(answer) is not dict:
        return Outcome.SUCCEEDED
    if answer.get("resultType") == "input_required":
        return Outcome.NOT_RUN
    return Outcome.FAILED if answer.get("isError") is True else Outcome.SUCCEEDED


def client_name(request: Request) -> str | None:
    """What the client calls itself, where this request says it: in `initialize`, or in the `_meta` of any other."""
    params = request.params or {}
    meta = params.get("_meta")
    about = params.get("clientInfo") if request.method == INITIALIZE else None
    if about is None and type(meta) is dict:
        about = meta.get(_CLIENT_META)
    name = about.get("name") if type(about) is dict else None
    return name if type(name) is str else None


def stated_revision(message: Request | Notification) -> str | None:
    """The protocol revision that a message says by itself, as those of stateless revisions do, or None."""
    meta = (message.params or {}).get("_meta")
    version = meta.get(_VERSION_META) if type(meta) is dict else None
    return version if type(version) is str else None


def own_meta(revision: str) -> dict[str, Any]:
    """What stands in `_meta` of a request of our own in a stateless revision."""
    about = {"name": "intercept-sidecar", "version": __version__}
    return {_VERSION_META: revision, _CAPABILITIES_META: {}, _CLIENT_META: about}


def listed_tools(reply: Response) -> list[str]:
    """The names in an answer to `tools/list`; what has no name is left out."""
    tools = reply.result.get("tools") if type(reply.result) is dict else None
    named = [tool.get("name") for tool in tools if type(tool) is dict] if type(tools) is list else []
    return [name for name in named if type(name) is str]


def filtered(reply: Response, hidden: frozenset[str]) -> bytes:
    """An answer to `tools/list` without the hidden tools; everything else in it stays as it is.

    Raises ValueError when it is no list that could be filtered.
    """
    answer = reply.result
    if type(answer) is not dict or type(answer.get("tools")) is not list:
        raise ValueError("the server's answer holds no list of tools")
    if any(key != "tools" and text.folded(key) == "tools" for key in answer):
        raise ValueError("the server's answer holds a second list of tools")
    kept = [tool for tool in answer["tools"] if type(tool) is dict and _is_shown(tool, hidden)]
    filtered_answer = answer | {"tools": kept}
    if answer.get("cacheScope") == "public":
        filtered_answer["cacheScope"] = "private"  # who may see it depends on the policy here
    assert reply.id is not None  # it answers a request
    return jsonrpc.result(reply.id, filtered_answer)


def looks_like_list(reply: Response) -> bool:
    """True for a result with a list of objects under `tools`, in whatever case, which somebody could take for tools."""
    answer = reply.result
    if type(answer) is not dict:
        return False
    if answer.keys() <= _OF_CALLS:
        return False  # no more work than that for almost every answer
    return any(_has_object(value) for key, value in answer.items() if text.folded(key) == "tools")


def _has_object(value: Any) -> bool:
    return type(value) is list and any(type(item) is dict for item in value)


def _is_shown(tool: dict[str, Any], hidden: frozenset[str]) -> bool:
    name = tool.get("name")
    if any(key != "name" and text.folded(key) == "name" for key in tool):
        return False  # which of them it is called by depends on who reads it
    return type(name) is str and name not in hidden


def can_announce_tools(reply: Response) -> bool:
    """True when an answer to `initialize` says that the list of tools may change: then a client listens for it."""
    answer = reply.result if type(reply.result) is dict else {}
    capabilities = answer.get("capabilities")
    tools = capabilities.get("tools") if type(capabilities) is dict else None
    return type(tools) is dict and tools.get("listChanged") is True


def agreed_revision(reply: Response) -> str:
    """The protocol revision that an answer to `initialize` settles on; empty where it says none."""
    agreed = reply.result.get("protocolVersion") if type(reply.result) is dict else None
    return agreed if type(agreed) is str else ""


def listens_for_tools(request: Request) -> bool:
    """True when a `subscriptions/listen` asks for changes of the list of tools."""
    wanted = (request.params or {}).get("notifications")
    return type(wanted) is dict and wanted.get("toolsListChanged") is True


def tools_changed(subscription: Id | None = None) -> Notification:
    """The news that the list of tools changed, for whoever listens or for one subscription."""
    params = {"_meta": {_SUBSCRIPTION_META: subscription}} if subscription is not None else None
    body: dict[str, Any] = {"jsonrpc": "2.0", "method": TOOLS_LIST_CHANGED}
    raw = strict_json.encode(body | {"params": params} if params else body)
    return Notification(TOOLS_LIST_CHANGED, params, raw)


def progress_token(message: Request) -> Any:
    """What the server is to tell the progress of a request under; None where nobody asks."""
    meta = (message.params or {}).get("_meta")
    return meta.get("progressToken") if type(meta) is dict else None


class Related(msgspec.Struct, frozen=True):
    """What a notification is about: a request, named by its id or by the token of its progress at `path`."""

    by_token: bool
    name: Any
    path: tuple[str, ...]


def related(message: Notification) -> Related | None:
    """What a notification says that it is about, or None."""
    params = message.params or {}
    if message.method == PROGRESS:
        return Related(True, params.get("progressToken"), ("params", "progressToken"))
    if message.method == CANCELLED:
        return Related(False, params.get("requestId"), ("params", "requestId"))
    meta = params.get("_meta")
    if type(meta) is dict and _SUBSCRIPTION_META in meta:
        return Related(False, meta[_SUBSCRIPTION_META], ("params", "_meta", _SUBSCRIPTION_META))
    return None


def cancelled_id(message: Notification) -> Id | None:
    """The id that a `notifications/cancelled` names, or None."""
    named = (message.params or {}).get("requestId")
    return named if type(named) in (str, int) else None


_CALL_MEMBERS = frozenset({"name", "arguments", "_meta", "task", "inputResponses", "requestState"})
_OF_CALLS = frozenset({"content", "isError", "structuredContent", "resultType", "_meta"})
_FOLDED_CALL_MEMBERS = {text.folded(key): key for key in _CALL_MEMBERS}

_VERSION_META = "io.modelcontextprotocol/protocolVersion"
_CAPABILITIES_META = "io.modelcontextprotocol/clientCapabilities"
_CLIENT_META = "io.modelcontextprotocol/clientInfo"
_SUBSCRIPTION_META = "io.modelcontextprotocol/subscriptionId"


def _is_stateless(meta: Any) -> bool:
    """True when the request itself says a revision from 2026-07-28 on: there a result needs its `resultType`."""
    version = meta.get(_VERSION_META) if type(meta) is dict else None
    return type(version) is str and version >= STATELESS
