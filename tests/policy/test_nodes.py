"""YAML to nodes: which scalars are numbers, booleans, text; what is refused; and the place of everything."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from sidecar.policy import nodes
from sidecar.policy.nodes import MAX_DEPTH, Mapping, Node, Scalar, Sequence


def parse(text: str) -> tuple[Node, list[str]]:
    node, problems = nodes.parse(text, "p.yaml")
    return node, [str(problem) for problem in problems]


def plain(node: Node) -> Any:
    match node:
        case Scalar():
            return node.value
        case Sequence():
            return [plain(item) for item in node.items]
        case Mapping():
            return {key: plain(item) for key, item in node.members.items()}


def value(text: str) -> Any:
    node, problems = parse(text)
    assert problems == []
    return plain(node)


def problems(text: str) -> list[str]:
    return parse(text)[1]


@pytest.mark.parametrize("word", [
    "yes", "no", "on", "off", "y", "N", "YES", "tRUE", "nULL", "None", "12:30:00", "1:2", "2024-01-01",
    "2024-01-01T00:00:00Z", "=", "1__x", "0x", "0b12", "0o8", "1e", "+", "-x", ".", "..", "1.2.3", "_1", "inf", "nan",
    "Infinity", "0xg", "1 000", "١٢",
])  # fmt: skip
def test_what_other_readers_take_for_something_else_is_text(word: str) -> None:
    assert value(f"- {word}") == [word]


@pytest.mark.parametrize(("word", "expected"), [
    ("true", True), ("True", True), ("TRUE", True), ("false", False), ("False", False), ("FALSE", False),
    ("null", None), ("Null", None), ("NULL", None), ("~", None), ("", None),
])  # fmt: skip
def test_the_words_of_the_core_schema_are_booleans_and_null(word: str, expected: object) -> None:
    [found] = value(f"- {word}")
    assert found is expected


@pytest.mark.parametrize(("word", "expected"), [
    ("0", "0"), ("-0", "-0"), ("+5", "5"), ("007", "7"), ("1_000", "1000"), ("1.5", "1.5"), (".5", "0.5"), ("2.", "2"),
    ("1e3", "1e3"), ("1E+3", "1e3"), ("-1.5e-3", "-0.0015"), ("0x1F", "31"), ("0o17", "15"), ("0b11", "3"),
    ("-0x10", "-16"), ("0x_ff", "255"), ("123456789012345678901234567890", "123456789012345678901234567890"),
    ("100.00000000000000001", "100.00000000000000001"), ("9" * 400, "9" * 400), ("1e400", "1e400"),
])  # fmt: skip
def test_numbers_are_exact(word: str, expected: str) -> None:
    [found] = value(f"- {word}")
    assert isinstance(found, Decimal)
    assert found == Decimal(expected)


@pytest.mark.parametrize("word", ["true", "5", "~", "0x1f", ".inf", "<<", "1e3", ""])
@pytest.mark.parametrize("form", ['- "{}"', "- '{}'", "- |-\n  {}"])
def test_what_is_quoted_or_in_a_block_is_text(word: str, form: str) -> None:
    assert value(form.format(word)) == [word]


@pytest.mark.parametrize("word", [".inf", "-.inf", "+.Inf", ".INF", ".nan", ".NaN", ".NAN"])
def test_a_number_that_is_not_finite_is_refused(word: str) -> None:
    assert problems(f"a: {word}") == [f"p.yaml:1:4: a: {word} is no number that a call can carry: write a finite one"]


@pytest.mark.parametrize(
    "word", ["9" * 401, "1e401", "1e-401", "1e99999999999999999999", "0x" + "f" * 400, "1." + "0" * 400]
)
def test_a_number_that_no_message_can_carry_is_refused(word: str) -> None:
    [problem] = problems(f"a: {word}")
    assert problem.startswith("p.yaml:1:4: a: a number may have up to 400 digits")


def test_a_key_that_stands_twice_is_refused_in_every_mapping() -> None:
    assert problems("a: 1\nb:\n  c: 1\n  'c': 2\na: 3") == [
        'p.yaml:4:3: b: the key "c" stands here and in line 3: keep one',
        'p.yaml:5:1: file: the key "a" stands here and in line 1: keep one',
    ]


def test_merge_keys_are_refused_and_a_quoted_one_is_a_key() -> None:
    assert problems("a: &a {x: 1}\nb:\n  <<: *a") == [
        "p.yaml:3:3: b: merge keys (<<) are not supported: write the keys out"
    ]
    assert value('{"<<": 1}') == {"<<": 1}


@pytest.mark.parametrize("tag", ["!!str", "!!int", "!own", "!<tag:x>", "!"])
def test_tags_are_refused(tag: str) -> None:
    [problem] = problems(f"a:\n  b: {tag} 5")
    assert problem.startswith("p.yaml:2:6: file: ")
    assert "tags are not supported: remove it, or put the text in quotes" in problem


def test_an_exclamation_mark_in_text_is_no_tag() -> None:
    assert value("a: stop!\nb: '!x'\n# !c") == {"a": "stop!", "b": "!x"}


def test_a_second_document_is_refused() -> None:
    assert problems("---\na: 1\n---\nb: 2\n") == [
        "p.yaml:4:1: file: a second document begins here: write one policy to a file"
    ]


@pytest.mark.parametrize("key", ["1", "true", "~", "1.5"])
def test_a_key_that_is_no_text_is_refused_with_what_to_write(key: str) -> None:
    assert problems(f"{key}: 1") == [f'p.yaml:1:1: file: a key must be a text: write "{key}" in quotes']


@pytest.mark.parametrize("key", ["[a]", "{a: 1}", "? [a, b]\n"])
def test_a_key_that_is_a_list_or_a_mapping_is_refused(key: str) -> None:
    assert any("a key must be a text" in problem for problem in problems(f"{key}: 1"))


def test_aliases_are_written_out() -> None:
    assert value("a: &x [1, {b: 2}]\nc: *x") == {"a": [1, {"b": 2}], "c": [1, {"b": 2}]}


def test_an_alias_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    [problem] = problems("\n".join(lines))
    assert "larger than 500000 values, aliases counted: write less" in problem


@pytest.mark.parametrize("text", ["a: &a [*a]", "a: &a {b: *a}", "&a [*a]", "&a {b: [*a]}"])
def test_an_alias_to_itself_is_refused(text: str) -> None:
    [problem] = problems(text)
    assert "larger than 64 levels" in problem


def test_an_unknown_alias_is_refused() -> None:
    [problem] = problems("a: 1\nb: *c")
    assert problem.startswith("p.yaml:2:4: ")


def test_depth_is_bounded_and_the_bound_itself_is_allowed() -> None:
    assert problems("[" * MAX_DEPTH + "]" * MAX_DEPTH) == []
    [problem] = problems("[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2))
    assert "larger than 64 levels" in problem


@pytest.mark.parametrize("nested", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000, "? " * 100_000])
def test_absurd_depth_is_a_problem_and_no_crash(nested: str) -> None:
    assert len(problems(nested)) == 1


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "---\n"])
def test_an_empty_file_is_an_empty_scalar(text: str) -> None:
    assert value(text) is None


def places(node: Node) -> list[tuple[int, int]]:
    here = [(node.place.line, node.place.column)]
    match node:
        case Sequence():
            return here + [place for item in node.items for place in places(item)]
        case Mapping():
            keys = [(place.line, place.column) for place in node.keys.values()]
            return here + keys + [place for item in node.members.values() for place in places(item)]
        case Scalar():
            return here


def test_every_node_and_key_knows_its_place() -> None:
    node, _ = parse("# top\na: 1\nb:\n  - x\n  - {c: é, d: 2}\n")
    assert places(node) == [(2, 1), (2, 1), (3, 1), (2, 4), (4, 3), (4, 5), (5, 5), (5, 6), (5, 12), (5, 9), (5, 15)]
