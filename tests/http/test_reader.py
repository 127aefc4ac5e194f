"""The reader of messages: it never reads beyond the message that is being read, wherever the bytes are cut."""

from __future__ import annotations

import pytest
from httptools import HttpRequestParser

from sidecar.http.reader import MessageReader
from tests.http.chunked_bodies import BODIES, HEAD


def bodies(*parts: bytes) -> list[bytes]:
    """The bodies of all messages in chunks that come in these parts."""
    reader = MessageReader(HttpRequestParser, 1000, 10)
    found: list[bytes] = []
    reading = False
    for part in parts:
        reader.feed(part)
        while True:
            if not reading:
                head = reader.next_head()
                if head is None:
                    break
                reader.read_head(head)
                reader.set_open()
                found.append(b"")
                reading = True
            found[-1] += b"".join(reader.body())
            if not reader.complete:
                break
            reading = False
    assert not reader.waiting
    assert not reading
    return found


@pytest.mark.parametrize("body", BODIES)
def test_a_chunked_message_ends_where_it_ends_wherever_the_bytes_are_cut(body: bytes) -> None:
    stream = (HEAD + body) * 2
    expected = [BODIES[body]] * 2
    for first in range(len(stream) + 1):
        assert bodies(stream[:first], stream[first:]) == expected
        for second in range(first, min(first + 6, len(stream))):
            assert bodies(stream[:first], stream[first:second], stream[second:]) == expected
