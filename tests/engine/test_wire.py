"""One exchange with OPA as bytes: what is asked, which replies count, and that pieces make no difference."""

from __future__ import annotations

import contextlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.engine.wire import MAX_BODY, MAX_HEAD, BadReply, ReplyReader, request

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

GOOD = {
    "a length": (OK + b"Content-Length: 2\r\n\r\n{}", b"{}"),
    "a length in odd letters": (OK + b"cOnTeNt-LeNgTh:  2 \r\n\r\n{}", b"{}"),
    "no body": (OK + b"Content-Length: 0\r\n\r\n", b""),
    "a body that looks like a head": (OK + b"Content-Length: 8\r\n\r\na\r\n\r\nb\r\n", b"a\r\n\r\nb\r\n"),
    "no reason": (b"HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\n1", b"1"),
    "other headers": (OK + b"Date: now\r\nContent-Length: 1\r\nContent-Type: application/json\r\n\r\n1", b"1"),
    "one chunk": (CHUNKED + b"2\r\n{}\r\n0\r\n\r\n", b"{}"),
    "several chunks": (CHUNKED + b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", b"{}"),
    "a chunk with a hexadecimal size": (CHUNKED + b"0A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    "a chunk that looks like the end": (CHUNKED + b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n"),
    "no chunks": (CHUNKED + b"0\r\n\r\n", b""),
}
BAD = {
    "another status": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\n{}",
    "a forbidden question": b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}",
    "a status before the status": b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\n{}",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\n{}",
    "an old version": b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "no HTTP": b"SSH-2.0-OpenSSH\r\n\r\n",
    "no length": OK + b"\r\n{}",
    "two lengths": OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "two lengths in one": OK + b"Content-Length: 2, 2\r\n\r\n{}",
    "a length and chunks": OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "chunks and a length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "chunks twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "another encoding": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a compressed body": OK + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    "a signed length": OK + b"Content-Length: +2\r\n\r\n{}",
    "a negative length": OK + b"Content-Length: -2\r\n\r\n{}",
    "a hexadecimal length": OK + b"Content-Length: 0x2\r\n\r\n{}",
    "an empty length": OK + b"Content-Length:\r\n\r\n{}",
    "a length on the next line": OK + b"Content-Length:\r\n 2\r\n\r\n{}",
    "a blank before the colon": OK + b"Content-Length : 2\r\n\r\n{}",
    "a length above the limit": OK + b"Content-Length: %d\r\n\r\n" % (MAX_BODY + 1),
    "a length of five thousand digits": OK + b"Content-Length: " + b"0" * 4999 + b"2\r\n\r\n{}",
    "a chunk without a size": CHUNKED + b"\r\n{}\r\n0\r\n\r\n",
    "a chunk with a sign": CHUNKED + b"+2\r\n{}\r\n0\r\n\r\n",
    "a chunk with an extension": CHUNKED + b"2;a=b\r\n{}\r\n0\r\n\r\n",
    "a chunk with an underscore": CHUNKED + b"0_2\r\n{}\r\n0\r\n\r\n",
    "a chunk with a huge size": CHUNKED + b"fffffff\r\n{}\r\n0\r\n\r\n",
    "a chunk that goes on": CHUNKED + b"2\r\n{} \r\n0\r\n\r\n",
    "a trailer": CHUNKED + b"2\r\n{}\r\n0\r\nDate: now\r\n\r\n",
}


