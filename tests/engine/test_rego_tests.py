"""Tests of hand-written Rego run in OPA itself, and what they reach is told by line."""

from __future__ import annotations

import pytest

from sidecar.engine.rego_tests import RegoTests, rego_tests
from sidecar.errors import StartError
from tests.support import OPA

RULE = """package intercept.custom

violations contains {"rule": "a", "reason": "no"} if {
	input.tool == "t"
	input.arguments.n > 5
}

violations contains {"rule": "b", "reason": "no"} if {
	input.tool == "u"
}
"""
TEST = """package intercept.custom_test

import data.intercept.custom

test_large if {
	count(custom.violations) == 1 with input as {"tool": "t", "arguments": {"n": 6}}
}
"""


def run(tests: str, **more: str) -> RegoTests:
    files = {"intercept/custom/rules.rego": RULE, "intercept/custom/rules_test.rego": tests, **more}
    return rego_tests(OPA, {".manifest": '{"roots": ["intercept"]}', **files}, "intercept/custom")


def test_what_tests_reach_is_told_by_line() -> None:
    found = run(TEST)
    assert not found.failed
    assert [(test.name, test.file, test.line) for test in found.tests] == [
        ("intercept.custom_test.test_large", "intercept/custom/rules_test.rego", 5)
    ]
    (coverage,) = found.coverage
    assert (coverage.file, coverage.covered, coverage.missed) == ("intercept/custom/rules.rego", 3, (8, 9))
    assert found.percent == 60


def test_a_module_that_no_test_reads_is_not_reached() -> None:
    other = "package intercept.custom.other\n\nlarge if input.arguments.n > 5\n"
    coverage = run(TEST, **{"intercept/custom/other.rego": other}).coverage
    assert [(file.file, file.missed) for file in coverage] == [
        ("intercept/custom/other.rego", (3,)), ("intercept/custom/rules.rego", (8, 9))
    ]  # fmt: skip


def test_a_test_that_does_not_hold_fails_and_shows_what_it_printed() -> None:
    found = run(f'{TEST}\ntest_wrong if {{\n\tprint("n is", 5)\n\tcount(custom.violations) == 7\n}}\n')
    assert found.failed
    assert [(test.name, test.why) for test in found.tests if test.failed] == [
        ("intercept.custom_test.test_wrong", "n is 5")
    ]
    assert found.coverage == ()


def test_a_test_that_is_to_be_done_is_skipped() -> None:
    found = run(f"{TEST}\ntodo_test_later if false\n")
    assert not found.failed
    assert {test.name.rpartition(".")[2]: test.skipped for test in found.tests} == {
        "test_large": False, "todo_test_later": True
    }  # fmt: skip


def test_no_tests_are_no_tests() -> None:
    assert run("package intercept.custom_test\n") == RegoTests((), ())


@pytest.mark.parametrize(
    ("tests", "said"), [("package intercept.custom_test\n\ntest_x if y\n", "var y is unsafe"), ("package x\n", "roots")]
)
def test_rego_that_opa_cannot_read_is_told(tests: str, said: str) -> None:
    with pytest.raises(StartError, match=said):
        run(tests)
