"""Server-sent events: bytes to events and back, as the HTML standard has them. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sidecar.system.lines import ENDS_KEPT, TooLong


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `data` is None without a data line; that differs from an empty data line.

    A block of nothing but comments is `Event(None, comment=True)`.
    """

    data: str | None
    type: str = "message"
    id: str | None = None
    retry: int | None = None
    comment: bool = False


class EventReader:
    """Cuts what is fed to it into events. Only a blank line completes one.

    No more than `limit` bytes are held beyond what is fed: of a longer event only the ends are kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._block = bytearray()
        self._size = 0
        self._after_cr = False
        self._first = True
        self._broken = False
        self._is_given_up = False

    @property
    def held(self) -> int:
        """Bytes that are held of an event that has not ended."""
        return len(self._block)

    def give_up(self) -> int:
        """Throw away the event that has not ended, with what still comes of it, but for its ends: these are held."""
        if self._size:
            self._is_given_up = True
            self._hold(b"")
        return self.held

    def feed(self, data: bytes) -> list[Event | TooLong]:
        """The events that `data` completes. Raises ValueError for what is not UTF-8; the stream must end then."""
        events: list[Event | TooLong] = []
        try:
            self._read(self._lines(data), events)
        except UnicodeDecodeError:
            self._broken = True
        # What came before counts, however the bytes were cut.
        if self._broken and not events:
            raise ValueError("an event is not UTF-8")
        return events

    def _lines(self, data: bytes) -> bytes:
        """The data with LF as the only line end."""
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if b"\r" not in data:
            return data
        self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _read(self, data: bytes, events: list[Event | TooLong]) -> None:
        if self._broken:
            return
        start = 0
        while (end := self._block_end(data, start)) >= 0:
            block, size = bytes(self._block) + data[start:end], self._size + end - start
            self._block.clear()
            self._size = 0
            start = end
            event = self._event(block, size)
            self._is_given_up = False
            if event is not None:
                events.append(event)
        self._hold(data[start:])

    def _block_end(self, data: bytes, start: int) -> int:
        """Where in `data` the block ends that is held and goes on at `start`; -1 when it does not."""
        if self._block.endswith(b"\n") and data.startswith(b"\n", start):
            return start + 1
        found = data.find(b"\n\n", start)
        return found + 2 if found >= 0 else -1

    def _hold(self, part: bytes) -> None:
        self._block += part
        self._size += len(part)
        if self._size > self._limit or self._is_given_up:
            del self._block[ENDS_KEPT : max(ENDS_KEPT, len(self._block) - ENDS_KEPT)]

    def _event(self, block: bytes, size: int) -> Event | TooLong | None:
        if self._first:
            self._first = False
            block = block.removeprefix(b"\xef\xbb\xbf")
        if size > self._limit or self._is_given_up:
            head, tail = _without_fields(block[:ENDS_KEPT]), _data_at_end(block[-ENDS_KEPT:])
            return TooLong(head, tail, self._limit, no_room=size <= self._limit)
        return _event(block.decode())


def event_bytes(event: Event) -> bytes:
    """An event as it stands in a stream. Raises ValueError for what cannot stand there, or says nothing."""
    lines = [":"] if event.comment else []
    if event.id is not None:
        lines.append(f"id: {_one_line(event.id)}")
    if event.type != "message":
        lines.append(f"event: {_one_line(event.type)}")
    if event.retry is not None:
        lines.append(f"retry: {event.retry}")
    if event.data is not None:
        lines += [f"data: {line}" for line in _LINE_END.split(event.data)]
    if not lines:
        raise ValueError("an event has data, an id, a type or a retry")
    return "\n".join((*lines, "", "")).encode()


_LINE_END = re.compile("\r\n|\r|\n")


def _one_line(text: str) -> str:
    if _BREAKING.search(text):
        raise ValueError("an id or a type of an event has a line break or a NUL")
    return text


# All that anybody ends a line at: Python's `splitlines` is in use for this, and a part would be a field of its own.
_BREAKING = re.compile("[\r\n\0\v\f\x1c-\x1e\x85\u2028\u2029]")


def _without_fields(head: bytes) -> bytes:
    """The beginning of an event from where its data begins: there is the id of a message that is too long."""
    found = _DATA.search(head)
    return _DATA.sub(b"", head[found.end() :]) if found is not None else head


def _data_at_end(tail: bytes) -> bytes:
    """The end of an event up to where its data ends, without what begins a line of it."""
    lines = tail.rstrip(b"\n").split(b"\n")
    while len(lines) > 1 and not _DATA.match(lines[-1]):
        lines.pop()
    return _DATA.sub(b"", b"\n".join(lines))


_DATA = re.compile(rb"^data: ?", re.MULTILINE)


def _event(block: str) -> Event | None:
    data: list[str] = []
    kind, id_, retry = "", None, None
    known = comment = False
    for line in block.split("\n"):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                data.append(value)
            case "event":
                kind = value
            case "id" if not _BREAKING.search(value):
                id_ = value  # one that cannot be written again is none: the standard says so of NUL
            case "retry" if _RETRY.fullmatch(value):
                retry = int(value)
            case "" if line:
                comment = True
                continue
            case _:
                continue
        known = True
    if known:
        return Event("\n".join(data) if data else None, kind or "message", id_, retry)
    return Event(None, comment=True) if comment else None


_RETRY = re.compile(r"[0-9]{1,15}")
