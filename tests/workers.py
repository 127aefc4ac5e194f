"""How several workers share the tests (`pytest -n`): a file is one worker's, and what takes long comes first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pytest
from xdist.scheduler import LoadScopeScheduling

TOGETHER: Final = "tests/transparency"
"""All tests of this folder share connections that are open from the first to the last, so they are one worker's."""


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """Gives a worker that is free the next file."""

    def _split_scope(self, nodeid: str) -> str:
        return share(nodeid)


def share(nodeid: str) -> str:
    """What one worker gets as a whole with this test."""
    return TOGETHER if nodeid.startswith(f"{TOGETHER}/") else nodeid.split("::", 1)[0]


def longest_first(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """The tests in an order in which no worker is left alone with much at the end."""
    long = {share(item.nodeid) for item in items if item.get_closest_marker("slow")}
    return sorted(items, key=lambda item: (share(item.nodeid) != TOGETHER, share(item.nodeid) not in long))
