"""Every policy in `tests/conformance/invalid` is rejected, at the line and with the words that its head says."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.errors import PolicyError
from sidecar.policy.operators import OPERATORS
from sidecar.policy.read import read
from sidecar.repository.load import find, load
from tests.support import OPA, ROOT

FILES = sorted((ROOT / "tests" / "conformance" / "invalid").glob("*.yaml"))


def problems(path: Path) -> str:
    with pytest.raises(PolicyError) as caught:
        load(find([path]), lambda: OPA)
    return "\n".join(caught.value.problems)


def missing(path: Path) -> list[str]:
    """The expected texts that the problems of a file lack."""
    output = problems(path)
    lines = path.read_text().splitlines()
    expected = [line.removeprefix("# expect: ") for line in lines if line.startswith("# expect: ")]
    assert expected
    return [text for text in expected if text not in output]


def test_no_file_got_lost() -> None:
    assert len(FILES) == 99


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_wrong_policy_is_rejected_with_the_expected_words(path: Path) -> None:
    assert missing(path) == []


@pytest.mark.parametrize("op", [name for name, operator in OPERATORS.items() if operator.operand == "pattern"])
def test_every_operator_with_a_pattern_needs_one_that_the_engine_reads(op: str, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(f"tools: {{t: {{rules: [{{conditions: [{{path: args.a, op: {op}, value: 'a(?!b)'}}]}}]}}}}\n")
    assert "a(?!b) is no RE2 pattern: " in problems(path)


@pytest.mark.parametrize(
    "text",
    [
        r'tools: {"x\u202ey": {rules: [{action: stop}]}}',
        r'tools: {t: {rules: [{"\x9b2J": 1}]}}',
        r'tools: {t: {rules: [{conditions: [{path: "x\u2028y", op: eq, value: 1}]}]}}',
    ],
)
def test_a_name_in_a_file_cannot_fool_who_reads_what_is_wrong_with_it(text: str) -> None:
    _, problems = read(text, "policy.yaml")
    assert problems
    assert all(str(problem).isprintable() for problem in problems)
