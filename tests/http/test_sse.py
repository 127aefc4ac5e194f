"""Server-sent events: however the bytes are cut, the events are the same; hostile bytes cost bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.http.sse import Event, EventReader, event_bytes
from sidecar.system.lines import TooLong
from tests.http.event_streams import ONE_STREAM

LIMIT = 1 << 20


def read(*parts: bytes, limit: int = LIMIT) -> list[Event | TooLong]:
    """All events in a stream that comes in these parts."""
    reader = EventReader(limit)
    return [event for part in parts for event in reader.feed(part)]


def cuts(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


@pytest.mark.parametrize("case", ONE_STREAM)
def test_a_stream_is_read_as_the_standard_has_it(case: str) -> None:
    data, events = ONE_STREAM[case]
    assert read(data) == events
    assert read(*cuts(data)) == events
    assert read(b"", *(part for one in cuts(data) for part in (one, b""))) == events


def test_an_event_is_given_out_the_moment_its_blank_line_begins() -> None:
    reader = EventReader(LIMIT)
    assert reader.feed(b"data: a\r\n") == []
    assert reader.feed(b"\r") == [Event("a")]
    assert reader.feed(b"\n") == []
    assert reader.feed(b"data: b\r\r") == [Event("b")]


@pytest.mark.parametrize("bad", [b"data: \xff\n\n", b"data: \xc3\n\n", b"data: \xed\xa0\x80\n\n", b": \xff\n\n"])
def test_what_is_not_utf_8_is_refused_after_what_came_before_it(bad: bytes) -> None:
    for parts in ([b"data: a\n\n" + bad + b"data: b\n\n", b"more"], [b"data: a\n\n", bad, b"data: b\n\n"]):
        reader = EventReader(LIMIT)
        assert reader.feed(parts[0]) == [Event("a")]
        for part in parts[1:]:
            with pytest.raises(ValueError, match="UTF-8"):
                reader.feed(part)


@pytest.mark.parametrize("step", [1, 7, 1000, 100_000])
def test_an_event_that_is_too_long_is_thrown_away_but_for_its_ends_and_the_stream_goes_on(step: int) -> None:
    data = b"data: " + b"a" * 5000 + b"\ndata: " + b"b" * 5000 + b"\n\ndata: c\n\n"
    parts = [data[at : at + step] for at in range(0, len(data), step)]
    cut, after = read(*parts, limit=4000)
    assert isinstance(cut, TooLong)
    assert (cut.head, cut.limit) == (b"a" * (1024 - len(b"data: ")), 4000)
    assert cut.tail == b"b" * (1024 - len(b"\n\n"))
    assert after == Event("c")


def test_the_ends_of_a_message_that_is_too_long_are_without_the_fields_around_it() -> None:
    message = (b'data: {"id":7,', b'data: "x":"' + b"a" * 5000 + b'",', b'data: "y":1}')
    (cut,) = read(b"\n".join((b"retry: 5", *message, b"id: 9", b":", b"event: message", b"", b"")), limit=4000)
    assert isinstance(cut, TooLong)
    assert (cut.head[:19], cut.tail[-10:]) == (b'{"id":7,\n"x":"aaaaa', b'a",\n"y":1}')


def test_an_event_of_just_the_limit_is_whole() -> None:
    data = b"data: " + b"a" * 5000 + b"\n\n"
    assert read(data, limit=len(data)) == [Event("a" * 5000)]
    assert isinstance(read(data, limit=len(data) - 1)[0], TooLong)


@pytest.mark.parametrize("endless", [b"a", b"a\n", b":\n", b"data: a\n", b"\r:", b"data"])
def test_an_event_without_an_end_costs_no_more_than_the_limit(endless: bytes) -> None:
    reader = EventReader(10_000)
    for _ in range(100):
        assert reader.feed(endless * 1000) == []
        assert len(reader._block) <= 10_000


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"))
NAME = TEXT.filter(lambda text: len(text.splitlines()) < 2 and text == "".join(text.splitlines()))
EVENTS = st.one_of(
    st.just(Event(None, comment=True)),
    st.builds(
        Event,
        data=st.one_of(st.none(), st.lists(TEXT, min_size=1).map("\n".join)),
        type=NAME.filter(bool),
        id=st.one_of(st.none(), NAME),
        retry=st.one_of(st.none(), st.integers(0, 10**9)),
    ).filter(lambda event: event != Event(None)),
)


@given(st.lists(EVENTS, max_size=8), st.lists(st.integers(0, 300)), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_events_survive_being_written_and_read_however_the_bytes_are_cut(
    events: list[Event], places: list[int], end: bytes
) -> None:
    stream = b"".join(map(event_bytes, events)).replace(b"\n", end)
    parts, at = [], 0
    for place in sorted({place for place in places if place < len(stream)}):
        parts.append(stream[at:place])
        at = place
    assert read(*parts, stream[at:]) == events


@given(
    st.lists(st.binary(max_size=200).map(lambda data: data.replace(b"z", b"\n\n").replace(b"q", b"data:")), max_size=20)
)
def test_any_bytes_are_events_or_a_value_error(parts: list[bytes]) -> None:
    reader = EventReader(64)
    for part in parts:
        try:
            events = reader.feed(part)
        except ValueError:
            return
        assert len(reader._block) <= 2048 + 200
        assert all(isinstance(event, Event | TooLong) for event in events)


@given(st.binary(max_size=400), st.integers(1, 20))
def test_the_cutting_of_the_bytes_changes_nothing(data: bytes, step: int) -> None:
    data = data.replace(b"\x01", b"\n\n").replace(b"\x02", b"\r").replace(b"\x03", b"data: ")

    def outcome(parts: list[bytes]) -> tuple[list[Event | TooLong], bool]:
        reader, events = EventReader(50), []
        for part in (*parts, b""):
            try:
                events += reader.feed(part)
            except ValueError:
                return events, True
        return events, False

    assert outcome([data]) == outcome([data[at : at + step] for at in range(0, len(data), step)])


def test_line_breaks_in_data_make_several_lines() -> None:
    assert event_bytes(Event("a\r\nb\rc\nd\n\nevent: x")) == (
        b"data: a\ndata: b\ndata: c\ndata: d\ndata: \ndata: event: x\n\n"
    )


def test_the_id_comes_first() -> None:
    assert event_bytes(Event("a", "x", "1", 5)) == b"id: 1\nevent: x\nretry: 5\ndata: a\n\n"


ENDS = [char for char in map(chr, range(0x10000)) if len(f"a{char}b".splitlines()) == 2]
"""All that Python ends a line at."""


@pytest.mark.parametrize(
    "event",
    [
        Event("a", type="x\ndata: b"), Event("a", type="x\r"), Event("a", id="1\n\n"), Event("a", id="1\rdata: b"),
        Event("a", id="\0"), Event(None), Event("\ud800"),
        *(Event("", id=f"1{end}data: b") for end in ENDS), *(Event(None, type=f"x{end}data: b") for end in ENDS),
    ],
)  # fmt: skip
def test_what_would_break_the_stream_is_not_written(event: Event) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - one of two kinds
        event_bytes(event)
