"""How several workers share the tests: files stay whole, and what takes long comes first."""

from __future__ import annotations

from typing import cast

import pytest

from tests.workers import TOGETHER, longest_first, share


class Item:
    """A test as far as its order goes."""

    def __init__(self, nodeid: str, *, slow: bool = False) -> None:
        self.nodeid = nodeid
        self.slow = slow

    def get_closest_marker(self, name: str) -> object:
        return object() if self.slow and name == "slow" else None


def test_a_file_is_one_workers_and_so_is_a_folder_whose_tests_share_connections() -> None:
    assert share("tests/cli/test_init.py::test_one[a::b]") == "tests/cli/test_init.py"
    assert share(f"{TOGETHER}/test_tools.py::test_one") == share(f"{TOGETHER}/test_prompts.py::test_two") == TOGETHER


def test_files_that_take_long_come_first_and_the_order_stays_otherwise() -> None:
    items = [
        Item("a.py::one"), Item("b.py::one"), Item("b.py::two", slow=True), Item(f"{TOGETHER}/d.py::one", slow=True),
        Item("a.py::two"), Item(f"{TOGETHER}/c.py::one", slow=True), Item("e.py::one"),
    ]  # fmt: skip
    ordered = [item.nodeid for item in longest_first(cast("list[pytest.Item]", items))]
    assert ordered == [
        f"{TOGETHER}/d.py::one", f"{TOGETHER}/c.py::one", "b.py::one", "b.py::two", "a.py::one", "a.py::two",
        "e.py::one",
    ]  # fmt: skip
