"""Keys and bundles that the tests share, and the figures that they print at the end."""

from __future__ import annotations

import pytest

from tests.policy_repo.verbs import Key, new_key

FIGURES = pytest.StashKey[list[str]]()


class Figures:
    """What was measured, a line each, told after the last test."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def note(self, what: str, value: str) -> None:
        """Remember one."""
        self._lines.append(f"{what}: {value}")


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """Where to note what was measured."""
    return Figures(request.config.stash.setdefault(FIGURES, []))


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    """The pair of keys that policies are signed with."""
    return new_key(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Key:
    """Somebody else's pair of keys."""
    return new_key(tmp_path_factory.mktemp("foreign"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures."""
    lines = terminalreporter.config.stash.get(FIGURES, [])
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.write_line(line)
