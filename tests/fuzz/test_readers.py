"""A target for each reader: lines, messages, heads, bodies, events, policies, tokens.

`make fuzz-minute` tries each for a minute. The cases that are altered broke a reader once,
or would break a careless one.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from httptools import HttpRequestParser
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.auth.jwt import JwtVerifier
from sidecar.auth.refusal import NotYet, Rejected
from sidecar.http.reader import BadMessage, MessageReader
from sidecar.http.request import RequestHead, read_request_head
from sidecar.http.sse import Event, EventReader
from sidecar.mcp import strict_json
from sidecar.policy import read as policies
from sidecar.system.lines import LineReader, TooLong
from tests.auth.tokens import AUDIENCE, ISSUER, RSA, Clock, by_hand, claims, jwk, jwks, segment, signed, with_secret
from tests.fuzz.strategies import CUTS, cut, mixed, mixed_text
from tests.http.chunked_bodies import BODIES
from tests.http.event_streams import ONE_STREAM
from tests.http.unclear_requests import CHUNKED, FIVE, REFUSED, post
from tests.session.fakes import ObservedSession
from tests.support import ROOT
from tests.support.fuzzing import target

pytestmark = pytest.mark.fuzz

LIMIT = 60
"""Bytes of a line or an event, so that longer ones come too."""

_LINES = [
    b'{"a":"\r"}\n', b'{"a":"\x0b\x0c\x1c"}\n', '{"a":"\x85\u2028\u2029"}\n'.encode(), b"\n\r\n \t\na\n\n",
    b"a\r\nb\r\r\n", b"before\n" + b"x" * (LIMIT + 1) + b"\nafter\n", b"x" * LIMIT + b"\r\n",
    b"x" * 5000, b"\x00\n\xff\n",
]  # fmt: skip


@target(60)
@given(mixed([b"\n", b"\r\n", b"{}", b" ", b"x" * LIMIT, b"\r"], _LINES), CUTS)
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
_MESSAGES = [
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"quick"}}',
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"quick","arguments":{"id":5,"a":"\\u2028"}}}',
    b'{"id":1,"jsonrpc":"2.0","method":"tools/call","params":{"arguments":{"x":",\\"id\\":5}"},"name":"quick"},"a":7}',
    b'{"jsonrpc":"2.0","id":"1","method":"tools/list","params":{"cursor":"x"}}', b'[{"jsonrpc":"2.0","id":1}]',
    b'{"jsonrpc":"2.0","id":1,"id":2,"result":{"tools":[{"name":"a"},{"name":"a"}]}}',
    b'{"jsonrpc":"2.0","method":"x"}', b'{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"x"}}',
    b"[" * 5000, b'{"a":' * 5000, b"1e999999",
    b'{"jsonrpc":"2.0","id":1,"method":"tools//call"}', b'{"jsonrpc":"2.0","id":1,"result":"\\ud800"}',
    b"\xef\xbb\xbf{}",
]  # fmt: skip


@target(100)
@given(mixed(_MESSAGE, _MESSAGES), st.booleans())
@example(b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"quick"}}', True)
@example(b"[" * 5000, True)
@example(b'{"jsonrpc":"2.0","id":1e999999,"result":{}}', False)
def test_whatever_a_message_is_it_is_read_or_refused_and_what_goes_on_reads_back(data: bytes, is_client: bool) -> None:
    world = ObservedSession()
    (world.session.from_client if is_client else world.session.from_server)(data)
    for message in world.server if is_client else world.client:
        assert strict_json.read_value(message)[1] == message


_HTTP = [
    b"GET / HTTP/1.1\r\n", b"POST /mcp HTTP/1.1\r\n", b"Host: a\r\n", b"Content-Length: 3\r\n", b"\r\n", b"abc",
    b"\n", b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n", b"2\r\nab\r\n",
    b"Expect: 100-continue\r\n", b"Upgrade: h2c\r\n", b"Connection: upgrade\r\n", b"Content-Length: 99\r\n",
    b" x\r\n", b"X: \x00\r\n", b"ffffffff\r\n",
]  # fmt: skip
_REQUESTS = [request for _, request in REFUSED.values() if len(request) < 1000]
_REQUESTS += [post(FIVE, body=b"hello") + post(CHUNKED, body=body) for body in BODIES]


@target(100)
@given(mixed(_HTTP, _REQUESTS), CUTS)
@example(
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"2\r\nab\r\n" * 30 + b"0\r\n\r\n", [70, 80]
)
@example(b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n", [])
def test_requests_are_the_same_however_they_are_cut(data: bytes, places: list[int]) -> None:
    assert _requests([data]) == _requests(cut(data, places))


def _requests(pieces: list[bytes]) -> tuple[list[tuple[str, bytes]], bool]:
    """The requests that are whole, with their bodies, and whether something was refused.

    With which status is not compared: of two faults, the one that is told is the one that comes first.
    """
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
    except BadMessage:
        return found, True
    return found, False


_HEADS = [request.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" for request in _REQUESTS]
_HEAD = [
    *_HTTP[:5], b"HTTP/1.1", b"HTTP/1.0", b"GET", b":", b"\t", b"\r", b"\x0b", b",", b"Transfer-Encoding", b"chunked",
    b"Content-Length: 5\r\n", b"Host: b\r\n", b"Connection: close, host\r\n", b"\xc3\xa4", b"X: y\r\n",
]  # fmt: skip
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_FIELD_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")


@target(100)
@given(mixed(_HEAD, _HEADS), CUTS)
def test_a_head_is_the_same_however_it_is_cut_and_says_nothing_that_somebody_could_read_otherwise(
    data: bytes, places: list[int]
) -> None:
    found = _head([data])
    assert found == _head(cut(data, places))
    if isinstance(found, tuple):
        head, length = found
        assert head.target.startswith("/")
        assert all(_FIELD_NAME.fullmatch(name) and _FIELD_VALUE.fullmatch(value) for name, value in head.headers)
        read = data[: data.index(b"\r\n\r\n")].lower()
        assert read.count(b"\n") == read.count(b"\r") == read.count(b"\r\n")
        assert read.count(b"\r\nhost:") <= 1
        assert read.count(b"\r\ncontent-length:") + read.count(b"\r\ntransfer-encoding:") <= 1
        assert (length is None) is (b"\r\ntransfer-encoding:" in read)


def _head(pieces: list[bytes]) -> tuple[RequestHead, int | None] | str:
    """The first head and the length of its body, or that it is refused or lacks its end."""
    reader = MessageReader(HttpRequestParser, 400, 20)
    try:
        for piece in pieces:
            reader.feed(piece)
            data = reader.next_head()
            if data is not None:
                return read_request_head(reader, data)
    except BadMessage:
        return "refused"
    return "without end"


_CHUNKS = [
    b"3\r\nabc\r\n", b"0\r\n", b"\r\n", b"0\r\n\r\n", b"2\r\n\r\n\r\n", b";a=b", b'"', b"5", b"hello", b"X: y\r\n",
    b"0x", b"\n", b"\r", b" ", b"-", b"fffffffffffffffff", b"000000000000000000",
]  # fmt: skip
_BODIES = [*BODIES, *(body for _, _, body in (request.partition(b"\r\n\r\n") for request in _REQUESTS) if body)]
_CHUNK = re.compile(rb"([0-9a-fA-F]+)(?:;[^\r\n]*)?\r\n")
_TRAILERS = re.compile(rb"(?:[^\r\n]+\r\n)*\r\n")


@target(100)
@given(mixed(_CHUNKS, _BODIES), CUTS)
def test_a_body_is_the_same_however_it_is_cut_and_ends_where_the_standard_says(data: bytes, places: list[int]) -> None:
    found = _body([data])
    assert found == _body(cut(data, places))
    if isinstance(found, tuple):
        assert found == _chunked(data)


def _body(pieces: list[bytes]) -> tuple[bytes, bytes] | str:
    """What the chunks say and what follows them, or that they are refused or lack their end."""
    reader, body = MessageReader(HttpRequestParser, 400, 20), b""
    head = post(CHUNKED)
    reader.feed(head)
    assert reader.next_head() == head
    reader.read_head(head)
    reader.set_open()
    try:
        for piece in pieces:
            reader.feed(piece)
            body += b"".join(reader.body())
    except BadMessage:
        return "refused"
    return (body, reader.take(reader.waiting) or b"") if reader.complete else "without end"


def _chunked(data: bytes) -> tuple[bytes, bytes]:
    """What the chunks say and what follows them, straight from RFC 9112, section 7.1."""
    body, at = b"", 0
    while (chunk := _CHUNK.match(data, at)) is not None:
        size, at = int(chunk[1], 16), chunk.end()
        if size == 0:
            trailers = _TRAILERS.match(data, at)
            assert trailers is not None
            return body, data[trailers.end() :]
        assert data[at + size : at + size + 2] == b"\r\n"
        body, at = body + data[at : at + size], at + size + 2
    raise AssertionError("this is no chunk")


_EVENTS = [
    *(stream for stream, _ in ONE_STREAM.values()), b"data: \xff\n\n", b"data: a\n\ndata: \xc3\n\nmore",
    b"data: \xed\xa0\x80\n\n",
    b"data: " + b"a" * 100 + b"\ndata: " + b"b" * 5000 + b"\n\ndata: c\n\n", b"data: " + b"x" * (LIMIT - 8) + b"\n\n",
]  # fmt: skip


@target(60)
@given(
    mixed(
        [b"data: x\n", b"\n", b"id: 1\n", b"event: endpoint\n", b":\n", b"\r", b"retry: 1\n", b"\xef\xbb\xbf"], _EVENTS
    ),
    CUTS,
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
_POLICIES = [
    path.read_text(encoding="utf-8")
    for folder in ("policies", "tests/conformance/invalid") for path in sorted((ROOT / folder).glob("*.yaml"))
] + [
    "a: &a [*a]\n", "? [a, b]\n: 1\n", "<<: *a\n", "a: 1\n---\nb: 2\n", "[" * 70, "- " * 500, "a: !!int 5\n",
    "\ufeffa: 1\n", "a: 0x_ff\nb: 1e400\nc: 1_000\n", "1: 1\n~: 2\n", 'a: "\\q"\n', "a:\n\tb: 1\n",
    "'a': 1\n\"a\": 2\n", "a: \x07\n",
]  # fmt: skip


@target(60)
@given(mixed_text(_POLICY, _POLICIES))
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


_SAID = claims(Clock())
_GOOD = signed(_SAID, kid="r")
_HEADER = b'{"alg":"RS256","kid":"r"}'
_PARTS = [*_GOOD.split("."), ".", "", segment(b"{}"), segment(b'{"alg":"none"}'), segment(_HEADER),
          segment(b'{"alg":"HS256","kid":"r"}'), segment(b'{"exp":1e999}'), "=", "é", "A" * 70]  # fmt: skip
_TOKENS = [
    _GOOD, f"{_GOOD}=", ".".join((segment(b'{"alg":"none","kid":"r"}'), _GOOD.split(".")[1], "")),
    with_secret({"alg": "HS256", "kid": "r"}, _SAID, jwks(jwk(RSA, "r"))), by_hand(_HEADER, b'{"a":NaN}'),
    by_hand(b'{"alg":"none","alg":"RS256","kid":"r"}', json.dumps(_SAID).encode()), by_hand(_HEADER, b"[" * 5000),
    by_hand(_HEADER, json.dumps(_SAID | {"exp": 0}).encode()), by_hand(_HEADER, b"\xff"), by_hand(_HEADER, b""),
    by_hand(b'{"alg":"RS256","kid":"r","crit":["exp"],"exp":1}', json.dumps(_SAID).encode()), "a.b.c.d", "eyJ9.e30.AA",
]  # fmt: skip


@target(100)
@given(text=mixed_text(_PARTS, _TOKENS))
@example(text=_GOOD + "=")
def test_no_token_but_the_good_one_is_taken_and_none_is_a_defect(verify: Callable[[str], object], text: str) -> None:
    found = verify(text)
    assert text == _GOOD or isinstance(found, Rejected | NotYet)
