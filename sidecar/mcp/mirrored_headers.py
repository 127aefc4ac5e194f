"""The HTTP headers that mirror a message, by which others route it without reading it: makes and checks them.

Source: revision 2026-07-28, streamable HTTP: `MCP-Protocol-Version`, `Mcp-Method`, `Mcp-Name`, and `Mcp-Param-*` for
the arguments that a tool's schema marks with `x-mcp-header`. The body decides; headers are only compared with it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, TypeAlias

import msgspec

from sidecar.errors import InvalidMessage
from sidecar.mcp import protocol
from sidecar.mcp.jsonrpc import Notification, Request

VERSION: Final = "mcp-protocol-version"
METHOD: Final = "mcp-method"
NAME: Final = "mcp-name"
PARAM: Final = "mcp-param-"

HEADER_MISMATCH: Final = -32020
"""Code of the error for headers that disagree with the body; its HTTP status is 400."""

Marks: TypeAlias = Mapping[tuple[str, ...], str]
"""The arguments of a tool that are mirrored: the path of each, and its `Mcp-Param-*` header."""

Params: TypeAlias = Mapping[str, Sequence[str]]
"""The `Mcp-Param-*` headers of a request: their values by folded names (`_folded`)."""

_NAMING: Final = {
    "tools/call": "name", "prompts/get": "name", "resources/read": "uri",
    "tasks/get": "taskId", "tasks/update": "taskId", "tasks/cancel": "taskId",
}  # fmt: skip
"""The member of `params` that `Mcp-Name` mirrors, by method."""


def headers_of(message: Request | Notification, marks: Marks | None = None) -> dict[str, str]:
    """The headers that go with a message of a stateless revision."""
    headers = {METHOD: encoded(message.method)}
    version = protocol.stated_revision(message)
    if version is not None:
        headers[VERSION] = encoded(version)
    name = _name(message)
    if name is not None:
        headers[NAME] = encoded(name)
    if marks:
        arguments = (message.params or {}).get("arguments")
        headers |= dict(_params(marks, arguments if type(arguments) is dict else {}))
    return headers


def check(message: Request | Notification, headers: Mapping[str, str | None]) -> None:
    """Compare the headers `VERSION`, `METHOD` and `NAME` (None for one that is missing) with their message.

    In a stateless revision all must be there and agree. In others they are optional and servers ignore them, but one
    that is there must not lie, because something on the way may believe it. Raises `InvalidMessage`.
    """
    stated = protocol.stated_revision(message)
    if stated is None and headers[METHOD] is None and headers[NAME] is None:
        return  # no header has to be there
    header = headers[VERSION]
    stateless = stated is not None and max(stated, header or "") >= protocol.STATELESS
    if stateless and header != stated:
        raise _mismatch(message, "MCP-Protocol-Version", "the revision in params._meta")
    # A request of a stateless revision that does not state it passes: the server answers what is missing.
    for key, shown, value in ((METHOD, "Mcp-Method", message.method), (NAME, "Mcp-Name", _name(message))):
        said = headers[key]
        missing = said is None and stateless and value is not None and isinstance(message, Request)
        # A name may be in Base64, a method may not: those who look for `tools/call` in the header do not decode it.
        lies = said is not None and value is not None and (decoded(said) if key == NAME else said) != value
        if missing or lies:
            raise _mismatch(message, shown, "the method" if key == METHOD else f"params.{_NAMING[message.method]}")


def params_of(headers: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """The `Mcp-Param-*` headers among `headers`, whose names are in lower case."""
    found: dict[str, list[str]] = {}
    for name, value in headers:
        if name.startswith(PARAM):
            found.setdefault(_folded(name), []).append(value)
    return found


def check_params(message: Request, params: Params, marks: Marks | None) -> None:
    """Compare the `Mcp-Param-*` headers of a `tools/call` with its arguments; `marks` are its tool's, if known.

    In a stateless revision each marked argument must have its header. In any revision a header that a mark names must
    have the argument's value; other headers mean nothing, and pass. Raises `InvalidMessage`.
    """
    if marks is None and params:
        problem = "no list of tools says here which arguments the Mcp-Param-… headers mirror: list the tools first"
        raise InvalidMessage(HEADER_MISMATCH, problem, message.id)
    stateless = (protocol.stated_revision(message) or "") >= protocol.STATELESS
    arguments = (message.params or {}).get("arguments")
    for path, token in (marks or {}).items():
        said = params.get(_folded(PARAM + token), ())
        value = _at(path, arguments)
        text = _text(value)
        if text is None:
            agrees = not said
        elif not said:
            agrees = not stateless
        else:
            agrees = len(said) == 1 and _says(decoded(said[0]), value, text)
        if not agrees:
            raise _mismatch(message, f"Mcp-Param-{token}", ".".join(("params.arguments", *path)))


def marks_of(schema: Any) -> dict[tuple[str, ...], str]:
    """The arguments that a tool's input schema marks for mirroring."""
    return dict(_marked(schema, ()))


