"""How `make fuzz-minute` runs the targets: several processes take a share each, and tell how much was tried."""

from __future__ import annotations

import os

import pytest

from tests.support.fuzzing import TRIED


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of FUZZ_SHARE=2/3 every third test is left, from the second on."""
    share = os.environ.get("FUZZ_SHARE")
    if share is not None:
        number, _, of = share.partition("/")
        items[:] = items[int(number) - 1 :: int(of)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each target that was tried for its time."""
    for tried in TRIED:
        terminalreporter.write_line(str(tried))
