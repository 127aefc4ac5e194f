"""Where a call stands by what an approver agreed to: equal as in `eq`, and no number that is no number."""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.decision.decision import Granting
from sidecar.enforce import grant_terms
from sidecar.enforce.grant_terms import ANY_OTHER, MAX_FREE, MAX_SAME, end_of, number_text, same_text, terms_of
from sidecar.enforce.masking import masked
from sidecar.ledger.approvals import GrantTerms
from sidecar.mcp.approval_binding import plain
from sidecar.mcp.strict_json import read_value
from sidecar.policy import paths
from sidecar.policy.paths import Path, shown
from sidecar.text import shown as shown_name
from tests.policy.judging import equal

NUMBERS = st.one_of(
    st.integers(-3, 3).map(str),
    st.sampled_from(
        ["1.0", "1e0", "10e-1", "-0", "0.0", "1.50", "1.5", "9007199254740993", "9007199254740992", "1e30"]
    ),
)
TEXTS = st.sampled_from(['"1"', '"1.0"', '"1.5"', '"true"', '"null"', '"absent"', '"0"', '"-0"', '""', '"a"'])
SCALARS = st.one_of(NUMBERS, TEXTS, st.sampled_from(["true", "false", "null"]))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2).map(lambda items: f"[{','.join(items)}]"),
        st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2).map(
            lambda items: "{" + ",".join(f'"{key}":{value}' for key, value in items.items()) + "}"
        ),
    ),
    max_leaves=4,
)


GRANTING = Granting(60, 2, (("x",),), ())


def read(text: str) -> Any:
    return read_value(text.encode())[0]


def exact(text: str) -> Any:
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def terms(granting: Granting, arguments: dict[str, Any], *masks: Path, beside: str = "{}") -> GrantTerms:
    visible, _ = masked(arguments, masks)
    return terms_of(granting, plain(arguments), visible, beside.encode(), masks, digest)


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def text_at(arguments: dict[str, Any], path: tuple[str, ...]) -> str:
    return same_text(plain(arguments), end_of(plain(arguments), path))


def number_at(arguments: dict[str, Any], path: tuple[str, ...]) -> str | None:
    return number_text(plain(arguments), path)


@given(VALUES, VALUES)
def test_two_values_have_the_same_text_when_they_are_equal_as_in_eq_and_only_then(one: str, other: str) -> None:
    same = text_at({"a": read(one)}, ("a",)) == text_at({"a": read(other)}, ("a",))
    assert same == equal(exact(one), exact(other))


def test_absent_is_equal_to_absent_and_not_to_null_or_to_the_word() -> None:
    texts = [text_at(arguments, ("a",)) for arguments in ({}, {"a": None}, {"a": "absent"}, {"a": "null"})]
    assert len(set(texts)) == 4
    assert text_at({}, ("a", "b")) == text_at({"a": {}}, ("a", "b")) == text_at({"a": None}, ("a", "b"))


def test_what_a_server_may_read_inside_of_a_text_is_not_taken_for_absent() -> None:
    values: list[Any] = ['{"b": 1}', '{"b": 2}', ["x"], {}]
    texts = [text_at({"a": value}, ("a", "b")) for value in values]
    assert len(set(texts)) == 4


@pytest.mark.parametrize("value", ["true", '"5"', "[5]", "null", '{"b": 5}'])
def test_what_is_no_number_is_within_no_bound(value: str) -> None:
    assert number_at({"a": read(value)}, ("a",)) is None
    assert number_at({}, ("a",)) is None
    assert number_at({"a": '{"b": 5}'}, ("a", "b")) is None


@given(NUMBERS)
def test_a_number_is_written_in_plain_decimal_and_stays_what_it_is(number: str) -> None:
    text = number_at({"a": read(number)}, ("a",))
    assert text is not None
    assert "e" not in text
    assert Decimal(text) == Decimal(number)


