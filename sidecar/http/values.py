"""Requests, responses and their headers as values, and how a head is written. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NewType, TypeVar

import msgspec

from sidecar.system.lines import TooLong

BLANKS = " \t"
JSON: Final = "application/json"
EVENTS: Final = "text/event-stream"

Lines = NewType("Lines", bytes)
"""Lines of a head that were checked, as `field_lines` makes them."""

Made = TypeVar("Made")


class Repeated(ValueError):
    """A header that may stand once stands more than once. `name` is which."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the header {name} stands more than once")
        self.name = name


class Headers:
    """The fields of a head in their order: names in lower case, values without outer blanks, both latin-1 text."""

    __slots__ = ("_by_name", "_made", "_pairs")

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._pairs = tuple([(name.lower(), value.strip(BLANKS)) for name, value in pairs])
        self._by_name = dict(self._pairs)
        self._made: dict[Callable[[Headers], Any], Any] = {}

    @classmethod
    def normal(cls, pairs: Iterable[tuple[str, str]]) -> Headers:
        """Of pairs whose names are in lower case and whose values have no outer blanks already."""
        headers = cls.__new__(cls)
        headers._pairs = tuple(pairs)
        headers._by_name = dict(headers._pairs)
        headers._made = {}
        return headers

    def without(self, name: str) -> Headers:
        """The others, without those of this name in lower case."""
        return Headers.normal([pair for pair in self._pairs if pair[0] != name])

    def once(self, make: Callable[[Headers], Made]) -> Made:
        """What `make` makes of these fields, and of nothing else: made once for all messages that share them."""
        made: Made | None = self._made.get(make)
        if made is None:
            made = self._made[make] = make(self)
        return made

    def get(self, name: str) -> str | None:
        """The value of a header, by its name in lower case. Raises Repeated when there is more than one."""
        value = self._by_name.get(name)
        # Most heads have no name twice.
        if value is not None and len(self._by_name) != len(self._pairs) and len(self.all(name)) > 1:
            raise Repeated(name)
        return value

    def all(self, name: str) -> list[str]:
        """Every value of a header, by its name in lower case."""
        return [value for each, value in self._pairs if each == name]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._pairs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._pairs == other._pairs

    def __hash__(self) -> int:
        return hash(self._pairs)

    def __repr__(self) -> str:
        # Names only: values are nobody's business in a log.
        return f"Headers({', '.join(name for name, _ in self._pairs)})"


class Request(msgspec.Struct):
    """A request as it came: `path` still percent-encoded, `query` without its `?`, `connection` says on which it came,
    and `peer` from which address.

    A Content-Length is not among the headers: it said how the body travelled. Requests that come one after the other
    with the same head share their `headers`. It changes in one way: its body is gone once `take` gave it away, because
    much refers to a request for as long as its answer is waited for.
    """

    method: str
    path: str
    query: str
    headers: Headers
    body: bytes | TooLong
    connection: int
    peer: str = ""

    def take(self) -> bytes | TooLong:
        """Its body, once."""
        body, self.body = self.body, b""
        return body


class Response(msgspec.Struct, frozen=True):
    """A whole answer. How it is framed (its length, whether the connection lives on) is the server's to say."""

    status: int
    headers: tuple[tuple[str, str], ...] | Lines = ()
    body: bytes = b""


class TurnedAway(Response, frozen=True):
    """The answer to a request that is refused by its head, or cannot be read: `reason` in a word, `text` in words.

    Neither holds anything that the client said.
    """

    reason: str = ""
    text: str = ""


def field_lines(headers: Sequence[tuple[str, str]], not_these: frozenset[str]) -> Lines:
    """The lines of a head. Raises ValueError for what would break it, and for any of the names in `not_these`."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
    # A smuggled CRLF changes the line count (checked here); a colon in a name is checked below.
    if lines.count("\n") != len(headers) or not _LINES.fullmatch(lines):
        raise ValueError("a header has characters that cannot be sent")
    for name, _ in headers:
        if ":" in name or name.lower() in not_these:
            raise ValueError("a header has a name that is not the caller's to send")
    return Lines(lines.encode("latin-1"))


_LINES = re.compile(r"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+: [\t\x20-\x7e\x80-\xff]*\r\n)*")
