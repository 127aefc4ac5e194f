"""The names of counters in a store: the server's name and the counter's own, unique for each pair.

The first slash separates them. In a server's name, a slash and a colon (the end of a prefix) are percent-encoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

_ENCODED: Final = str.maketrans({"%": "%25", "/": "%2F", ":": "%3A"})


def of_server(server: str) -> str:
    """The beginning of the names of all counters of a server."""
    return server.translate(_ENCODED) + "/"


def carried_over(old: str) -> Iterator[str]:
    """The names that a counter may have now that was called `old` before servers' names were encoded.

    If the old name has several slashes, any of them may have ended the server's name. The total is then carried over to
    all names that it may have meant: that can make a limit tighter for the rest of its window, never looser.
    """
    for at, letter in enumerate(old):
        if letter == "/" and (new := of_server(old[:at]) + old[at + 1 :]) != old:
            yield new