def test_every_argument_that_is_left_free_is_named() -> None:
    granting = Granting(3600, 10, (("instId",), ("o", "a")), (("sz",),))
    arguments = {"instId": "BTC", "sz": msgspec.Raw(b"0.10"), "px": 3, "o": {"a": 1, "b": {"c": 2}, "d": {}}}
    found = terms(granting, arguments)
    assert found.free == ("args.px", "args.o.b.c", "args.o.d", ANY_OTHER)
    assert found.same == (("args.instId", "value BTC"), ("args.o.a", "value 1"))
    assert found.at_most == (("args.sz", "0.1"),)


@pytest.mark.parametrize(("same", "arguments", "free"), [
    (("o",), {"o": {"a": 1, "b": {"c": 2}}, "n": 1}, ["args.n"]),
    (("o", "b"), {"o": {"a": 1, "b": {"c": [{"d": 2}]}}}, ["args.o.a"]),
    (("o",), {"oo": {"a": 1}, "O": {"o": 1}}, ["args.oo.a", "args.O.o"]),
    (("o", "a"), {"o": '{"a": 1}'}, []),
    (("o", "a", "b"), {"o": {"a": [1], "c": [1]}}, ["args.o.c"]),
    (("o", "a"), {"o": {"b": 1}, "a": 1}, ["args.o.b", "args.a"]),
    (("o", "a"), {"o": None}, ["args.o"]),
    (("o", "a"), {"o": {}}, ["args.o"]),
])  # fmt: skip
def test_what_lies_under_a_path_that_is_held_or_in_its_way_is_not_free(
    same: tuple[str, ...], arguments: dict[str, Any], free: list[str]
) -> None:
    for granting in (Granting(60, 2, (same,), ()), Granting(60, 2, (("x",),), (same,))):
        assert terms(granting, arguments).free == (*free, ANY_OTHER)


@given(VALUES, st.sampled_from([("o",), ("o", "a"), ("o", "b"), ("o", "a", "b")]))
def test_what_is_named_as_free_may_be_changed_and_nothing_else(value: str, same: tuple[str, ...]) -> None:
    granting = Granting(60, 2, (same,), ())
    called = terms(granting, {"o": read(value)})
    for path, leaf in leaves({"o": read(value)}):
        if leaf is None or leaf == {}:
            continue  # another value in its place may lead elsewhere
        again = terms(granting, changed({"o": read(value)}, path))
        assert (again.same == called.same) == (shown("args", path) in called.free), path


