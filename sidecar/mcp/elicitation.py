"""Sending the person at the client to a page of ours, in the ways that the revisions of the protocol have for it.

Until 2025-11-25 that is a request from server to client, `elicitation/create` in `url` mode. From 2026-07-28 on it is
a result that asks for input: the client repeats its request with answers and with the `requestState` that came with the
result. What is ours in such a repeated request is taken out before anybody else sees it (`resumed`), and nothing rests
on it: whoever makes up a `requestState` of ours gets what he would get without one.

A request may hold a state and answers of the server's already when a page is asked for. Then our state carries them
(`input_required`), and `resumed` puts them back: so each result asks for one side's input only, and none is lost.
"""

from __future__ import annotations

import base64
import secrets
from typing import Any, Final

from msgspec.structs import replace

from sidecar.errors import InvalidMessage
from sidecar.mcp import jsonrpc
from sidecar.mcp.jsonrpc import INVALID_PARAMS, Id, Notification, Request, Response
from sidecar.mcp.protocol import CAPABILITIES_META, INITIALIZE
from sidecar.mcp.strict_json import encode, read_value
from sidecar.mcp.tool_call import ToolCall

CREATE: Final = "elicitation/create"
COMPLETE: Final = "notifications/elicitation/complete"
WITH_REQUESTS: Final = ("2025-11-25",)
"""The revisions in which a server may send a client to a page by a request."""

_STATE: Final = "intercept-approval."
"""What each `requestState` of ours begins with."""
_QUESTION: Final = "intercept-approval"
"""The key of our question among the `inputRequests` of a result."""
_OF_ROUNDS: Final = ("inputResponses", "requestState")
"""The parameters that a request has when it is repeated with input."""


def takes_urls(message: Request) -> bool | None:
    """Whether the client says in this request that it sends people to pages; None where the request does not say.

    `initialize` says it for its session, and each request of a revision without sessions for itself.
    """
    params = message.params or {}
    if message.method == INITIALIZE:
        capabilities = params.get("capabilities")
    else:
        meta = params.get("_meta")
        if type(meta) is not dict or CAPABILITIES_META not in meta:
            return None
        capabilities = meta[CAPABILITIES_META]
    elicitation = capabilities.get("elicitation") if type(capabilities) is dict else None
    return type(elicitation) is dict and type(elicitation.get("url")) is dict


def new_id() -> str:
    """An id of a request or an elicitation of ours, which no server gives one of its own by chance or by guessing."""
    return f"intercept-{secrets.token_urlsafe(12)}"


def request(id: Id, elicitation: str, url: str, message: str) -> Request:  # noqa: A002 - the protocol's word
    """The request that asks the person at the client to open a page."""
    return jsonrpc.request(id, CREATE, {"elicitationId": elicitation, **_page(url, message)})


def complete(elicitation: str) -> Notification:
    """The notification that nobody needs to open the page any more."""
    return jsonrpc.notification(COMPLETE, {"elicitationId": elicitation})


def input_required(call: ToolCall, approval: str, url: str, message: str) -> Response:
    """The result of a call that asks the person at the client to open the page of an approval."""
    question = {"method": CREATE, "params": _page(url, message)}
    kept = {key: call.params[key] for key in _OF_ROUNDS if key in call.params}
    state = f"{_STATE}{approval}.{base64.urlsafe_b64encode(encode(kept)).decode() if kept else ''}"
    return jsonrpc.result(
        call.id, {"resultType": "input_required", "inputRequests": {_QUESTION: question}, "requestState": state}
    )


def is_resumed(request: Request) -> bool:
    """True for a request that is repeated with a `requestState` of ours."""
    return _is_ours((request.params or {}).get("requestState"))


def resumed(request: Request) -> Request:
    """A repeated request as it was before, with what it held of the server's and nothing of ours.

    Raises `InvalidMessage` for a state that was not made here.
    """
    params = request.params or {}
    kept = _read_state(params["requestState"], request.id)
    changed = {key: value for key, value in params.items() if key not in _OF_ROUNDS} | kept
    members = {**request.members, "id": request.id, "params": changed}
    # Read again: what was kept stands one level deeper now, and nobody but the client says what it is.
    read = jsonrpc.read(encode(members))
    assert isinstance(read, Request)
    return replace(request, params=read.params, raw=read.raw, members=read.members)


def _page(url: str, message: str) -> dict[str, Any]:
    return {"mode": "url", "url": url, "message": message}


def _read_state(state: str, id_: Id) -> dict[str, Any]:
    text = state.removeprefix(_STATE).partition(".")[2]
    if not text:
        return {}
    try:
        kept, _ = read_value(base64.b64decode(text, altchars=b"-_", validate=True))
    except ValueError:
        kept = None
    if type(kept) is not dict or not kept.keys() <= frozenset(_OF_ROUNDS) or _is_ours(kept.get("requestState")):
        raise InvalidMessage(
            INVALID_PARAMS, "this requestState is none that was given: repeat the call without it", id_
        )
    return kept


def _is_ours(state: Any) -> bool:
    return type(state) is str and state.startswith(_STATE)
