"""A home in which the sidecar was installed from source, once for all tests: that builds OPA, which takes minutes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.install.places import UV, World, copy_of_the_tree, empty_home


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    checkout, clone = copy_of_the_tree(folder / "checkout"), folder / "clone.git"
    subprocess.run(["git", "clone", "-q", "--bare", checkout, clone], check=True, timeout=60)
    before = World(checkout, clone, empty_home(folder / "home"), "")
    said = before.run(UV, "tool", "install", "-v", "--python", sys.executable, f"git+file://{clone}")
    return World(checkout, clone, before.env, said)
