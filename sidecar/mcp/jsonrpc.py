"""JSON-RPC 2.0 messages as values: no MCP, no policy, no I/O.

One line becomes one message, one batch, or one refusal. A message carries `raw`, the canonical bytes of what was read
(`sidecar.mcp.strict_json`). `raw` is what travels on, never the line: so no other parser can find a second message in
it or read it differently. `members` are what was read, in the order they came, those that nobody here knows included:
a message with other values is made of them (`changed`), and not read again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from sidecar.errors import InvalidMessage
from sidecar.mcp import outline
from sidecar.mcp.strict_json import NotJson, NotStrict, TooManyValues, encode, read_value
from sidecar.system.lines import ENDS_KEPT, TooLong
from sidecar.text import folded

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603

MAX_ID: Final = 2**53 - 1
MAX_ID_LENGTH: Final = 1_024
"""Characters of an id that is a text: ids are remembered."""
MAX_BATCH: Final = 1_000
"""Messages in one batch."""

Id: TypeAlias = str | int


class Request(msgspec.Struct, frozen=True, gc=False):
    """A message with `method` and `id`. `params` is None when absent or null."""

    id: Id
    method: str
    params: dict[str, Any] | None
    raw: bytes
    members: dict[str, Any]


class Notification(msgspec.Struct, frozen=True, gc=False):
    """A message with `method` and no `id`."""

    method: str
    params: dict[str, Any] | None
    raw: bytes
    members: dict[str, Any]


class Response(msgspec.Struct, frozen=True, gc=False):
    """A message with `result` or `error` and no `method`. `id` is None in an error that names no request."""

    id: Id | None
    result: Any
    error: dict[str, Any] | None
    raw: bytes
    members: dict[str, Any]


Message: TypeAlias = Request | Notification | Response


class Batch(msgspec.Struct, frozen=True):
    """Several messages in one array (revision 2025-03-26), each read by itself or refused by itself."""

    elements: tuple[Message | InvalidMessage, ...]


class Joined(msgspec.Struct, frozen=True):
    """Several messages that travel on as one batch."""

    messages: tuple[Message, ...]

    @property
    def raw(self) -> bytes:
        """The bytes of the batch."""
        return b"[%b]" % b",".join([message.raw for message in self.messages])


Outgoing: TypeAlias = Message | Joined
"""What is sent to either side."""


def read(line: bytes) -> Message | Batch:
    """The one message in `line`, which is without its line end, or the batch of them.

    Raises `InvalidMessage`, with the id where it can be read beyond doubt.
    """
    try:
        value, raw = read_value(line)
    except NotStrict as problem:
        raise _unread(problem, line) from None
    if type(value) is dict:
        return message(value, raw)
    if type(value) is not list:
        raise InvalidMessage(INVALID_REQUEST, "a message must be a JSON object")
    if not 0 < len(value) <= MAX_BATCH:
        raise InvalidMessage(INVALID_REQUEST, f"a batch has between 1 and {MAX_BATCH} messages")
    return Batch(tuple(map(_element, value)))


def messages_of(sent: Outgoing) -> tuple[Message, ...]:
    """The messages that travel as one, or the one message."""
    return sent.messages if isinstance(sent, Joined) else (sent,)


def request(id: Id, method: str, params: dict[str, Any] | None) -> Request:  # noqa: A002 - the protocol's word
    """A request of our own."""
    members = {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
    return Request(id, method, params, encode(members), members)


def notification(method: str, params: dict[str, Any] | None = None) -> Notification:
    """A notification of our own."""
    members: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    if params is not None:
        members["params"] = params
    return Notification(method, params, encode(members), members)


def error(id: Id | None, code: int, text: str, data: Any = None) -> Response:  # noqa: A002
    """An error response."""
    body: dict[str, Any] = {"code": code, "message": text}
    if data is not None:
        body["data"] = data
    members = {"jsonrpc": "2.0", "id": id, "error": body}
    return Response(id, None, body, encode(members), members)


def result(id: Id, value: Any) -> Response:  # noqa: A002
    """A result response."""
    members = {"jsonrpc": "2.0", "id": id, "result": value}
    return Response(id, value, None, encode(members), members)


def again(original: Request, id: Id, raw: bytes) -> Request:  # noqa: A002
    """The same request under another id, of which these are the canonical bytes."""
    return Request(id, original.method, original.params, raw, original.members)


def changed(original: Message, changes: Mapping[tuple[str, ...], Any]) -> Message:
    """The same message with other values at some paths, each of which it has."""
    # Of a request that came before under another id, its members have that one.
    members = {**original.members, "id": original.id} if isinstance(original, Request) else original.members
    for path, value in changes.items():
        members = _with(members, path, value)
    return message(members, encode(members))


def _with(members: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    key, *inner = path
    return {**members, key: _with(members[key], tuple(inner), value) if inner else value}


def unreadable(code: int, text: str, head: bytes, tail: bytes) -> InvalidMessage:
    """The refusal of a message that cannot be read, with what its top level says of it.

    Of a long one only the beginning and the end may be there.
    """
    members = outline.members(head, tail)
    ids = [token for key, token in members if key == "id"]
    id_ = _id_in(ids[0]) if len(ids) == 1 else None
    return InvalidMessage(code, text, id_, is_answer=_is_answer({key for key, _ in members}))


def _unread(problem: NotStrict, line: bytes) -> InvalidMessage:
    if isinstance(problem, TooManyValues):
        return unreadable(INVALID_REQUEST, str(problem), line[:ENDS_KEPT], line[-ENDS_KEPT:])
    refusal = unreadable(PARSE_ERROR, str(problem), line, line)
    if isinstance(problem, NotJson) and not refusal.is_answer:
        # An id in it counts only where somebody would wait for this answer for ever.
        return InvalidMessage(PARSE_ERROR, str(problem))
    return refusal


def too_long(line: TooLong) -> InvalidMessage:
    """The refusal of a message that was longer than it may be, or than there was room for."""
    text = f"a message may have up to {line.limit} bytes"
    if line.no_room:
        text = "so much is held here that there was no room for it"
    return unreadable(INVALID_REQUEST, text, line.head, line.tail)


def _id_in(token: bytes) -> Id | None:
    try:
        value = msgspec.json.decode(token)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return value if _is_id(value) else None


def _is_answer(keys: Collection[str]) -> bool | None:
    """Whether a message with these members is an answer; None where they do not tell."""
    if "method" in keys:
        return False  # reference implementations look at it first
    if "result" in keys or "error" in keys:
        return True
    return False if "params" in keys else None


def _element(value: Any) -> Message | InvalidMessage:
    if type(value) is not dict:
        return InvalidMessage(INVALID_REQUEST, "a message must be a JSON object")
    try:
        return message(value, encode(value))
    except InvalidMessage as problem:
        return problem


def message(value: dict[str, Any], raw: bytes) -> Message:
    """The message that an object is, with its canonical bytes. Raises `InvalidMessage` as `read` does."""
    id_ = value.get("id")
    known_id = id_ if _is_id(id_) else None
    try:
        if not value.keys() <= _MEMBERS:
            _refuse_variants(value, known_id)
        if value.get("jsonrpc") != "2.0":
            raise InvalidMessage(INVALID_REQUEST, 'a message must say "jsonrpc": "2.0"', known_id)
        return (_call if "method" in value else _response)(value, raw, known_id)
    except InvalidMessage as problem:
        problem.is_answer = _is_answer(value.keys())
        raise


def _response(value: dict[str, Any], raw: bytes, known_id: Id | None) -> Response:
    has_result, has_error = "result" in value, "error" in value
    if has_result is has_error:
        raise InvalidMessage(INVALID_REQUEST, "a message needs a method, a result or an error", known_id)
    error = value.get("error")
    if has_error and type(error) is not dict:
        raise InvalidMessage(INVALID_REQUEST, "an error must be an object", known_id)
    if known_id is None and (has_result or value.get("id") is not None):
        raise InvalidMessage(INVALID_REQUEST, _BAD_ID)
    return Response(known_id, value.get("result"), error, raw, value)


def _call(value: dict[str, Any], raw: bytes, known_id: Id | None) -> Request | Notification:
    method, params = value["method"], value.get("params")
    if "result" in value or "error" in value:
        # Some servers run these as requests: reference implementations look at `method` first.
        raise InvalidMessage(INVALID_REQUEST, "a message cannot be a request and a response at once", known_id)
    if type(method) is not str:
        raise InvalidMessage(INVALID_REQUEST, "a method must be a text", known_id)
    if params is not None and type(params) is not dict:
        raise InvalidMessage(INVALID_PARAMS, "params must be an object", known_id)
    if "id" not in value:
        return Notification(method, params, raw, value)
    if known_id is None:
        raise InvalidMessage(INVALID_REQUEST, _BAD_ID)
    return Request(known_id, method, params, raw, value)


_MEMBERS = frozenset({"jsonrpc", "id", "method", "params", "result", "error"})
_MIN_ID: Final = -MAX_ID
_BAD_ID = f"an id must be a text of up to {MAX_ID_LENGTH} characters or an integer within ±(2^53-1)"


def _is_id(value: Any) -> bool:
    if type(value) is str:
        return len(value) <= MAX_ID_LENGTH
    return type(value) is int and _MIN_ID <= value <= MAX_ID


def _refuse_variants(value: dict[str, Any], known_id: Id | None) -> None:
    # Servers exist that match keys without regard to case (Go's encoding/json), so "Method" is a second "method".
    for key in value:
        if key not in _MEMBERS and folded(key) in _MEMBERS:
            raise InvalidMessage(INVALID_REQUEST, f"write the key {folded(key)!r} in lower case", known_id)
