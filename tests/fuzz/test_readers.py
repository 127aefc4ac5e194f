"""A target for each reader: lines, messages, heads and bodies, events, policies, tokens. `make fuzz` tries long."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from httptools import HttpRequestParser
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.auth.jwt import JwtVerifier
from sidecar.auth.refusal import NotYet, Rejected
from sidecar.http.reader import BadMessage, MessageReader
from sidecar.http.request import read_request_head
from sidecar.http.sse import Event, EventReader
from sidecar.mcp import strict_json
from sidecar.policy import read as policies
from sidecar.system.lines import LineReader, TooLong
from tests.admit import AUDIENCE, ISSUER, RSA, Clock, claims, jwk, jwks, segment, signed
from tests.reading.world import World
from tests.support.fuzzing import examples

pytestmark = pytest.mark.fuzz
Part = TypeVar("Part")

LIMIT = 60
"""Bytes of a line or an event, so that longer ones come too."""


def mixed(parts: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Bytes that are made of some parts, and of anything."""
    return st.lists(st.sampled_from(parts) | st.binary(max_size=8), max_size=20).map(b"".join)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Data in pieces."""
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(ends)]


CUTS = st.lists(st.integers(0, 1 << 16), max_size=6)


@examples(60)
@given(mixed([b"\n", b"\r\n", b"{}", b" ", b"x" * LIMIT, b"\r"]), CUTS)
@example(b"x" * (LIMIT + 1) + b"\n{}\n", [1])
def test_lines_are_the_same_however_they_are_cut_and_none_is_longer_than_it_may_be(
    data: bytes, places: list[int]
) -> None:
    whole, pieces = LineReader(LIMIT), LineReader(LIMIT)
    at_once = whole.feed(data)
    assert at_once == [line for piece in cut(data, places) for line in pieces.feed(piece)]
    assert all(isinstance(line, TooLong) or 0 < len(line) <= LIMIT for line in at_once)


_MESSAGE = [
    b'{"jsonrpc":"2.0",', b'"id":1', b'"id":"1"', b",", b'"method":"tools/call"', b'"params":{"name":"quick"}',
    b"}", b"[", b'"method":"tools/list"', b'"result":{}', b'"error":{}', b"]", b"{", b":", b'"a"', b"1e5",
    b"-0", b"null", b"\xe2\x80\xa8", b'"\\ud800"', b'"arguments":{}', b" ", b"\xff",
]  # fmt: skip


@examples(100)
@given(mixed(_MESSAGE), st.booleans())
@example(b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"quick"}}', True)
@example(b"[" * 5000, True)
@example(b'{"jsonrpc":"2.0","id":1e999999,"result":{}}', False)
def test_whatever_a_message_is_it_is_read_or_refused_and_what_goes_on_reads_back(data: bytes, is_client: bool) -> None:
    world = World()
    (world.session.from_client if is_client else world.session.from_server)(data)
    for message in world.server if is_client else world.client:
        assert strict_json.read_value(message)[1] == message


_HTTP = [
    b"GET / HTTP/1.1\r\n", b"POST /mcp HTTP/1.1\r\n", b"Host: a\r\n", b"Content-Length: 3\r\n", b"\r\n", b"abc",
    b"\n", b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n", b"2\r\nab\r\n",
    b"Expect: 100-continue\r\n", b"Upgrade: h2c\r\n", b"Connection: upgrade\r\n", b"Content-Length: 99\r\n",
    b" x\r\n", b"X: \x00\r\n", b"ffffffff\r\n",
]  # fmt: skip


@examples(100)
@given(mixed(_HTTP), CUTS)
@example(
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"2\r\nab\r\n" * 30 + b"0\r\n\r\n", [70, 80]
)
@example(b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n", [])
def test_requests_are_the_same_however_they_are_cut(data: bytes, places: list[int]) -> None:
    assert _requests([data]) == _requests(cut(data, places))


def _requests(pieces: list[bytes]) -> tuple[list[tuple[str, bytes]], int]:
    """The requests that are whole, with their bodies, and the status of what cannot be read, or 0."""
    reader, found, body = MessageReader(HttpRequestParser, 400, 20), list[tuple[str, bytes]](), b""
    target: str | None = None
    try:
        for piece in pieces:
            reader.feed(piece)
            while True:
                if target is None:
                    data = reader.next_head()
                    if data is None:
                        break
                    head, length = read_request_head(reader, data)
                    target, body = head.target, b""
                    reader.set_open() if length is None else reader.set_length(length)
                body += b"".join(reader.body())
                if not reader.complete:
                    break
                found.append((target, body))
                target = None
    except BadMessage as bad:
        return found, bad.status
    return found, 0


@examples(60)
@given(
    mixed([b"data: x\n", b"\n", b"id: 1\n", b"event: endpoint\n", b":\n", b"\r", b"retry: 1\n", b"\xef\xbb\xbf"]), CUTS
)
@example(b"data: " + b"x" * 100 + b"\n\ndata: y\n\n", [3, 40])
def test_events_are_the_same_however_they_are_cut(data: bytes, places: list[int]) -> None:
    def read(pieces: list[bytes]) -> list[Event | TooLong]:
        reader, found = EventReader(LIMIT), list[Event | TooLong]()
        try:
            for piece in pieces:
                found += reader.feed(piece)
        except ValueError:
            return found
        return found

    assert read([data]) == read(cut(data, places))


_POLICY = [
    "tools:\n", "  t:\n", "    rules:\n", "      - {", "name: n", ", ",
    "conditions: [{path: args.a, op: eq, value: 1}]", "}\n", "default: deny\n", "hide: [x]\n",
    "mode: monitor\n", "rate_limit: 5/day", "action: deny", "&a", "*a", "!!x ", "? ", "- ", "|\n", '"', "'",
    "#", "---\n", "spend_limit: {path: args.x, max: 1}", "0x1f", "1e999", ".inf", "{", "[", "\t", "\u2028",
]  # fmt: skip


@examples(60)
@given(st.lists(st.sampled_from(_POLICY) | st.text(max_size=4), max_size=15).map("".join))
@example("a: &a [*a]\n")
@example("tools: {t: {rules: [{rate_limit: 9e999/day}]}}")
def test_whatever_a_policy_is_it_is_read_or_its_problems_are_listed(text: str) -> None:
    _, problems = policies.read(text, "policy.yaml")
    assert all(str(problem).startswith("policy.yaml:") for problem in problems)


@pytest.fixture(scope="module")
def verify(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], object]:
    keys: Path = tmp_path_factory.mktemp("keys") / "keys.json"
    keys.write_bytes(jwks(jwk(RSA, "r")))

    async def never(url: str) -> bytes:
        raise AssertionError(url)

    verifier = JwtVerifier(str(keys), ISSUER, AUDIENCE, never, Clock())
    asyncio.run(verifier.start())
    return verifier.verify_at_once


_GOOD = signed(claims(Clock()), kid="r")
_PARTS = [*_GOOD.split("."), ".", "", segment(b"{}"), segment(b'{"alg":"none"}'), segment(b'{"alg":"RS256","kid":"r"}'),
          segment(b'{"alg":"HS256","kid":"r"}'), segment(b'{"exp":1e999}'), "=", "é", "A" * 70]  # fmt: skip


@examples(100)
@given(text=st.lists(st.sampled_from(_PARTS) | st.text(max_size=6), max_size=7).map("".join))
@example(text=_GOOD + "=")
def test_no_token_but_the_good_one_is_taken_and_none_is_a_defect(verify: Callable[[str], object], text: str) -> None:
    found = verify(text)
    assert text == _GOOD or isinstance(found, Rejected | NotYet)
