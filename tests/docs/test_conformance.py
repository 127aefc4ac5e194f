"""docs/conformance.md: every requirement has one row, and each row a test that exists, or a reason for having none.

The tests stand in a table of their own, at the end of the page, by the ids of the rows.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Final

import pytest

from tests.support import ROOT

TEXT: Final = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
AISVS: Final = {"9.1": 3, "9.2": 10, "9.3": 8, "9.4": 4, "9.5": 6, "9.6": 3}
"""The sections of AISVS 1.0, chapter C9, and how many requirements each has."""
TOP_TEN: Final = tuple(f"MCP{number:02}" for number in range(1, 11))
TEST: Final = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
ID: Final = re.compile(r"[0-9]+(\.[0-9]+)+|MCP[0-9]+")
SHORTEST_REASON: Final = 40
"""Characters: a reason is a sentence."""


@dataclass(frozen=True, slots=True)
class Row:
    """One requirement: its id, whether the sidecar does it, what it does or why not, and the tests that show it."""

    id: str
    answer: str
    says: str
    tests: tuple[tuple[str, str], ...]
    others: str
    """What stands beside the tests, where nothing else should."""


def rows(text: str) -> list[Row]:
    """The requirements, each with what the table of tests has for it."""
    tests = shown_by(text)
    found = []
    for line in text.splitlines():
        cells = _cells(line)
        if ID.fullmatch(cells[0]) and len(cells) > 2:
            answer, shown = cells[2 if cells[0][0].isdigit() else 1], tests.get(cells[0], "")
            found.append(Row(cells[0], answer, cells[-1], tuple(TEST.findall(shown)), TEST.sub("", shown).strip()))
    return found


def shown_by(text: str) -> dict[str, str]:
    """The table of tests: what stands beside each id."""
    return {
        cells[0]: cells[1] for cells in map(_cells, text.splitlines()) if ID.fullmatch(cells[0]) and len(cells) == 2
    }


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("| ") else [""]


@cache
def names_in(path: str) -> frozenset[str]:
    """The tests at the top of a file, without running it."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def problem(row: Row) -> str | None:
    """What is wrong with a row; None if nothing is."""
    match row.answer:
        case "yes" | "partly" if not row.tests:
            return "names no test"
        case "no" | "not our part" if row.tests:
            return "names a test of what is not done"
        case "yes" | "partly" | "no" | "not our part":
            pass
        case _:
            return f"{row.answer!r} is no answer"
    if row.answer != "yes" and len(row.says) < SHORTEST_REASON:
        return "gives no reason"
    if row.others:
        return f"has {row.others!r} among its tests"
    for path, name in row.tests:
        if not (ROOT / path).is_file() or name not in names_in(path):
            return f"names {path}::{name}, which is not there"
    return None


def test_every_requirement_has_one_row() -> None:
    aisvs = [f"{section}.{number}" for section, count in AISVS.items() for number in range(1, count + 1)]
    assert [row.id for row in rows(TEXT)] == [*aisvs, *TOP_TEN]


def test_every_row_has_tests_that_are_there_or_a_reason() -> None:
    assert [f"{row.id} {text}" for row in rows(TEXT) if (text := problem(row))] == []


def test_the_tests_stand_in_the_order_of_the_rows_and_belong_to_them() -> None:
    assert list(shown_by(TEXT)) == [row.id for row in rows(TEXT) if row.tests]


def test_the_answers_are_counted_rightly() -> None:
    found = Counter((row.id[0], row.answer) for row in rows(TEXT))
    shown = re.findall(r"^\| \[.*?\]\(#owasp-.*?\) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", TEXT, re.M)
    assert [[int(number) for number in line] for line in shown] == [
        [found[which, answer] for answer in ("yes", "partly", "no", "not our part")] for which in "9M"
    ]


HERE: Final = "`tests/docs/test_conformance.py::test_every_requirement_has_one_row`"
REASON: Final = "It does this and that, but not the other thing"


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        (f"| 9.1.1 | 1 | yes | x | it does |\n| 9.1.1 | {HERE} |", None),
        (f"| MCP01 | partly | x | {REASON} |\n| MCP01 | {HERE} |", None),
        (f"| 9.1.1 | 1 | no | x | {REASON} |", None),
        ("| 9.1.1 | 1 | yes | x | it does |", "names no test"),
        (f"| 9.1.1 | 1 | no | x | {REASON} |\n| 9.1.1 | {HERE} |", "names a test of what is not done"),
        ("| MCP01 | not our part | x | no |", "gives no reason"),
        (f"| 9.1.1 | 1 | mostly | x | {REASON} |", "'mostly' is no answer"),
        (f"| 9.1.1 | 1 | yes | x | it does |\n| 9.1.1 | {HERE} and others |", "has 'and others' among its tests"),
        (
            "| 9.1.1 | 1 | yes | x | it does |\n| 9.1.1 | `tests/docs/test_conformance.py::test_nothing` |",
            "which is not there",
        ),
        (
            "| 9.1.1 | 1 | yes | x | it does |\n| 9.1.1 | `tests/docs/test_nothing.py::test_nothing` |",
            "which is not there",
        ),
    ],
)
def test_what_is_wrong_with_a_row_is_noticed(row: str, wrong: str | None) -> None:
    (read,) = rows(row)
    found = problem(read)
    assert found is None if wrong is None else found is not None and wrong in found
