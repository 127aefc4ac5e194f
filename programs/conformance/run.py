"""One run of the official suite: the process, and what it wrote about each check."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any, Final

from programs.conformance.compare import Check, Key
from tests.support.node import NODE, package

SUITE: Final = package("@modelcontextprotocol/conformance", "dist/index.js")
REQUIREMENTS: Final = ("2025-11-25", "2026-07-28")
"""The sets of requirements, each named for the revision that asks for them."""

SECONDS: Final = 240.0

_FOLDER: Final = re.compile(r"server-(?P<scenario>.+)-\d{4}-\d\d-\d\dT[\d-]+Z")


class Failed(Exception):
    """The suite did not come to the end."""


def run(url: str, requirements: str, folder: Path) -> tuple[Check, ...]:
    """Run the checks that a set of requirements names; `folder` gets what the suite writes."""
    command = [str(NODE), str(SUITE), "server", "--url", url, "--requirements", requirements, "-o", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise Failed(f"the suite was not through after {SECONDS:g} s") from None
    if "=== SUMMARY ===" not in done.stdout:
        raise Failed(f"the suite broke off: {(done.stderr or done.stdout)[-1000:]}")
    return read(requirements, folder)


def read(requirements: str, folder: Path) -> tuple[Check, ...]:
    """The checks that the suite wrote into a folder, one folder in it for each scenario."""
    checks: list[Check] = []
    for path in sorted(folder.glob("server-*/checks.json")):
        found = _FOLDER.fullmatch(path.parent.name)
        if found is None:
            raise Failed(f"{path.parent.name} is not named as the suite names its folders")
        checks += of_scenario(requirements, found["scenario"], json.loads(path.read_text()))
    return tuple(checks)


def of_scenario(requirements: str, scenario: str, written: list[dict[str, Any]]) -> list[Check]:
    """The checks of one scenario; what only informs is left out, because it is no verdict."""
    seen: Counter[tuple[str, str]] = Counter()
    checks: list[Check] = []
    for one in written:
        id_, name, status = str(one["id"]), str(one.get("name", "")), str(one["status"])
        if status == "INFO":
            continue
        seen[id_, name] += 1
        key = Key(requirements, scenario, id_, name, seen[id_, name])
        checks.append(Check(key, status, str(one.get("errorMessage") or "")))
    return checks
