"""docs/conformance.md: every requirement has one row, and each row a test that exists, or a reason for having none."""

from __future__ import annotations

import ast
import re
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
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("| ") and re.fullmatch(r"[0-9]+(\.[0-9]+)+|MCP[0-9]+", cells[0]):
            answer, says, tests = cells[2 if cells[0][0].isdigit() else 1], cells[-2], cells[-1]
            found.append(Row(cells[0], answer, says, tuple(TEST.findall(tests)), TEST.sub("", tests).strip()))
    return found


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


HERE: Final = "`tests/docs/test_conformance.py::test_every_requirement_has_one_row`"
REASON: Final = "It does this and that, but not the other thing"


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        (f"| 9.1.1 | 1 | yes | x | it does | {HERE} |", None),
        (f"| MCP01 | partly | x | {REASON} | {HERE} |", None),
        (f"| 9.1.1 | 1 | no | x | {REASON} | |", None),
        ("| 9.1.1 | 1 | yes | x | it does | |", "names no test"),
        (f"| 9.1.1 | 1 | no | x | {REASON} | {HERE} |", "names a test of what is not done"),
        ("| MCP01 | not our part | x | no | |", "gives no reason"),
        (f"| 9.1.1 | 1 | mostly | x | {REASON} | {HERE} |", "'mostly' is no answer"),
        (f"| 9.1.1 | 1 | yes | x | it does | {HERE} and others |", "has 'and others' among its tests"),
        ("| 9.1.1 | 1 | yes | x | it does | `tests/docs/test_conformance.py::test_nothing` |", "which is not there"),
        ("| 9.1.1 | 1 | yes | x | it does | `tests/docs/test_nothing.py::test_nothing` |", "which is not there"),
    ],
)
def test_what_is_wrong_with_a_row_is_noticed(row: str, wrong: str | None) -> None:
    (read,) = rows(row)
    found = problem(read)
    assert found is None if wrong is None else found is not None and wrong in found
