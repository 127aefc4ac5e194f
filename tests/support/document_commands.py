"""The commands of a document, run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tests.support import OPA, SIDECAR
from tests.support.peer import SECONDS


def command_blocks(text: str) -> list[str]:
    """The blocks of shell commands of a document, in their order."""
    return re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S)


def environment(folder: Path, programs: Path | None = None) -> dict[str, str]:
    """The environment of a reader whose `sidecar` is ours, and keeps its state in a folder."""
    path = [str(programs)] if programs is not None else []
    # As wide as in a document, whatever the terminal of whoever runs the tests.
    inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    return {
        **inherited,
        "PATH": os.pathsep.join([*path, str(SIDECAR.parent), os.environ["PATH"]]),
        "SIDECAR_OPA_BIN": str(OPA),
        "XDG_STATE_HOME": str(folder / "state"),
    }


def run_commands(script: str, folder: Path, programs: Path | None = None) -> list[str]:
    """The lines that commands print, run by bash in an empty folder; what they leave in the background is ended.

    `sidecar` is ours, and its state is in the folder; `programs` is a folder of more programs.
    """
    done = subprocess.run(
        ["bash", "-c", f"set -em\ntrap 'kill %1 2>/dev/null || true' EXIT\n{script}"], cwd=folder,
        env=environment(folder, programs), capture_output=True, text=True, timeout=4 * SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()
