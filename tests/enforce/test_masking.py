"""What people may not see is replaced before anything is stored, however a server may read it."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.enforce.masking import MASK, masked
from sidecar.policy.paths import EACH, Path


@pytest.mark.parametrize(
    ("arguments", "path", "kept"),
    [
        ({"key": "s", "a": 1}, ("key",), {"key": MASK, "a": 1}),
        ({"a": {"key": "s", "b": 1}}, ("a", "key"), {"a": {"key": MASK, "b": 1}}),
        ({"a": [{"key": "s"}, {"b": 1}]}, ("a", EACH, "key"), {"a": [{"key": MASK}, {"b": 1}]}),
        ({"a": {"key": {"deep": ["s"]}}}, ("a", "key"), {"a": {"key": MASK}}),
        ({"KEY": "s", "Key": "t"}, ("key",), {"KEY": MASK, "Key": MASK}),
        ({"a": '{"key": "s"}'}, ("a", "key"), {"a": MASK}),
        ({"a": [{"key": "s"}]}, ("a", "key"), {"a": MASK}),
        ({"a": {"key": "s"}}, ("a", EACH, "key"), {"a": MASK}),
    ],
)
def test_a_value_at_a_masked_path_is_replaced_and_named(arguments: dict[str, Any], path: Path, kept: Any) -> None:
    after, names = masked(arguments, [path])
    assert (after, len(names)) == (kept, 1)


@pytest.mark.parametrize(
    ("arguments", "path"),
    [({"a": 1}, ("key",)), ({"a": None}, ("a", "key")), ({"a": []}, ("a", EACH, "key")), ({}, ("a", "key"))],
)
def test_where_nothing_stands_nothing_is_said_to_be_hidden(arguments: dict[str, Any], path: Path) -> None:
    assert masked(arguments, [path]) == (arguments, ())


def test_the_arguments_themselves_stay_as_they_are() -> None:
    arguments = {"a": {"key": "s"}}
    masked(arguments, [("a", "key")])
    assert arguments == {"a": {"key": "s"}}
