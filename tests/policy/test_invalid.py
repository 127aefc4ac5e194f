"""Every policy in `tests/conformance/invalid` is rejected, at the line and with the words that its head says."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.errors import PolicyError
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
    assert len(FILES) == 86


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_wrong_policy_is_rejected_with_the_expected_words(path: Path) -> None:
    assert missing(path) == []