def encoded(value: str) -> str:
    """A value for a header: as it is, or in Base64 if a header could not carry it unchanged."""
    if _SAFE.fullmatch(value) and value == value.strip() and not _SENTINEL.fullmatch(value):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="


def decoded(value: str) -> str | None:
    """The value that a header's text encodes, or None if it encodes none.

    Text beyond ASCII encodes none: some read it as Latin-1, some as UTF-8.
    """
    found = _SENTINEL.fullmatch(value)
    if found is None:
        return value if _ALLOWED.fullmatch(value) else None
    try:
        plain = base64.b64decode(found[1], validate=True)
        return plain.decode() if base64.b64encode(plain).decode() == found[1] else None
    except (binascii.Error, UnicodeDecodeError):
        return None


_SAFE = re.compile(r"[\x20-\x7e]*")
_ALLOWED = re.compile(r"[\t\x20-\x7e]*")
_SENTINEL = re.compile(r"=\?base64\?(.*)\?=")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TYPES = ("string", "integer", "boolean")
_MAX_DEPTH = 16


def _name(message: Request | Notification) -> str | None:
    member = _NAMING.get(message.method)
    value = (message.params or {}).get(member) if member is not None else None
    return value if type(value) is str else None


def _marked(schema: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    properties = schema.get("properties") if type(schema) is dict else None
    if type(properties) is not dict or len(path) >= _MAX_DEPTH:
        return
    for key, part in properties.items():
        if type(part) is not dict:
            continue
        token = part.get("x-mcp-header")
        if type(token) is str and _TOKEN.fullmatch(token) and part.get("type") in _TYPES:
            yield (*path, key), token
        yield from _marked(part, (*path, key))


def _folded(name: str) -> str:
    """The name of a header as the most lenient servers read it: in any case, with underscores as hyphens."""
    return name.lower().replace("_", "-")


def _at(path: tuple[str, ...], arguments: Any) -> Any:
    value = arguments
    for step in path:
        value = value.get(step) if type(value) is dict else None
    return value


def _says(said: str | None, value: Any, text: str) -> bool:
    """True if a header has an argument's value: the same text, or the same number."""
    if said is None or type(value) in (str, bool) or not _NUMBER.fullmatch(said) or not _NUMBER.fullmatch(text):
        return said == text
    return Decimal(said) == Decimal(text)


_NUMBER = re.compile(r"-?[0-9]{1,400}(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,4})?")


def _params(marks: Marks, arguments: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for path, token in marks.items():
        text = _text(_at(path, arguments))
        if text is not None:
            yield PARAM + token.lower(), encoded(text)


def _text(value: Any) -> str | None:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case int() | float() | msgspec.Raw():
            return msgspec.json.encode(value).decode()
        case _:
            return None


def _mismatch(message: Request | Notification, header: str, what: str) -> InvalidMessage:
    id_ = message.id if isinstance(message, Request) else None
    return InvalidMessage(HEADER_MISMATCH, f"the header {header} does not say {what}", id_)
