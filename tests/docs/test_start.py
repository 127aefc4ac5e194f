"""docs/start.md: its first refusal goes as it says, and what it shows for each client serves the policy."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest

from tests.docs.walk import Walk
from tests.support import OPA, ROOT, SIDECAR
from tests.support.peer import PATIENT, SECONDS, Peer, denied
from tests.wire.http.server import Upstream

TEXT: Final = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
SECTIONS: Final = dict(part.split("\n", 1) for part in re.split(r"^###? ", TEXT, flags=re.M)[1:])
JSON: Final = {
    title: json.loads(found[1])
    for title, part in SECTIONS.items()
    if (found := re.search(r"^```json\n(.*?)^```", part, re.M | re.S))
}
(CODEX,) = re.findall(r"^```toml\n(.*?)^```", TEXT, re.M | re.S)
(POLICY,) = re.findall(r"^cat > policy.yaml <<'END'\n(.*?)^END$", TEXT, re.M | re.S)
(INSTALLED,) = [block for block in re.findall(r"^```sh\n.*?^```$", TEXT, re.M | re.S) if "sidecar version" in block]
KEYS: Final = {"VS Code": "servers", "Zed": "context_servers"}
"""Where a client's file has its servers, if not under `mcpServers`."""
STARTED: Final = {
    client: JSON[client][KEYS.get(client, "mcpServers")]["git"]
    for client in ("Claude Code", "Claude Desktop", "Cursor", "VS Code", "Zed", "Gemini CLI")
} | {"Codex": tomllib.loads(CODEX)["mcp_servers"]["git"]}
"""What each client starts."""
DIFFERENT: Final = {json.dumps([entry["args"], entry.get("env", {})]): client for client, entry in STARTED.items()}
"""One client of those that start the same."""
REFUSED: Final = "Agents do not reset here. Ask a person to do it."


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_first_refusal_goes_as_it_says(tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIDECAR_OPA_TIMEOUT", PATIENT[1])
    (tmp_path / "reader").mkdir()
    version = TEXT[TEXT.index(INSTALLED) :].partition("**`sidecar: command")[0]
    with Walk(tmp_path / "reader", programs) as reader:
        for part in (version, SECTIONS["Your first refusal"], SECTIONS["With the MCP Inspector"]):
            reader.go(part)


def test_each_client_has_its_file() -> None:
    assert {Path(entry["command"]).name for entry in STARTED.values()} == {"sidecar"}
    assert set(STARTED) - {"Codex"} | {"A client that connects to a URL", "A server that is already remote"} == set(
        JSON
    )
    assert (
        JSON["A client that connects to a URL"]["mcpServers"]["git"]["url"]
        in SECTIONS["A client that connects to a URL"].partition("```json")[0]
    )


@pytest.mark.slow
@pytest.mark.parametrize("client", DIFFERENT.values())
def test_what_a_client_starts_serves_the_policy(client: str, tmp_path: Path, programs: Path) -> None:
    assert_serves(STARTED[client], tmp_path, programs)


@pytest.mark.slow
def test_a_remote_server_gets_the_token_of_the_environment(tmp_path: Path) -> None:
    entry = JSON["A server that is already remote"]["mcpServers"]["remote"]
    (tmp_path / "policy.yaml").write_text(POLICY)
    with Upstream() as upstream:
        args = [word.replace("https://mcp.example.com/mcp", upstream.url) for word in entry["args"]]
        with started(args, tmp_path, entry["env"]) as sidecar:
            sidecar.initialize()
            assert denied(sidecar.call("git_reset")) == REFUSED
            assert denied(sidecar.call("git_status")) is None
    assert {asked.header("Authorization") for asked in upstream.seen} == {"Bearer TOKEN"}


def test_what_a_project_writes_is_what_its_commands_say() -> None:
    entry = JSON["Claude Code"]["mcpServers"]["git"]
    words = " ".join(SECTIONS["Claude Code"].split())
    assert f"`claude mcp add --scope project git -- {' '.join([entry['command'], *entry['args']])}`" in words


def assert_serves(entry: dict[str, Any], folder: Path, programs: Path) -> None:
    """A client that starts what its file says is refused what the policy forbids, and gets an answer to all else."""
    (folder / "policy.yaml").write_text(POLICY)
    subprocess.run(["git", "init", "--quiet", folder / "project"], check=True)
    real = {"/home/you/.local/bin/uvx": str(programs / "uvx"), "uvx": str(programs / "uvx")}
    args = [real.get(word, word.replace("/home/you", str(folder))) for word in entry["args"]]
    with started(args, folder, entry.get("env", {})) as sidecar:
        sidecar.initialize(4 * SECONDS)  # the server is a large program
        arguments = {"repo_path": str(folder / "project")}
        assert denied(sidecar.call("git_reset", arguments)) == REFUSED
        assert "Repository status" in sidecar.call("git_status", arguments)["result"]["content"][0]["text"]


def started(args: list[str], folder: Path, env: dict[str, str]) -> Peer:
    """What a client starts, in a folder of its own: paths in its file are whole."""
    assert args[0] == "run"
    args = [word.replace("/home/you", str(folder)) for word in args]
    path = os.pathsep.join([str(SIDECAR.parent), os.environ["PATH"]])
    return Peer(
        [str(SIDECAR), "run", *PATIENT, *args[1:]], folder,
        {"PATH": path, "SIDECAR_OPA_BIN": str(OPA), "XDG_STATE_HOME": str(folder / "state"), **env},
    )  # fmt: skip
