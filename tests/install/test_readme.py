"""The commands of README.md run as pasted in an empty home, and the file for a client's `.mcp.json` does too."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Final

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp_types import CallToolResult, TextContent

from tests.install.newcomer import CACHE, SECONDS, Newcomer, arrive, blocks
from tests.install.places import UV, World
from tests.support import OPA, ROOT

pytestmark = [pytest.mark.install, pytest.mark.timeout(2 * SECONDS)]

README: Final = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS: Final = list(blocks(README))
PIPX: Final = ROOT / ".venv" / "bin" / "pipx"
MEGABYTES: Final = 300
"""What the demo may leave on the disk."""


def texts(heading: str, language: str) -> list[str]:
    """The blocks of one language under a heading."""
    return [block.text for block in BLOCKS if (block.heading, block.language) == (heading, language)]


WITH_UV, WITH_PIPX, WITH_PIP = texts("Install", "sh")
(POLICY,) = texts("Refuse a call", "yaml")
(CONFIGURATION,) = texts("Refuse a call", "json")
(TOLD,) = texts("Refuse a call", "")
ONE_CALL, NEXT = texts("Refuse a call", "sh")
DEMO, TEST = texts("Try it from a clone", "sh")


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory, world: World) -> Newcomer:
    """Somebody who installed the sidecar in the first way of README."""
    newcomer = arrive(tmp_path_factory.mktemp("readme"), world, UV, UV.with_name("uvx"))
    newcomer.run("! command -v go && ! command -v opa && ! command -v sidecar", newcomer.home)
    newcomer.run(WITH_UV, newcomer.clone)
    return newcomer


@pytest.fixture(scope="module")
def project(newcomer: Newcomer) -> Path:
    """A git repository with the two files of README in it."""
    folder = newcomer.home / "project"
    folder.mkdir()
    newcomer.run("git init -q .", folder)
    (folder.parent / "policy.yaml").write_text(POLICY, encoding="utf-8")
    (folder / ".mcp.json").write_text(CONFIGURATION, encoding="utf-8")
    return folder


def test_every_block_is_of_a_kind_that_is_tried_here() -> None:
    tried = {"Install", "Refuse a call", "Try it from a clone"}
    assert {block.heading for block in BLOCKS if block.language != "yaml"} == tried
    assert TEST.startswith("make test ")  # that is what CI runs: it is not run once more inside itself


def test_the_first_way_to_install_brings_opa_along(newcomer: Newcomer) -> None:
    said = newcomer.run("sidecar version", newcomer.home)
    assert f"({newcomer.home}/.local/share/uv/tools/intercept-sidecar/" in said


@pytest.mark.parametrize(("way", "tools"), [(WITH_PIPX, [PIPX]), (WITH_PIP, [])], ids=["pipx", "pip"])
def test_each_other_way_does_too_without_uv(way: str, tools: list[Path], world: World, tmp_path: Path) -> None:
    other = arrive(tmp_path, world, *tools)
    other.run("! command -v uv && ! command -v uvx", other.home)
    said = other.run(f"{way}\nsidecar version", other.clone)
    (opa,) = other.home.rglob("site-packages/sidecar/bin/opa")
    assert f"({opa})" in said
    (built,) = (world.home / CACHE).rglob("*/opa")
    assert opa.read_bytes() == built.read_bytes()


def test_one_call_is_refused_without_a_client_and_status_shows_it(newcomer: Newcomer, project: Path) -> None:
    is_refused(newcomer.run(ONE_CALL, project))


def test_it_is_refused_with_pipx_in_the_place_of_uvx(world: World, tmp_path: Path) -> None:
    other = arrive(tmp_path, world, PIPX)
    other.run(WITH_PIPX, other.clone)
    (other.home / "policy.yaml").write_text(POLICY, encoding="utf-8")
    other.run("pipx run mcp-server-git --help", other.home)  # a server that is still being installed ends badly
    assert "write `pipx run` instead of `uvx`" in README
    is_refused(other.run(ONE_CALL.replace("uvx ", "pipx run "), other.clone))


def is_refused(said: str) -> None:
    """The call is refused in the words of README, and `status` shows the line of the policy."""
    answer, _, status = said.partition("\n")
    assert text(CallToolResult.model_validate(json.loads(answer)["result"])) == TOLD.strip()
    assert ["1", "git_reset", "git_reset#1", "policy.yaml:4"] in [line.split() for line in status.splitlines()]


def test_a_client_that_is_configured_so_is_refused_one_tool_and_has_the_others(
    newcomer: Newcomer, project: Path
) -> None:
    assert asyncio.run(with_client(newcomer, project, "git_reset")) == (True, TOLD.strip())
    failed, said = asyncio.run(with_client(newcomer, project, "git_status"))
    assert (failed, said.partition("\n")[0]) == (False, "Repository status:")


async def with_client(newcomer: Newcomer, project: Path, tool: str) -> tuple[bool, str]:
    """What an MCP client gets that reads `.mcp.json` in the project's folder and calls a tool."""
    servers = json.loads((project / ".mcp.json").read_text(encoding="utf-8"))["mcpServers"]
    (server,) = servers.values()
    parameters = StdioServerParameters(**server, env=newcomer.env, cwd=project)
    with (project.parent / "stderr.txt").open("w") as errors:
        async with Client(stdio_client(parameters, errlog=errors), read_timeout_seconds=120) as client:
            result = await client.call_tool(tool, {"repo_path": str(project)})
    return bool(result.is_error), text(result)


def text(result: CallToolResult) -> str:
    """The text of a tool's result."""
    return "\n".join(part.text for part in result.content if isinstance(part, TextContent))


def test_what_comes_next_works_as_pasted(newcomer: Newcomer, project: Path) -> None:
    said = newcomer.run(NEXT, project)
    assert "Wrote ../first.yaml." in said
    assert "Policy file is valid." in said
    assert "allow" in said


def test_the_demo_sets_itself_up_is_light_and_is_gone_after_clean(newcomer: Newcomer) -> None:
    # The same script built that of the first install, in minutes, as it would build this one.
    (newcomer.clone / ".tools" / "bin").mkdir(parents=True)
    shutil.copy(OPA, newcomer.clone / ".tools" / "bin" / "opa")
    said = newcomer.run(DEMO, newcomer.clone)
    assert "As it must be" in said
    used = int(newcomer.run("du -sm .venv-demo .tools | awk '{sum += $1} END {print sum}'", newcomer.clone))
    assert used < MEGABYTES
    newcomer.run("make clean", newcomer.clone)
    assert newcomer.run("git status --ignored --porcelain", newcomer.clone) == ""
