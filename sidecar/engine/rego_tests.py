"""Runs the tests of hand-written Rego with `opa test`, and tells which of its lines they reach.

A test may come from anybody who proposes a change, and runs before anybody has read it. So it reaches no network and no
file: it has no function that could, and no schema, which OPA would fetch while it compiles.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sidecar.engine import capabilities
from sidecar.engine.capabilities import Builtin
from sidecar.engine.environment import passed
from sidecar.errors import PolicyError, StartError
from sidecar.policy.bundle import write
from sidecar.policy.custom import shown
from sidecar.policy.custom_builtins import IN_TESTS
from sidecar.policy.problem import Place, Problem
from sidecar.system import temporary_folders

_SECONDS: Final = 120
_UNDEFINED: Final = re.compile(r"undefined function (\S+)")


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

    Raises `StartError` where OPA cannot read them, `PolicyError` for what no test may have.
    """
    known = capabilities.known(opa)
    closed = {str(one["name"]) for one in known["builtins"] if not _may(one)}
    with temporary_folders.folder() as folder, temporary_folders.folder() as beside:
        write(dict(files), folder)
        _refuse_schemas(_inspected(opa, folder), below)
        (beside / "capabilities.json").write_text(capabilities.limited(known, _may), encoding="utf-8")
        limit = ("--capabilities", str(beside / "capabilities.json"))
        tests = tuple(_test(item) for item in _tested(opa, folder, closed, *limit))
        if any(test.failed for test in tests) or not any(not test.skipped for test in tests):
            return RegoTests(tests, ())
        found: dict[str, Any] = _tested(opa, folder, closed, *limit, "--coverage", "--coverage-runs", "")["files"]
    about = {path.removeprefix("/"): item for path, item in sorted(found.items())}
    return RegoTests(
        tests,
        tuple(
            Coverage(path, item.get("covered_lines", 0), tuple(sorted(_lines(item.get("not_covered", [])))))
            for path, item in about.items()
            if path.startswith(f"{below}/") and not path.endswith("_test.rego")
        ),
    )


def _may(builtin: Builtin) -> bool:
    return not builtin.get("nondeterministic") or builtin["name"] in IN_TESTS


def _refuse_schemas(found: Mapping[str, Any], below: str) -> None:
    """Raise `PolicyError` for each annotation with a schema; our own library may have some."""
    words = "a schema can be fetched from anywhere: remove it"
    problems = {
        Problem(Place(shown(one["location"]["file"]), one["location"]["row"], 1), "schemas", words)
        for one in found.get("annotations") or ()
        if "schemas" in one["annotations"] and one["location"]["file"].startswith(f"{below}/")
    }
    if problems:
        raise PolicyError([str(problem) for problem in sorted(problems)])


def _inspected(opa: Path, folder: Path) -> Any:
    """What OPA sees in the files by reading them, before it compiles any."""
    return _answer(_run(opa, folder, "inspect", "--annotations", "--format", "json", "."))


def _tested(opa: Path, folder: Path, closed: Iterable[str], *options: str) -> Any:
    done = _run(opa, folder, "test", "--bundle", ".", "--format", "json", *options)
    if used := sorted(set(_UNDEFINED.findall(done.stderr)).intersection(closed)):
        names = ", ".join(used)
        raise StartError(
            f"opa cannot run the tests: {done.stderr.strip()}; no test reaches the network or files: write what "
            f"{names} would give into the test"
        )
    return _answer(done)


def _run(opa: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    # From within the folder, so that the places which OPA tells are paths in the bundle.
    try:
        return subprocess.run(
            [str(opa.absolute()), *words], capture_output=True, encoding="utf-8", errors="replace", timeout=_SECONDS,
            check=False, env=passed(), cwd=folder,
        )  # fmt: skip
    except OSError as error:
        raise StartError(f"cannot run {opa}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise StartError(f"the tests of the Rego had not ended after {_SECONDS} s: make them smaller") from None


def _answer(done: subprocess.CompletedProcess[str]) -> Any:
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
