"""The lines in the audit log of a state folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

DECIDED: Final = ("decision", "approval", "approval_refused")


def every_line(state: Path) -> list[dict[str, Any]]:
    """All lines of every sidecar that used this folder, in the order of the files' names."""
    files = sorted((state / "events").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def decided_lines(state: Path) -> list[dict[str, Any]]:
    """Those that say what was decided, by the engine or by people."""
    return [line for line in every_line(state) if line["event"] in DECIDED]
