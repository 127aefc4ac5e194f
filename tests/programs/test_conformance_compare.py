"""Two runs are compared check by check, and what differs is seen."""

from __future__ import annotations

from programs.conformance.compare import Check, Key, Pair, Score, compare, score
from programs.conformance.table import MARK, last_line, reasons, table


def check(name: str, verdict: str = "SUCCESS", message: str = "") -> Check:
    return Check(Key("2025-11-25", "tools", name, name, 1), verdict, message)


def differing(pairs: tuple[Pair, ...]) -> list[str]:
    return [pair.key.name for pair in pairs if pair.differs]


def test_a_check_with_the_same_verdict_both_ways_does_not_differ_even_where_it_failed() -> None:
    assert differing(compare([check("a"), check("b", "FAILURE")], [check("b", "FAILURE", "late"), check("a")])) == []


def test_another_verdict_and_a_check_that_only_one_run_has_differ() -> None:
    direct = [check("a"), check("b"), check("c", "SKIPPED")]
    through = [check("a", "FAILURE"), check("c"), check("d")]
    assert differing(compare(direct, through)) == ["a", "b", "c", "d"]


def test_a_warning_and_a_check_that_was_left_out_count_for_nothing() -> None:
    checks = [check("a"), check("b", "FAILURE"), check("c", "WARNING"), check("d", "SKIPPED")]
    assert score(checks) == Score(passed=1, failed=1)


def test_the_table_marks_exactly_the_lines_that_differ() -> None:
    lines = table(compare([check("same"), check("other")], [check("same"), check("other", "FAILURE")])).splitlines()
    assert [line.split()[1] for line in lines if MARK in line] == ["other"]
    assert [line.split()[2:4] for line in lines if "other" in line] == [["SUCCESS", "FAILURE"]]


def test_the_reasons_say_what_the_suite_said_on_both_sides() -> None:
    text = reasons(compare([check("other")], [check("other", "FAILURE", "no header")]))
    assert "direct: SUCCESS" in text
    assert "through us: FAILURE no header" in text


def test_the_last_line_gives_both_scores() -> None:
    line = "direct 253 passed 25 failed; through the sidecar 252 passed 26 failed"
    assert last_line(Score(253, 25), Score(252, 26)) == line
