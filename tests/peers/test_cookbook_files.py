"""The cookbook's recipe for files before the real filesystem server: what it holds, and the link that it does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.cookbook import RECIPES
from tests.support.node import NODE, package
from tests.support.peer import Sidecar, denied

pytestmark = pytest.mark.slow

SERVER = package("@modelcontextprotocol/server-filesystem", "dist/index.js")


class Files:
    """The server, which may use the whole of a folder, and the recipe for `project` below it."""

    def __init__(self, sidecar: Sidecar, folder: Path) -> None:
        self.sidecar = sidecar
        self.folder = folder
        self.project = folder / "project"

    def call(self, tool: str, arguments: dict[str, Any]) -> str | None:
        """What the agent reads; None where the policy refuses the call."""
        reply = self.sidecar.call(tool, arguments)
        if denied(reply) is not None:
            return None
        text: str = reply["result"]["content"][0]["text"]
        return text


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    folder = tmp_path_factory.mktemp("files").resolve()
    root = folder / "root"
    for path in ("project/out", "project/notes", "project-old"):
        (root / path).mkdir(parents=True)
    for path in ("secret.txt", "project-old/secret.txt"):
        (root / path).write_text("what no agent reads")
    (root / "project" / "a.txt").write_text("what agents read")
    (root / "project" / "link").symlink_to(root)
    policy = RECIPES["Files below one folder"].replace("/srv/project", f"{root}/project")
    with Sidecar(folder, policy, server=[str(NODE), str(SERVER), str(root)]) as sidecar:
        sidecar.initialize()
        yield Files(sidecar, root)


OUTSIDE = [
    "{root}/secret.txt", "{project}/../secret.txt", "{project}/x/../../secret.txt", "{project}/./..//secret.txt",
    "{project}-old/secret.txt", "{project}/../project-old/secret.txt", "{root}//secret.txt",
]  # fmt: skip
"""Ways to a file outside of the folder, all of which the server goes."""
NOWHERE = ["secret.txt", "../secret.txt", "~/secret.txt", "{project}\\..\\secret.txt", "{project}/../secret.txt "]


def paths(files: Files, texts: list[str]) -> list[str]:
    return [text.format(root=files.folder, project=files.project) for text in texts]


def test_the_server_alone_reads_outside_of_the_folder(tmp_path: Path, files: Files) -> None:
    with Sidecar(tmp_path, "tools: {}", server=[str(NODE), str(SERVER), str(files.folder)]) as sidecar:
        sidecar.initialize()
        for path in paths(files, OUTSIDE):
            reply = sidecar.call("read_text_file", {"path": path})
            assert "what no agent reads" in reply["result"]["content"][0]["text"], path


def test_a_file_is_read_below_the_folder_only(files: Files) -> None:
    for path in paths(files, ["{project}/a.txt", "{project}/./out/../a.txt", "{root}/x/../project//a.txt"]):
        for tool in ("read_text_file", "read_file"):
            assert files.call(tool, {"path": path}) == "what agents read", path
    for path in paths(files, OUTSIDE + NOWHERE):
        for tool in ("read_text_file", "read_file", "read_media_file", "list_directory"):
            assert files.call(tool, {"path": path}) is None, path


def test_one_path_outside_keeps_all_from_being_read(files: Files) -> None:
    good = f"{files.project}/a.txt"
    found = files.call("read_multiple_files", {"paths": [good, good]})
    assert found is not None
    assert found.count("what agents read") == 2
    for path in paths(files, OUTSIDE + NOWHERE):
        assert files.call("read_multiple_files", {"paths": [good, path]}) is None, path
        assert files.call("read_multiple_files", {"paths": path}) is None, path


def test_a_file_is_written_and_moved_below_the_open_folders_only(files: Files) -> None:
    written, moved = files.project / "out" / "new.txt", files.project / "out" / "moved.txt"
    assert files.call("write_file", {"path": str(written), "content": "x"}) is not None
    assert files.call("move_file", {"source": str(written), "destination": str(moved)}) is not None
    assert (written.exists(), moved.exists()) == (False, True)
    before = set(files.folder.rglob("*"))
    for path in paths(
        files, ["{project}/new.txt", "{project}/out/../new.txt", "{project}/outer.txt", *OUTSIDE, *NOWHERE]
    ):
        assert files.call("write_file", {"path": path, "content": "x"}) is None, path
        assert files.call("move_file", {"source": str(moved), "destination": path}) is None, path
        assert files.call("move_file", {"source": path, "destination": str(written)}) is None, path
    assert set(files.folder.rglob("*")) == before


def test_a_link_below_the_folder_leads_out_of_it(files: Files) -> None:
    assert files.call("read_text_file", {"path": f"{files.project}/link/secret.txt"}) == "what no agent reads"
