"""Clients as programs, and what they say came of listing the tools and of two calls."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support import ROOT
from tests.support.node import FOLDER, NODE, package

PYTHON_1: Final = ROOT / ".venv-v1" / "bin" / "python"
SECONDS: Final = 60.0

_PYTHON_CLIENT: Final = ROOT / "tests" / "peers" / "python_client.py"
_INSPECTOR: Final = package("@modelcontextprotocol/inspector", "clients/launcher/build/index.js")

PROGRAMS: Final = {
    "python-1": [str(PYTHON_1), str(_PYTHON_CLIENT)],
    "python-2": [sys.executable, str(_PYTHON_CLIENT)],
    "typescript": [str(NODE), str(FOLDER / "client.mjs")],
}
INSPECTOR: Final = "inspector"
CLIENTS: Final = (*PROGRAMS, INSPECTOR)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a client goes: `words` are a URL, or a command with its arguments."""

    transport: str
    words: Sequence[str]


@dataclass(frozen=True, slots=True)
class Came:
    """What came: the names of the tools, and the results of the call that is allowed and of the one that is not."""

    tools: list[str]
    allowed: Any
    denied: Any


def use(client: str, target: Target, folder: Path) -> Came:
    """Let a client do its part."""
    if client == INSPECTOR:
        return _inspect(target, folder)
    return Came(**json.loads(_output([*PROGRAMS[client], target.transport, *target.words], folder)))


def _inspect(target: Target, folder: Path) -> Came:
    """The Inspector does one thing at a time, and takes commands as clients do, from a file."""
    words = list(target.words)
    if target.transport == "stdio":
        command, *arguments = words
        servers = {"mcpServers": {"sidecar": {"command": command, "args": arguments}}}
        (folder / "mcp.json").write_text(json.dumps(servers))
        words = ["--config", str(folder / "mcp.json"), "--server", "sidecar"]
    base = [str(NODE), str(_INSPECTOR), "--cli", *words, "--method"]
    listed = json.loads(_output([*base, "tools/list"], folder))["tools"]
    allowed, denied = (
        json.loads(_output([*base, "tools/call", "--tool-name", *call], folder))
        for call in (["test_echo", "--tool-arg", "text=Grüezi"], ["test_simple_text"])
    )
    return Came([tool["name"] for tool in listed], allowed, denied)


def _output(command: Sequence[str], folder: Path) -> str:
    """What a client printed; the Inspector's exit status tells of a result with an error."""
    env = {**os.environ, "HOME": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False, cwd=folder, env=env)
    assert done.stdout.strip(), f"it printed nothing, ended with {done.returncode} and said: {done.stderr[-2000:]}"
    return done.stdout
