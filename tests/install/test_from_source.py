"""Installing from source, with the real pip and uv in an empty home, gives a whole sidecar; OPA is built once for all.

Building it takes minutes: `make install-test`. It is also another build of the pinned OPA, which gives the same bytes.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.install.places import UV, World
from tests.support import OPA, ROOT, STUB
from tests.support.peer import PATIENT, Peer, denied

POLICY: Final = "tools: {t: {rules: [{conditions: [{path: args.a, op: lt, value: 100}], reason: Too much}]}}\n"
pytestmark = [pytest.mark.install, pytest.mark.timeout(2700)]


def decides(command: list[str | Path], world: World, folder: Path) -> None:
    """A sidecar that is started so lets one call pass and refuses another."""
    (folder / "policy.yaml").write_text(POLICY)
    # First, since uvx installs it then.
    assert re.search(
        r"^opa 1\.22\.4 \(.*/site-packages/sidecar/bin/opa\)$", world.run(*command, "version"), re.MULTILINE
    )
    words = [*command, "run", "-c", folder / "policy.yaml", "--state-dir", folder / "state", *PATIENT, "--"]
    with Peer([*map(str, words), "python3", "-S", "-E", str(STUB)], folder, world.env) as sidecar:
        sidecar.initialize()
        assert denied(sidecar.call("t", {"a": 1})) is None
        assert denied(sidecar.call("t", {"a": 100})) == "Too much"


def test_a_tool_that_uv_installs_from_git_decides(world: World, tmp_path: Path) -> None:
    decides([world.home / ".local" / "bin" / "sidecar"], world, tmp_path)


def test_the_build_tells_how_far_it_is_and_its_totals_are_right(world: World) -> None:
    recipe = (ROOT / ".ci" / "build-opa").read_text(encoding="utf-8")
    totals = {name: re.findall(rf"^{name}=(\d+)", recipe, re.MULTILINE)[0] for name in ("modules", "packages")}
    assert f"  in all: {totals['modules']} modules fetched, {totals['packages']} packages compiled" in world.said
    assert f"  50 of {totals['packages']} packages compiled" in world.said


def test_what_was_built_is_what_every_build_with_the_same_go_gives_and_nothing_else_stays(world: World) -> None:
    cache = world.home / ".cache" / "intercept-sidecar" / "opa"
    (kept,) = (path for path in cache.iterdir() if path.is_dir())
    assert sorted(path.name for path in kept.iterdir()) == ["opa", "opa.sha256"]
    assert not (world.home / ".config" / "go").exists()
    go = kept.name.rpartition("-")[2].encode()
    sums = (ROOT / ".ci" / "opa-sums.txt").read_text(encoding="utf-8")
    key = kept.name.partition("-")[2]  # behind the hash of the scripts
    assert f"{(kept / 'opa.sha256').read_text().strip()} {key}" in sums.splitlines()
    if go + b"\n" in OPA.read_bytes() or go + b"\0" in OPA.read_bytes():
        assert (kept / "opa").read_bytes() == OPA.read_bytes()


@pytest.fixture(params=["folder", "git"])
def source(request: pytest.FixtureRequest, world: World) -> str:
    """What stands for the sidecar on a command line."""
    return str(world.checkout) if request.param == "folder" else f"git+file://{world.clone}"


def test_what_pip_installs_decides(source: str, world: World, tmp_path: Path) -> None:
    world.run(sys.executable, "-m", "venv", tmp_path / "venv")
    said = world.run(tmp_path / "venv" / "bin" / "pip", "install", "-v", source)
    assert "building OPA" not in said
    decides([tmp_path / "venv" / "bin" / "sidecar"], world, tmp_path)


def test_what_pip_installs_from_an_sdist_decides(world: World, tmp_path: Path) -> None:
    world.run(UV, "build", "--sdist", "--python", sys.executable, "--out-dir", tmp_path, world.checkout)
    (sdist,) = tmp_path.glob("*.tar.gz")
    world.run(sys.executable, "-m", "venv", tmp_path / "venv")
    assert "building OPA" not in world.run(tmp_path / "venv" / "bin" / "pip", "install", "-v", sdist)
    decides([tmp_path / "venv" / "bin" / "sidecar"], world, tmp_path)


def test_uvx_runs_it(source: str, world: World, tmp_path: Path) -> None:
    decides([UV.parent / "uvx", "--python", sys.executable, "--from", source, "sidecar"], world, tmp_path)


def test_an_editable_install_brings_no_opa_and_says_what_to_do(world: World, tmp_path: Path) -> None:
    world.run(UV, "venv", "--python", sys.executable, tmp_path / "venv")
    world.run(UV, "pip", "install", "--python", tmp_path / "venv", "--editable", world.checkout)
    (tmp_path / "policy.yaml").write_text(POLICY)
    done = subprocess.run(
        [tmp_path / "venv" / "bin" / "sidecar", "explain", "-c", tmp_path / "policy.yaml", "t"],
        env=world.env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "no opa binary: run `make opa` in this checkout" in done.stderr
