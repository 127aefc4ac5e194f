"""What every line of the audit log says, and how its members are encoded."""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from sidecar.auth.caller import Caller
from sidecar.mcp.strict_json import encode
from sidecar.text import shown, visible

MAX_TEXT: Final = 1_000
"""Characters of a longer text from outside, as a person's reason, that are kept."""

Text: TypeAlias = str | msgspec.UnsetType
"""A member that is there only where there is something to say."""
UNSET: Final = msgspec.UNSET


class Line(msgspec.Struct, frozen=True, gc=False):
    """What every line says: who writes, and for which server."""

    instance: str
    server: str


class OfCaller(Line, frozen=True, gc=False):
    """Whose message it was. `principal` is there if the caller authenticated."""

    session: str
    principal: Text


def encoded(document: Line) -> bytes:
    """The encoded members of an object, without its braces."""
    return encode(document)[1:-1]


def said(text: str) -> str:
    """A text from outside that is no name, as a reason."""
    return visible(text[:MAX_TEXT])


def principal(caller: Caller) -> Text:
    """The subject of the token that a caller showed, safe to show."""
    return shown(caller.principal.subject) if caller.principal is not None else UNSET
