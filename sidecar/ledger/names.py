"""What counters are called in a store: the server's name and the counter's own, another text for every other pair.

The first slash is ours: what a server's name could confuse with it, or with the end of a prefix, is percent-encoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

_ENCODED: Final = str.maketrans({"%": "%25", "/": "%2F", ":": "%3A"})


def of_server(server: str) -> str:
    """What the names of all counters of a server begin with."""
    return server.translate(_ENCODED) + "/"


def carried_over(old: str) -> Iterator[str]:
    """The names that a counter may have now which was called `old` when a server's name stood as it is.

    Where it held several slashes nobody knows which one ended the server's name, so it is carried over to all that it
    may have meant: a limit may be tighter by that for the rest of its window, never looser.
    """
    for at, letter in enumerate(old):
        if letter == "/" and (new := of_server(old[:at]) + old[at + 1 :]) != old:
            yield new
