"""Every policy in `tests/conformance/invalid` is rejected, at the line and with the words that its head says."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.errors import PolicyError
from sidecar.load import load
from tests.support import OPA, ROOT

FILES = sorted((ROOT / "tests" / "conformance" / "invalid").glob("*.yaml"))

NOT_BUILT = {
    "approvals-timeout", "approvals-unknown-key", "hide-blank-entry", "hide-duplicate", "hide-empty-entry",
    "spend-limit-no-limit", "spend-limit-path", "state-bad-scope", "state-bad-window", "state-empty-counter",
    "state-increment-from", "state-increment-negative", "state-increment-text", "state-unknown-key", "unknown-mode",
}  # fmt: skip
"""Files about parts of the language that are refused as a whole, so that their own words cannot be there."""


def problems(path: Path) -> str:
    with pytest.raises(PolicyError) as caught:
        load(path, lambda: OPA)
    return "\n".join(caught.value.problems)


def missing(path: Path) -> list[str]:
    """The expected texts that the problems of a file lack."""
    output = problems(path)
    lines = path.read_text().splitlines()
    expected = [line.removeprefix("# expect: ") for line in lines if line.startswith("# expect: ")]
    assert expected
    return [text for text in expected if text not in output]


def test_there_are_files_and_every_exception_is_one_of_them() -> None:
    assert len(FILES) == 87
    assert {path.stem for path in FILES} >= NOT_BUILT


@pytest.mark.parametrize("path", [path for path in FILES if path.stem not in NOT_BUILT], ids=lambda path: path.stem)
def test_a_wrong_policy_is_rejected_with_the_expected_words(path: Path) -> None:
    assert missing(path) == []


@pytest.mark.parametrize("name", sorted(NOT_BUILT))
def test_what_is_not_built_is_rejected_and_leaves_this_list_once_its_words_are_there(name: str) -> None:
    [path] = [path for path in FILES if path.stem == name]
    assert missing(path) != []
