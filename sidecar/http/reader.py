"""Messages out of the bytes of one connection, head by head and piece by piece, never further than asked.

httptools says whether the bytes keep to the grammar, and takes the chunks apart. It cannot be stopped between two
messages, so it is fed no further than the message that is being read can reach.
"""

from __future__ import annotations

import re
from typing import Final

from httptools import (
    HttpParserError,
    HttpParserInvalidMethodError,
    HttpParserUpgrade,
    HttpRequestParser,
    HttpResponseParser,
)

from sidecar.http.values import BLANKS, Headers

MAX_UNSEEN: Final = 32 << 10
"""Bytes of a chunked body without content: sizes, extensions, trailers."""


class BadMessage(Exception):
    """The bytes are no message that counts. `status` is what a client is told; the text is safe to show."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class MessageReader:
    """Reads the messages that one side of a connection sends.

    `next_head` cuts the next head off, `read_head` reads its fields. Then `set_length`, `set_open` or `set_bodiless`
    says what follows, `body` gives what of it has come, and `complete` tells that nothing more will. Where it is known
    already what a head says, `take` takes its body at once.
    """

    __slots__ = (
        "_buffer", "_done", "_kind", "_left", "_max_fields", "_max_head", "_parser", "_pieces", "_seam",
        "_searched", "_unseen", "complete", "lives_on",
    )  # fmt: skip

    def __init__(self, kind: type[HttpRequestParser | HttpResponseParser], max_head: int, max_fields: int) -> None:
        self._kind = kind
        self._max_head = max_head
        self._max_fields = max_fields
        self._buffer = b""
        self._searched = 0
        self._pieces: list[bytes] = []
        self._left: int | None = None
        self._seam = b""
        self._unseen = 0
        self._done = False
        self.complete = True
        self.lives_on = True
        """Whether another message may follow the one whose head was read."""
        self._parser = kind(self)

    def feed(self, data: bytes) -> None:
        """More bytes have come."""
        self._buffer = self._buffer + data if self._buffer else data

    def discard(self) -> None:
        """Let go of what has come: nothing more is read."""
        self._buffer = b""

    @property
    def waiting(self) -> int:
        """Bytes that have come and were not read."""
        return len(self._buffer)

    def next_head(self) -> bytes | None:
        """The next head, with the blank line that ends it; None when that has not come. Raises BadMessage."""
        buffer = self._buffer
        end = buffer.find(b"\r\n\r\n", self._searched, self._max_head) + 4
        if end < 4:
            if len(buffer) >= self._max_head:
                raise BadMessage(431, "the head is too long")
            # What will never have an end that we would find must not wait for the time limit.
            if _NO_HEAD.search(buffer, self._searched):
                raise BadMessage(400, "this is not HTTP/1.1")
            self._searched = max(0, len(buffer) - 3)
            return None
        self._buffer, self._searched = buffer[end:], 0
        return buffer[:end]

    def take(self, length: int) -> bytes | None:
        """The body of a message whose head need not be read, where all of it has come; None leaves all as it was."""
        buffer = self._buffer
        if len(buffer) < length:
            return None
        self.complete = True
        if len(buffer) == length:
            self._buffer = b""
            return buffer
        self._buffer = buffer[length:]
        return buffer[:length]

    def read_head(self, head: bytes) -> Headers:
        """The fields of a head. Raises BadMessage."""
        if head.count(b"\n") - 2 > self._max_fields:
            raise BadMessage(431, "there are too many headers")
        self._done = self.complete = False
        self._parse(head)
        return Headers.normal(_fields(head))

    def set_length(self, length: int) -> None:
        """The body has this many bytes."""
        self._left = length
        self._begin(complete=length == 0)

    def set_open(self) -> None:
        """The body ends where its last chunk says, or else with the connection."""
        self._left, self._seam, self._unseen = None, b"", 0
        self._begin(complete=False)

    def set_bodiless(self) -> None:
        """There is no body, whatever the head says: an answer to HEAD."""
        if not self._done:
            self._parser = self._kind(self)
        self.complete = True

    def body(self) -> list[bytes]:
        """What of the body has come since the last time. Raises BadMessage."""
        data, at = self._buffer, 0
        while at < len(data) and not self.complete:
            end = self._reach(data, at)
            self._parse(data[at:end])
            self._unseen = 0 if self._pieces else self._unseen + end - at
            if self._unseen > MAX_UNSEEN:
                raise BadMessage(400, "there is too much between the chunks")
            self.complete = self._done
            at = end
        self._buffer = data[at:]
        pieces, self._pieces = self._pieces, []
        return pieces

    def _reach(self, data: bytes, at: int) -> int:
        """How far the parser may be fed from `at` without going beyond this message."""
        if self._left is not None:
            end = min(len(data), at + self._left)
            self._left -= end - at
            return end
        # A chunked body ends with a blank line, though not every blank line is its end; one may lie across two reads.
        blank = (self._seam + data[at : at + 3]).find(b"\r\n\r\n")
        if blank >= 0:
            end = at + blank + 4 - len(self._seam)
        else:
            blank = data.find(b"\r\n\r\n", at)
            end = blank + 4 if blank >= 0 else len(data)
        self._seam = (self._seam + data[max(at, end - 3) : end])[-3:]
        return end

    def _begin(self, *, complete: bool) -> None:
        # The parser and we must have read the same framing out of the head.
        if self._done is not complete:
            raise BadMessage(400, "it is unclear where the body ends")
        self.complete = complete

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserInvalidMethodError:
            raise BadMessage(501, "this method is unknown") from None
        except (HttpParserError, HttpParserUpgrade):
            raise BadMessage(400, "this is not HTTP/1.1") from None

    # What httptools calls. Trailers are checked by it and passed over.

    def on_headers_complete(self) -> None:
        # Only here: the parser forgets it with the end of the message.
        self.lives_on = self._parser.should_keep_alive()

    def on_body(self, piece: bytes) -> None:
        self._pieces.append(piece)

    def on_message_complete(self) -> None:
        self._done = True


def _fields(head: bytes) -> list[tuple[str, str]]:
    # The parser has accepted these lines: a name without a colon, a value, CRLF. Its own call for each would be slower.
    fields = []
    for line in head.decode("latin-1").split("\r\n")[1:-2]:
        name, _, value = line.partition(":")
        fields.append((name.lower(), value.strip(BLANKS)))
    return fields


_NO_HEAD = re.compile(rb"(?<!\r)\n|\r[^\n]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
