"""The few facts of the Model Context Protocol that judging needs: methods, revisions, what a message is about.

Sources: the schema of revision 2026-07-28 and of those before it; JSON-RPC messages are `sidecar.mcp.jsonrpc`'s.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from sidecar import __version__
from sidecar.errors import InvalidMessage
from sidecar.mcp.jsonrpc import INVALID_REQUEST, Id, Notification, Request, Response
from sidecar.text import is_plain, shown, shown_quoted

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
"""The first revision without sessions: each request carries all that it needs."""
SERVER_GONE: Final = -32000
"""Code of the error for requests that were outstanding when the server ended (implementation-defined range)."""
SUBSCRIPTION_META: Final = "io.modelcontextprotocol/subscriptionId"
"""The key in `_meta` of a notification that belongs to one `subscriptions/listen`."""

CAPABILITIES_META: Final = "io.modelcontextprotocol/clientCapabilities"
"""The key in `_meta` under which each request of a stateless revision says what its client can do."""

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
"""Every method of any revision, of either side. Policy decides on other methods; a look-alike of these never passes."""

MAX_METHOD: Final = 256
MAX_SAID: Final = 1_024
"""Characters of what a client says of itself that are kept with its session."""


def check_method(message: Request | Notification) -> None:
    """Refuse a method that differs from a known one only in case, blanks, slashes or look-alike characters.

    Servers exist that trim names, or route them as paths. Raises `InvalidMessage`.
    """
    if is_odd_method(message.method):
        id_ = message.id if isinstance(message, Request) else None
        raise InvalidMessage(INVALID_REQUEST, f"no method is called {shown_quoted(message.method)}", id_)


def is_odd_method(method: str) -> bool:
    """True for a method that is unknown but that some server may take for a known one, or that is too long."""
    if method in METHODS:
        return False
    return len(method) > MAX_METHOD or not is_plain(method) or folded(method) in _FOLDED_METHODS


def folded(method: str) -> str:
    """A method as the most lenient server reads it: without regard to case, Unicode form or blanks, and as a path."""
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


class ClientInfo(msgspec.Struct, frozen=True):
    """What a client says of itself, in its own words. `shown` is its name, safe to show.

    None is what it does not say. True stands for what is no text, or longer than `MAX_SAID`: that it is there can
    matter, and no text can be taken for it.
    """

    shown: str
    name: str | bool | None
    version: str | bool | None


def client_info(request: Request) -> ClientInfo | None:
    """What the client says of itself, if this request has it: in `initialize`, or in the `_meta` of any other."""
    params = request.params or {}
    meta = params.get("_meta")
    about = params.get("clientInfo") if request.method == INITIALIZE else None
    if about is None and type(meta) is dict:
        about = meta.get(_CLIENT_META)
    if type(about) is not dict:
        return None
    name, version = about.get("name"), about.get("version")
    return ClientInfo(shown(name) if type(name) is str else "", _said(name), _said(version))


def _said(value: Any) -> str | bool | None:
    if value is None or (type(value) is str and len(value) <= MAX_SAID):
        return value
    return True


def stated_revision(message: Request | Notification) -> str | None:
    """The protocol revision that a message states in `_meta`, as those of stateless revisions do, or None."""
    meta = (message.params or {}).get("_meta")
    version = meta.get(_VERSION_META) if type(meta) is dict else None
    return version if type(version) is str else None


def own_meta(revision: str) -> dict[str, Any]:
    """The `_meta` of a request of our own in a stateless revision."""
    about = {"name": "intercept-sidecar", "version": __version__}
    return {_VERSION_META: revision, CAPABILITIES_META: {}, _CLIENT_META: about}


def agreed_revision(reply: Response) -> str:
    """The protocol revision that an answer to `initialize` settles on; empty if it names none."""
    agreed = reply.result.get("protocolVersion") if type(reply.result) is dict else None
    return agreed if type(agreed) is str else ""


def progress_token(message: Request) -> Any:
    """The token under which the server is to report the progress of a request; None if nobody asks for that."""
    meta = (message.params or {}).get("_meta")
    return meta.get("progressToken") if type(meta) is dict else None


class Related(msgspec.Struct, frozen=True):
    """The request that a notification is about, named at `path` by its id or by its progress token."""

    by_token: bool
    name: Any
    path: tuple[str, ...]


def related(message: Notification) -> Related | None:
    """The request that a notification names, or None."""
    params = message.params or {}
    if message.method == PROGRESS:
        return Related(True, params.get("progressToken"), ("params", "progressToken"))
    if message.method == CANCELLED:
        return Related(False, params.get("requestId"), ("params", "requestId"))
    meta = params.get("_meta")
    if type(meta) is dict and SUBSCRIPTION_META in meta:
        return Related(False, meta[SUBSCRIPTION_META], ("params", "_meta", SUBSCRIPTION_META))
    return None


def cancelled_id(message: Notification) -> Id | None:
    """The id that a `notifications/cancelled` names, or None."""
    named = (message.params or {}).get("requestId")
    return named if type(named) in (str, int) else None


_VERSION_META = "io.modelcontextprotocol/protocolVersion"
_CLIENT_META = "io.modelcontextprotocol/clientInfo"
