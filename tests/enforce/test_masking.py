"""What people may not see is replaced before anything is stored, however a server may read it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.enforce import masking
from sidecar.enforce.masking import MASK, Instead, masked, replaced
from sidecar.policy.paths import EACH, Path, shown
from sidecar.text import folded


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


KEYS = st.sampled_from(["a", "A", "b", "c", "\u0131", "I"])
VALUES = st.recursive(
    st.sampled_from([1, "x", None]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=10,
)
MASKS = st.lists(st.lists(KEYS | st.just(EACH), min_size=1, max_size=3).map(tuple), max_size=5)


@example({"a": None, "b": None}, [("a", "b"), ("a",), ("a", "c"), ("b", "c")])
@given(st.dictionaries(KEYS, VALUES, max_size=4), MASKS)
def test_all_masks_together_hide_what_they_hide_one_after_the_other(
    arguments: dict[str, Any], masks: list[Path]
) -> None:
    assert masked(arguments, masks) == by_definition(arguments, masks, lambda way, value: MASK)
    at: list[tuple[Path, str]] = []

    def told(way: Path, value: Any) -> str:
        at.append((way, repr(value)))
        return repr((way, value))

    after, noted = replaced(arguments, masks, told), sorted(map(repr, at))
    at.clear()
    assert (by_definition(arguments, masks, told)[0], sorted(map(repr, at))) == (after, noted)


def by_definition(
    arguments: dict[str, Any], masks: list[Path], instead: Instead
) -> tuple[dict[str, Any], tuple[str, ...]]:
    hidden = []
    for mask in masks:
        arguments, hides = by_one(arguments, mask, (), instead)
        hidden += [shown("args", mask)] if hides else []
    return arguments, tuple(hidden)


def by_one(value: Any, mask: Path, way: Path, instead: Instead) -> tuple[Any, bool]:
    if not mask:
        return instead(way, value), True
    step, rest = mask[0], mask[1:]
    if step is EACH and type(value) is list:
        parts = [by_one(one, rest, (*way, EACH), instead) for one in value]
        return [part for part, _ in parts], any(hides for _, hides in parts)
    if step is not EACH and type(value) is dict:
        alike = {key: by_one(value[key], rest, (*way, key), instead) for key in value if folded(key) == folded(step)}
        return {**value, **{key: part for key, (part, _) in alike.items()}}, any(hides for _, hides in alike.values())
    return (value, False) if value is None else (instead(way, value), True)


@pytest.mark.parametrize("arguments", [
    {f"k{number}": 1 for number in range(1_000)}, {"a": [{"b": number} for number in range(1_000)]},
])  # fmt: skip
def test_keys_are_compared_once_and_not_for_each_mask(
    arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[str] = []

    def noted(key: str) -> str:
        compared.append(key)
        return folded(key)

    monkeypatch.setattr(masking, "folded", noted)
    masks: list[Path] = [way for number in range(20) for way in ((f"x{number}",), ("a", EACH, f"x{number}"))]
    masked(arguments, masks)
    assert len(compared) < 1_000 + 3 * len(masks)
