"""Bytes and texts to give to a reader: made of parts, or a case that breaks a careless one, altered a little."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import AnyStr

from hypothesis import strategies as st

CUTS = st.lists(st.integers(0, 1 << 16), max_size=6)
"""Places to cut data at."""


def mixed(parts: Sequence[bytes], cases: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Bytes that are made of some parts and of anything, or a case with a few of these in it."""
    return _mixed(st.sampled_from(parts) | st.binary(max_size=8), cases, b"")


def mixed_text(parts: Sequence[str], cases: Sequence[str]) -> st.SearchStrategy[str]:
    """The same for text."""
    return _mixed(st.sampled_from(parts) | st.text(max_size=6), cases, "")


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Data in pieces."""
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(ends)]


def _mixed(part: st.SearchStrategy[AnyStr], cases: Sequence[AnyStr], nothing: AnyStr) -> st.SearchStrategy[AnyStr]:
    edits = st.lists(st.tuples(st.integers(0, 1 << 12), st.integers(0, 4), part), max_size=4)
    return st.lists(part, max_size=20).map(nothing.join) | st.builds(_altered, st.sampled_from(cases), edits)


def _altered(case: AnyStr, edits: list[tuple[int, int, AnyStr]]) -> AnyStr:
    """The case with some of its places replaced."""
    for place, size, new in edits:
        at = place % (len(case) + 1)
        case = case[:at] + new + case[at + size :]
    return case
