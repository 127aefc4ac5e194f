"""What a sidecar and the process of its candidate tell each other comes out as it went in, whatever its pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.rehearsal.shadow.talk import (
    HEAD,
    MAX_FRAME,
    Asked,
    Begun,
    Compared,
    Frames,
    NotJudged,
    Told,
    Trouble,
    Who,
    frame,
    read_asked,
    read_told,
)
from tests.support.fuzzing import examples

texts = st.text(max_size=20)
told: st.SearchStrategy[list[Told]] = st.lists(
    st.one_of(
        st.builds(Begun, texts), st.builds(Trouble, texts), st.builds(NotJudged, st.integers(0, 9)),
        st.builds(Compared, st.sampled_from(["allow", "deny", "approval"]), st.just("deny"), texts, texts, texts,
                  st.integers(0, 9), texts, texts, st.integers(0, 1 << 40)),
    ),
    max_size=5,
)  # fmt: skip


@examples(100)
@given(st.lists(told, max_size=5), st.lists(st.integers(1, 50), max_size=50))
def test_values_come_out_whole_whatever_the_pieces_that_they_come_in(values: list[list[Told]], cuts: list[int]) -> None:
    data, frames, found = b"".join(map(frame, values)), Frames(), []
    for cut in cuts:
        found += frames.take(data[:cut])
        data = data[cut:]
    found += frames.take(data)
    assert [read_told(value) for value in found] == values


def test_a_value_that_says_it_is_too_long_ends_the_talk() -> None:
    with pytest.raises(ValueError, match="too long"):
        Frames().take((MAX_FRAME - HEAD + 1).to_bytes(HEAD, "big"))


def test_a_call_comes_with_who_made_it() -> None:
    asked = [
        Asked(
            b'{"n":1.10}', Who("s", "agent", "ann", "https://idp", b'{"n":1.10}', ("agent", True, None)),
            "deny", "r", True, "d",
        ),
        Asked(b"{}", Who("s", "", None, "", b"", None), "allow", "", False, "e"),
    ]  # fmt: skip
    (value,) = Frames().take(frame(asked))
    assert read_asked(value) == asked
