"""Tools as their server defines them: digests by which it is seen that a definition changed."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Final

import msgspec

from sidecar.mcp.jsonrpc import Response

_sorted: Final = msgspec.json.Encoder(order="sorted").encode


def digests(reply: Response, names: Collection[str]) -> dict[str, str]:
    """SHA-256 in hexadecimal of the definition of each of these tools that an answer to `tools/list` has.

    Keys count in no order, numbers as they were written. Of a name that stands twice all definitions count: clients
    differ on which of them they take.
    """
    tools = reply.result.get("tools") if type(reply.result) is dict else None
    found: dict[str, list[dict[str, object]]] = {}
    for tool in tools if type(tools) is list else ():
        if type(tool) is dict and type(name := tool.get("name")) is str and name in names:
            found.setdefault(name, []).append(tool)
    return {name: hashlib.sha256(_sorted(definitions)).hexdigest() for name, definitions in found.items()}