def result(pieces: list[bytes]) -> bytes | None:
    """What comes of a reply in pieces: its body, or None when it is not whole. Raises `BadReply`."""
    reader = ReplyReader()
    bodies = [body for piece in pieces if (body := reader.feed(piece)) is not None]
    assert len(bodies) <= 1
    return bodies[0] if bodies else None


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The bytes, cut at these places."""
    bounds = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[one:other] for one, other in pairwise(bounds)]


def test_a_question_is_one_post_to_the_one_path_with_our_id() -> None:
    head, _, body = request(b'{"input":{}}', "abc-1").partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/data/intercept/decision?strict-builtin-errors=true HTTP/1.1\r\n")
    assert b"\r\nX-Intercept-Decision: abc-1\r\n" in head
    assert head.endswith(b"\r\nContent-Length: 12")
    assert body == b'{"input":{}}'


@pytest.mark.parametrize("reply", GOOD)
def test_a_good_reply_gives_its_body(reply: str) -> None:
    data, body = GOOD[reply]
    assert result([data]) == body


@pytest.mark.parametrize("reply", GOOD)
def test_a_good_reply_gives_its_body_byte_by_byte(reply: str) -> None:
    data, body = GOOD[reply]
    reader = ReplyReader()
    assert [reader.feed(data[at : at + 1]) for at in range(len(data))] == [None] * (len(data) - 1) + [body]


@pytest.mark.parametrize("reply", BAD)
def test_a_bad_reply_is_no_answer(reply: str) -> None:
    with pytest.raises(BadReply):
        result([BAD[reply]])


@pytest.mark.parametrize("reply", BAD)
def test_a_bad_reply_is_no_answer_byte_by_byte(reply: str) -> None:
    with pytest.raises(BadReply):
        result([bytes([byte]) for byte in BAD[reply]])


@given(st.sampled_from(sorted(GOOD)), st.lists(st.integers(0, 999), max_size=8))
def test_every_split_of_a_good_reply_gives_the_same_body(reply: str, places: list[int]) -> None:
    data, body = GOOD[reply]
    assert result(cut(data, places)) == body


@given(st.sampled_from(sorted(BAD)), st.lists(st.integers(0, 9999), max_size=8))
def test_no_split_of_a_bad_reply_makes_it_good(reply: str, places: list[int]) -> None:
    with pytest.raises(BadReply):
        result(cut(BAD[reply], places))


@given(st.binary(max_size=400), st.lists(st.integers(1, 40), max_size=6))
def test_a_body_in_chunks_of_any_size_is_the_body(body: bytes, sizes: list[int]) -> None:
    rest, chunks = body, b""
    for size in [*sizes, 400]:
        part, rest = rest[:size], rest[size:]
        chunks += b"%x\r\n%b\r\n" % (len(part), part) if part else b""
    assert result([CHUNKED + chunks + b"0\r\n\r\n"]) == body


@given(st.binary(max_size=200), st.lists(st.integers(0, 999), max_size=4))
def test_any_bytes_at_all_are_an_answer_or_none_or_a_bad_reply(data: bytes, places: list[int]) -> None:
    for begin in (b"", OK, CHUNKED, OK + b"Content-Length: "):
        with contextlib.suppress(BadReply):
            result(cut(begin + data, places))


@pytest.mark.parametrize("reply", GOOD)
def test_a_reply_with_more_behind_it_is_no_answer(reply: str) -> None:
    with pytest.raises(BadReply, match="more follows it"):
        result([GOOD[reply][0] + b"H"])


def test_a_reader_can_be_used_for_one_reply_after_another() -> None:
    reader = ReplyReader()
    assert [reader.feed(data) for data, _ in GOOD.values()] == [body for _, body in GOOD.values()]


def test_a_head_that_never_ends_is_too_long() -> None:
    with pytest.raises(BadReply, match="head is too long"):
        result([OK, *[b"X-Filler: " + b"x" * 1000 + b"\r\n"] * 20])


@pytest.mark.parametrize("pieces", [1, 2, 40])
def test_a_head_above_the_limit_is_too_long_in_however_many_pieces(pieces: int) -> None:
    data = OK + b"X-Filler: " + b"x" * MAX_HEAD + b"\r\nContent-Length: 2\r\n\r\n{}"
    with pytest.raises(BadReply, match="too long"):
        result(cut(data, [at * len(data) // pieces for at in range(1, pieces)]))


@pytest.mark.parametrize("pieces", [1, 2, 40])
def test_chunks_above_the_limit_are_too_long_in_however_many_pieces(pieces: int) -> None:
    data = CHUNKED + (b"40000\r\n" + b"x" * 0x40000 + b"\r\n") * 5 + b"0\r\n\r\n"
    with pytest.raises(BadReply, match="too long"):
        result(cut(data, [at * len(data) // pieces for at in range(1, pieces)]))


def test_the_longest_body_is_still_an_answer() -> None:
    assert result([OK + b"Content-Length: %d\r\n\r\n" % MAX_BODY, b"x" * MAX_BODY]) == b"x" * MAX_BODY
