"""docs/http.md: the commands that it begins with, and those that ask for a token, run as they stand there."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Final

from tests.support import ROOT, STUB
from tests.support.document_commands import command_blocks, run_commands
from tests.support.ports import free_port

TEXT: Final = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")
SERVER: Final = "uvx mcp-server-time"
READY: Final = "until sidecar health 2>/dev/null; do sleep 0.1; done\n"


def section(heading: str) -> str:
    """The text under a heading, up to the next one."""
    return TEXT.partition(f" {heading}\n")[2].partition("\n#")[0]


def run(start: str, look: str, folder: Path) -> list[str]:
    """What the commands print that are for another terminal, in front of a server of the tests."""
    script = f"export HOME={shlex.quote(str(folder))} SIDECAR_TELEMETRY=127.0.0.1:0\n{start.rstrip()} &\n{READY}{look}"
    server = shlex.join([sys.executable, str(STUB)])
    assert SERVER in script
    return run_commands(script.replace(SERVER, server).replace("8080", str(free_port())), folder)


def test_a_session_is_opened_as_the_page_begins(tmp_path: Path) -> None:
    start, look = command_blocks(section("Start"))[:2]
    lines = run(start, look, tmp_path)
    assert "HTTP/1.1 200 OK" in lines
    assert [line for line in lines if line.startswith("mcp-session-id: ")]


def test_who_has_no_token_is_refused_and_who_has_one_is_told_to_open_a_session(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("default: deny\n")
    start, look = command_blocks(section("Tokens from a file"))
    refused, admitted = run(start, look, tmp_path)[-2:]
    assert refused.startswith("HTTP/1.1 401")
    assert "initialize first" in admitted
    (tokens,) = tmp_path.glob(".config/*/tokens")
    assert tokens.stat().st_mode & 0o777 == 0o600


def test_no_page_writes_a_secret_that_others_can_read_for_a_moment() -> None:
    for page in (ROOT / "docs").glob("*.md"):
        for block in command_blocks(page.read_text(encoding="utf-8")):
            assert "chmod" not in block, f"{page.name}: write it under umask 077"
