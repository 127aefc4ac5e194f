"""Runs the tests of hand-written Rego with `opa test`, and tells which of its lines they reach."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sidecar.engine.environment import passed
from sidecar.errors import StartError
from sidecar.policy.bundle import write
from sidecar.system import temporary_folders

_SECONDS: Final = 120


@dataclass(frozen=True, slots=True)
class RegoTest:
    """One test and what became of it; `skipped` are those whose name begins with `todo_`.

    `why` is what it printed, and what OPA says of an error in it.
    """

    name: str
    file: str
    line: int
    seconds: float
    failed: bool
    skipped: bool
    why: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """Which lines of a file tests reached. `missed` are the lines that none did, each once."""

    file: str
    covered: int
    missed: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RegoTests:
    """All tests, and the coverage of the files that they are about; empty where a test failed."""

    tests: tuple[RegoTest, ...]
    coverage: tuple[Coverage, ...]

    @property
    def failed(self) -> bool:
        """True where a test failed."""
        return any(test.failed for test in self.tests)

    @property
    def percent(self) -> float:
        """The share of lines that tests reached."""
        covered = sum(file.covered for file in self.coverage)
        lines = covered + sum(len(file.missed) for file in self.coverage)
        return 100 * covered / lines if lines else 0.0


def rego_tests(opa: Path, files: Mapping[str, str], below: str) -> RegoTests:
    """Run every test in the files of a bundle; coverage is told of the files under the path `below`.

    Raises `StartError` where OPA cannot read them.
    """
    with temporary_folders.folder() as folder:
        write(dict(files), folder)
        tests = tuple(_test(item) for item in _run(opa, folder))
        if any(test.failed for test in tests) or not any(not test.skipped for test in tests):
            return RegoTests(tests, ())
        found: dict[str, Any] = _run(opa, folder, "--coverage", "--coverage-runs", "")["files"]
    about = {path.removeprefix("/"): item for path, item in sorted(found.items())}
    return RegoTests(
        tests,
        tuple(
            Coverage(path, item.get("covered_lines", 0), tuple(sorted(_lines(item.get("not_covered", [])))))
            for path, item in about.items()
            if path.startswith(f"{below}/") and not path.endswith("_test.rego")
        ),
    )


def _run(opa: Path, folder: Path, *options: str) -> Any:
    # From within the folder, so that the places which OPA tells are paths in the bundle.
    command = [str(opa.absolute()), "test", "--bundle", ".", "--format", "json", *options]
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=_SECONDS, check=False,
            env=passed(), cwd=folder,
        )  # fmt: skip
    except OSError as error:
        raise StartError(f"cannot run {opa}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise StartError(f"the tests of the Rego had not ended after {_SECONDS} s: make them smaller") from None
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise StartError(
            f"opa cannot run the tests: {(done.stderr or done.stdout or 'it says nothing').strip()}"
        ) from None


def _test(item: dict[str, Any]) -> RegoTest:
    error, place = item.get("error"), item["location"]
    return RegoTest(
        name=f"{item['package'].removeprefix('data.')}.{item['name']}",
        file=place["file"].removeprefix("/"),
        line=place["row"],
        seconds=item.get("duration", 0) / 1e9,
        failed=bool(item.get("fail") or error),
        skipped=bool(item.get("skip")),
        why="\n".join(filter(None, [_printed(item), json.dumps(error) if error else ""])),
    )


def _printed(item: dict[str, Any]) -> str:
    return base64.b64decode(item.get("output", "")).decode(errors="replace").strip()


def _lines(ranges: list[dict[str, Any]]) -> set[int]:
    return {line for item in ranges for line in range(item["start"]["row"], item["end"]["row"] + 1)}
