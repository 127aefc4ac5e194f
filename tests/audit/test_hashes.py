"""Keyed hashes of arguments and of JSON-RPC ids."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.audit.hashes import Hashes
from sidecar.mcp.jsonrpc import MAX_ID
from tests.support.fuzzing import examples

KEY = b"k" * 32
IDS = st.integers(-MAX_ID, MAX_ID) | st.integers(0, 40) | st.text(max_size=20) | st.integers(0, 40).map(str)


@pytest.mark.fuzz
@examples(100)
@given(st.lists(IDS, max_size=40, unique_by=repr))
def test_different_ids_have_different_hashes_and_the_same_id_the_same_one(ids: list[int | str]) -> None:
    hashes = Hashes(KEY)
    found = [hashes.of_id(id_) for id_ in ids]
    assert len(set(found)) == len(ids)
    assert [Hashes(KEY).of_id(id_) for id_ in reversed(ids)] == found[::-1]
    assert all(len(one) == 16 and int(one, 16) >= 0 for one in found)


def test_an_id_has_another_hash_with_another_key() -> None:
    assert Hashes(KEY).of_id(7) != Hashes(b"o" * 32).of_id(7)
    assert Hashes(KEY).of_id("7") != Hashes(b"o" * 32).of_id("7")


def test_ids_of_many_sessions_take_little_memory() -> None:
    hashes = Hashes(KEY)
    first = hashes.of_id(3)
    for id_ in range(0, 100_000, 8):
        hashes.of_id(id_)
    assert len(hashes.kept) <= 2_048
    assert hashes.of_id(3) == first


def test_arguments_that_differ_only_in_type_have_different_hashes() -> None:
    hashes = Hashes(KEY)
    assert len({hashes.of_arguments(each) for each in ({"a": 1}, {"a": "1"}, {"a": 1.0}, {"a": True}, {})}) == 5
