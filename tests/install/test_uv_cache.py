"""uv keeps what it built from a folder: another run takes that only while nothing changed that goes into it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.install.places import UV, World, copy_of_the_tree, empty_home
from tests.install.test_opa_cache import BUILD, GO, program
from tests.support import ROOT

COMMAND: Final[list[str | Path]] = [UV.parent / "uvx", "--python", sys.executable, "--from"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A checkout whose OPA takes no time to build, and a home in which nothing is there yet."""
    checkout = copy_of_the_tree(tmp_path / "checkout")
    program(checkout / ".ci" / "build-opa", BUILD)
    program(tmp_path / "path" / "go", GO)
    env = empty_home(tmp_path / "home")
    env |= {"BUILDS": str(tmp_path / "builds"), "PATH": f"{tmp_path / 'path'}:{env['PATH']}"}
    return World(checkout, checkout, env, "")


def test_uvx_builds_again_after_a_change_or_another_choice_and_only_then(world: World) -> None:
    assert "opa: no opa binary" in world.run(
        "env", "SIDECAR_WHEEL_OPA=none", *COMMAND, world.checkout, "sidecar", "version"
    )
    first = world.run(*COMMAND, world.checkout, "sidecar", "version")
    assert re.search(r"^opa 1\.22\.4 ", first, re.MULTILINE)
    assert "Built" not in world.run(*COMMAND, world.checkout, "sidecar", "version")
    version = world.checkout / "sidecar" / "__init__.py"
    version.write_text(version.read_text().replace('"0.', '"9.'))
    assert re.search(r"^sidecar 9\.", world.run(*COMMAND, world.checkout, "sidecar", "version"), re.MULTILINE)


def test_every_kind_of_file_that_goes_into_a_wheel_is_a_reason_to_build_again() -> None:
    files = [path for path in (ROOT / "sidecar").rglob("*") if path.is_file() and "template" not in path.parts]
    kinds = {path.suffix for path in files} - {".pyc"}
    (named,) = re.findall(r"\*\*/\*\.\{([a-z,]+)\}", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert kinds <= {f".{kind}" for kind in named.split(",")}
