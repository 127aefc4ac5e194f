"""The commands at the beginning of docs/policy-repo.md, as they stand there, and what they do to a running sidecar."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.policy_repo.conftest import Figures
from tests.policy_repo.following import measured
from tests.support import OPA, ROOT, SIDECAR, STUB
from tests.support.peer import PATIENT, SECONDS, Peer, denied, until

pytestmark = [pytest.mark.policy_repo, pytest.mark.timeout(240)]

TEXT = (ROOT / "docs" / "policy-repo.md").read_text(encoding="utf-8")
BEGIN, CHANGE, BACK = re.findall(r"^```sh\n(.*?)^```$", TEXT, re.M | re.S)
(CLIENT,) = re.findall(r"^```json\n(.*?)^```$", TEXT, re.M | re.S)
SHORT = {"amount": 5, "side": "short"}


def test_the_commands_of_the_document_do_what_it_says(
    tmp_path: Path, figures: Figures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{SIDECAR.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SIDECAR_OPA_BIN", str(OPA))
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "author")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "author@example.com")
    play(BEGIN, tmp_path)
    monkeypatch.chdir(tmp_path)
    with Peer(client_command(), tmp_path, {"XDG_STATE_HOME": str(tmp_path)}) as sidecar:
        sidecar.wait_for_error("ready\n", 2 * SECONDS)
        sidecar.initialize()
        assert denied(sidecar.call("place_order", SHORT)) == "An order buys or sells at most 1000"
        assert denied(sidecar.call("list_orders", {})) is None
        until(lambda: "short" in (tmp_path / "calls.jsonl").read_text(), what="the recorded call")
        play(CHANGE, tmp_path)
        figures.note("the document's change: in force", measured(lambda: short_passes(sidecar)))
        play(BACK, tmp_path)
        figures.note("the document's way back: in force", measured(lambda: not short_passes(sidecar)))


def test_a_command_that_ends_otherwise_than_it_says_is_noticed(tmp_path: Path) -> None:
    play("(exit 4)  # ends with 4: as it should\ntrue\n", tmp_path)
    for wrong in ("false\n", "true  # ends with 4: and it does not\n"):
        with pytest.raises(AssertionError):
            play(wrong, tmp_path)


def play(block: str, folder: Path) -> None:
    """Run the lines of a block one after the other, in one shell; each must end as its comment says, or with 0."""
    lines = [line for line in block.splitlines() if line]
    script = "".join(f'{line}\necho "$?" >&3\n' for line in lines)
    statuses, writing = os.pipe()
    try:
        done = subprocess.run(
            ["bash", "-c", f"exec 3>&{writing}\n{script}"], cwd=folder, pass_fds=[writing], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=8 * SECONDS, check=False,
        )  # fmt: skip
    finally:
        os.close(writing)
        with open(statuses) as file:  # noqa: PTH123 - a pipe has no path
            ended = [int(line) for line in file]
    for line, status in zip(lines, ended, strict=True):
        said = re.search(r"# ends with (\d)", line)
        assert status == int(said[1] if said else 0), f"{line}\nended with {status}:\n{done.stdout}"


def client_command() -> list[str]:
    """What the client of the document starts, with the stub in place of its server."""
    (server,) = json.loads(CLIENT)["mcpServers"].values()
    words = [server["command"], *server["args"]]
    return [*words[: words.index("--")], *PATIENT, "--", sys.executable, "-S", "-E", str(STUB)]


def short_passes(sidecar: Peer) -> bool:
    """True if policy lets an order pass that the first policy refused, or only a limit stops it."""
    return denied(sidecar.call("place_order", SHORT)) != "An order buys or sells at most 1000"