def leaves(value: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    if type(value) is not dict or not value:
        return [(path, value)]
    return [leaf for key, part in value.items() for leaf in leaves(part, (*path, key))]


def changed(arguments: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    first, *rest = path
    return {**arguments, first: changed(arguments[first], tuple(rest)) if rest else "another"}


def test_a_multitude_of_arguments_is_counted_and_not_named() -> None:
    found = terms(Granting(1, 1, (("x",),), ()), {f"k{number}": 1 for number in range(MAX_FREE + 5)})
    assert found.free[-2:] == ("5 more", ANY_OTHER)
    assert len(found.free) == MAX_FREE + 2


STEPS = st.sampled_from(["a", "b", "c", "a b", "\u202e", "k" * 70])
DOCUMENTS = st.dictionaries(
    STEPS,
    st.recursive(
        st.sampled_from([1, "x", None, [1], {}]), lambda inner: st.dictionaries(STEPS, inner, max_size=3), max_leaves=12
    ),
    max_size=3,
)
WAYS = st.lists(st.lists(STEPS, min_size=1, max_size=3).map(tuple), min_size=1, max_size=4, unique=True)


@given(DOCUMENTS, WAYS, st.integers(0, 3), st.integers(0, 4))
def test_what_is_free_is_what_its_definition_says(
    arguments: dict[str, Any], ways: list[tuple[str, ...]], at_most: int, most: int
) -> None:
    granting = Granting(60, 2, tuple(ways[at_most:]), tuple(ways[:at_most]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grant_terms, "MAX_FREE", most)
        found = terms(granting, arguments).free
    assert found == (*free_by_definition(arguments, ways, most), ANY_OTHER)


def free_by_definition(arguments: dict[str, Any], ways: list[tuple[str, ...]], most: int) -> list[str]:
    """The leaves of which no part of the path is held or stands in the way of what is held."""
    held = {*ways, *(way[:length] for way in ways for length in range(1, len(way)) if blocks(arguments, way[:length]))}
    free = [
        shown_name(shown("args", path))
        for path, _ in leaves(arguments)
        if path and not any(path[:length] in held for length in range(1, len(path) + 1))
    ]
    return free if len(free) <= most else [*free[:most], f"{len(free) - most} more"]


def blocks(value: Any, path: tuple[str, ...]) -> bool:
    """True where something stands at a path that no path leads into."""
    for step in path:
        if type(value) is not dict or step not in value:
            return False
        value = value[step]
    return value is not None and type(value) is not dict


def work(arguments: dict[str, Any], granting: Granting = GRANTING) -> int:
    """How many functions are called to tell where a call stands, those of Python itself included."""
    visible, same, count = arguments, plain(arguments), 0

    def note(frame: object, event: str, what: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        terms_of(granting, same, visible, b"{}", (), digest)
    finally:
        sys.setprofile(before)
    return count


def below(depth: int, value: dict[str, Any]) -> dict[str, Any]:
    return below(depth - 1, {"a": value}) if depth else value


def test_the_work_grows_with_the_arguments_and_not_with_all_the_steps_to_each() -> None:
    flat: dict[str, Any] = {f"k{number}": 1 for number in range(2_000)}
    at_once, more, deeper = work(flat), work({f"k{number}": 1 for number in range(4_000)}), work(below(60, flat))
    assert more - at_once < 5 * 2_000
    assert deeper - at_once < 50 * 60


def test_a_long_key_above_many_arguments_is_not_written_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    write = shown

    def noted(root: str, path: Path) -> str:
        name = write(root, path)
        made.append(len(name))
        return name

    monkeypatch.setattr(paths, "shown", noted)
    arguments = {"k" * 10_000: {f"{number}": {"j" * 1_000: 1} for number in range(MAX_FREE)}}
    assert len(terms(GRANTING, arguments).free) == MAX_FREE + 1
    assert sum(made) < 2 * 10_000


def test_what_is_in_the_way_of_many_paths_is_hashed_once() -> None:
    hashed: list[str] = []

    def counting(text: str) -> str:
        hashed.append(text)
        return digest(text)

    ways = tuple(("o", str(number)) for number in range(50))
    large = {"o": ["a" * MAX_SAME]}
    for masks in ((), (("o",),)):
        hashed.clear()
        visible, _ = masked(large, masks)
        found = terms_of(Granting(60, 2, ways, ()), plain(large), visible, b"{}", masks, counting)
        assert len({text for _, text in found.same}) == 1
        assert len(hashed) == 2  # and what stands beside the arguments


@pytest.mark.parametrize(
    "mask", [("card",), ("card", "pin"), ("CARD", "pin"), ("card", "pin", "digits"), ("card", "pin", None)]
)
def test_what_nobody_may_see_is_no_text_and_no_number_of_the_terms(mask: Path) -> None:
    granting = Granting(1, 2, (("card", "pin"),), (("card", "pin"),))
    one, other = (terms(granting, {"card": {"pin": pin, "name": 1}, "px": 1}, mask) for pin in (71325, 71326))
    assert one.same != other.same
    assert "71325" not in repr(one)
    assert one.at_most == (("args.card.pin", None),)
    assert terms(granting, {"card": {"pin": 71325}}, mask).same == one.same


def test_names_under_a_mask_are_not_told_either() -> None:
    assert terms(Granting(1, 2, (("x",),), ()), {"card": {"7132": 1}}, ("card",)).free == ("args.card", ANY_OTHER)


def test_what_is_long_is_compared_and_not_kept() -> None:
    granting = Granting(1, 2, (("x",),), ())
    one, other = (terms(granting, {"x": "a" * MAX_SAME + end, "k" * MAX_SAME: 1}) for end in "bc")
    assert one.same != other.same
    assert len(repr(one)) < MAX_SAME


def test_what_the_server_gets_beside_the_arguments_is_part_of_the_terms() -> None:
    granting = Granting(1, 2, (("x",),), ())
    assert terms(granting, {"x": 1}, beside='{"task":{}}') != terms(granting, {"x": 1})
