"""Lines out of a stream of bytes: the same ones however the stream is cut, and none costs more than its limit."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.system.lines import ENDS_KEPT, PORTION, LineReader, LineWriter, TooLong


def lines(data: bytes, limit: int = 100) -> list[bytes | TooLong]:
    return LineReader(limit).feed(data)


def test_a_line_comes_when_its_end_has_come() -> None:
    reader = LineReader(100)
    assert reader.feed(b'{"a"') == []
    assert reader.feed(b":1}") == []
    assert reader.feed(b'\n{"b"') == [b'{"a":1}']
    assert reader.feed(b":2}\n") == [b'{"b":2}']


def test_one_carriage_return_before_the_line_feed_belongs_to_the_line_end() -> None:
    assert lines(b"a\r\nb\r\r\n") == [b"a", b"b\r"]


@pytest.mark.parametrize("char", ["\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
def test_nothing_but_a_line_feed_ends_a_line(char: str) -> None:
    line = f'{{"a":"{char}"}}'.encode()
    assert lines(line + b"\n") == [line]


def test_blank_lines_are_left_out() -> None:
    assert lines(b"\n\r\n \t\na\n\n") == [b"a"]


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "byte by byte"])
@pytest.mark.parametrize("size", [99, 100, 101, 102, 5000])
def test_a_line_above_the_limit_leaves_its_two_ends(size: int, at_once: bool) -> None:
    line = bytes(48 + at % 10 for at in range(size))
    reader = LineReader(100)
    stream = b"before\n" + line + b"\nafter\n"
    parts = [stream] if at_once else [stream[at : at + 1] for at in range(len(stream))]
    came = [line for part in parts for line in reader.feed(part)]
    expected = line if size <= 100 else TooLong(line[:ENDS_KEPT], line[-ENDS_KEPT:], 100)
    assert came == [b"before", expected, b"after"]


@settings(deadline=None)
@given(
    st.lists(st.binary(max_size=3 * ENDS_KEPT).map(lambda line: line.replace(b"\n", b"")), max_size=4),
    st.lists(st.integers(0, 8 * ENDS_KEPT), max_size=6),
    st.integers(1, 2 * ENDS_KEPT),
)
def test_however_the_stream_is_cut_the_lines_are_the_same(wanted: list[bytes], cuts: list[int], limit: int) -> None:
    stream = b"".join(line + b"\n" for line in wanted)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    reader = LineReader(limit)
    came = [line for start, end in itertools.pairwise(places) for line in reader.feed(stream[start:end])]
    assert came == lines(stream, limit)


@pytest.mark.parametrize("size", [2, 1 << 12], ids=["tiny parts", "large parts"])
def test_a_line_without_end_costs_little_more_than_the_limit(size: int) -> None:
    limit = 1 << 14
    reader = LineReader(limit)
    tracemalloc.start()
    try:
        for _ in range(16 * limit // size):
            assert reader.feed(b"x" * size) == []
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * limit
    assert reader.feed(b"\n") == [TooLong(b"x" * ENDS_KEPT, b"x" * ENDS_KEPT, limit)]


@given(st.lists(st.integers(0, 3 * PORTION), max_size=5))
def test_lines_of_one_pass_are_written_in_portions_in_their_order(passes: list[int]) -> None:
    later: list[Callable[[], None]] = []
    written: list[bytes] = []
    writer, numbers = LineWriter(later.append, written.append), itertools.count()
    for count in passes:
        before = len(written)
        sent = [b"%d" % next(numbers) for _ in range(count)]
        for line in sent:
            writer.send(line)
        assert len(written) - before == count // PORTION  # these waited for nothing
        while later:
            later.pop(0)()
        assert len(written) - before == -(-count // PORTION)
        assert b"".join(written[before:]) == b"".join(line + b"\n" for line in sent)
