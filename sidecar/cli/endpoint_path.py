"""The path of a listener's endpoint: `--path`.

Paths of requests are compared as they come and never decoded. So this one must be written as every client and every
proxy sends it: nothing in it is rewritten or escaped on the way.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from sidecar.downstream.http_sse import messages_beside
from sidecar.errors import UsageError
from sidecar.text import quoted

DEFAULTS: Final = {"http": "/mcp", "sse": "/sse"}

_EXAMPLE: Final = "as /team-a/mcp"
_OTHER: Final = re.compile(r"[^A-Za-z0-9._~!$&'()*+,;=:@/-]")
"""What no path has as it is (RFC 3986, 3.3). `%` is among it: escapes can be written in several ways."""
_REWRITTEN: Final = re.compile(r"//|/\.\.?(?=/|$)")
"""What clients and proxies make another path of (RFC 3986, 6.2.2.3)."""


def endpoint_path(given: str | None, transport: Literal["http", "sse"]) -> str:
    """The path to serve, which is the transport's own where none is given. Raises `UsageError`."""
    if given is None:
        return DEFAULTS[transport]
    problem = _problem(given)
    if problem is None and transport == "sse" and given == messages_beside(given):
        problem = "clients post their messages there: give the stream another name, as /team-a/sse"
    if problem is not None:
        raise UsageError(f"--path {quoted(given)}: {problem}")
    return given


def _problem(path: str) -> str | None:
    """What is wrong with a path, and what to write instead."""
    if "://" in path:
        return f"this is a whole URL: write its path alone, {_EXAMPLE}"
    if not path.startswith("/"):
        return f"a path begins with a slash: write it {_EXAMPLE}"
    if "?" in path or "#" in path:
        return f"a path has no query and no fragment: write what stands before ? or #, {_EXAMPLE}"
    if other := _OTHER.search(path):
        return f"{quoted(other[0])} cannot stand in it: write letters, digits, - . _ ~ and slashes, {_EXAMPLE}"
    if rewritten := _REWRITTEN.search(path):
        return f"clients and proxies rewrite {quoted(rewritten[0])}: write the path that comes of it, {_EXAMPLE}"
    if path.endswith("/") and path != "/":
        return f"write it without the slash at its end: {path.rstrip('/')}"
    return None
