"""The names of counters in a store: the server's name and the counter's own, unique for each pair.

The first slash separates them. In a server's name, a slash and a colon (the end of a prefix) are percent-encoded.

A counter's own name begins with that of its entry and a dot: `pay.spent`. An entry's name that begins with a quotation
mark stands there as a JSON text. A counter that counts each tool by itself has a name for each of them: its own as a
JSON text, then the tool's, or a number sign and the hash of a long one. No dot follows the first text there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Final

MAX_TOOL: Final = 128
"""Characters of a tool's name that a store keeps; a longer name is kept as its hash."""
_ENCODED: Final = str.maketrans({"%": "%25", "/": "%2F", ":": "%3A"})


def of_server(server: str) -> str:
    """The beginning of the names of all counters of a server."""
    return server.translate(_ENCODED) + "/"


def of_tool(counter: str, tool: str) -> str:
    """The own name of a counter for one of the tools that it counts each by itself; an agent may make up the tool's."""
    known_by = json.dumps(tool) if len(tool) <= MAX_TOOL else f"#{hashlib.sha256(tool.encode()).hexdigest()}"
    return json.dumps(counter) + known_by


def carried_over(old: str) -> Iterator[str]:
    """The names that a counter may have now that was called `old` before servers' names were encoded.

    If the old name has several slashes, any of them may have ended the server's name. The total is then carried over to
    all names that it may have meant: that can make a limit tighter for the rest of its window, never looser.
    """
    for at, letter in enumerate(old):
        if letter == "/" and (new := of_server(old[:at]) + old[at + 1 :]) != old:
            yield new
