"""The `opa` binary: finds it, checks its version, and runs its commands on policies before they are in force."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from sidecar.engine.environment import passed
from sidecar.errors import StartError
from sidecar.policy.bundle import write
from sidecar.system import ownership, temporary_folders

GOOD_VERSIONS: Final = ("1.22.4", "1.22.2")
"""Newest first. Others are refused: several drop rules, leak, panic, or have a known vulnerability.

Before 1.21.3 the check of a bundle's signature can be bypassed, before 1.22.0 our authorization too; 1.21.0 to 1.22.0
ignore `x in {…}`.
"""

_PACKAGE = Path(__file__).parent.parent
_SECONDS = 20
_POLICY_SECONDS = 60
"""The largest policy that we read takes OPA some 13 s of processor time; the rest is for a busy machine."""


def find(given: Path | None) -> Path:
    """The OPA to use, as an absolute path: as given, else beside our package, in our tools folder, on the `$PATH`.

    A relative name could be looked up on the `$PATH` by who runs it: another program would be checked than the one that
    decides. Raises `StartError` if there is none, if somebody else could change it, or if its version is not known to
    be good.
    """
    path = _find(given).absolute()
    ownership.check(path, f"the opa binary {path}")
    version = version_of(path)
    if version not in GOOD_VERSIONS:
        good = " or ".join(GOOD_VERSIONS)
        raise StartError(f"{path} is OPA {version}: this sidecar needs {good}; name another one with --opa-bin")
    return path


@functools.cache
def version_of(path: Path) -> str:
    """The version of an OPA binary, which is asked once. Raises `StartError` if it cannot be run or reports none."""
    try:
        done = subprocess.run([path, "version"], capture_output=True, timeout=_SECONDS, check=False, env=passed())
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StartError(f"cannot run {path}: {_why(error)}; name an opa binary with --opa-bin") from None
    found = re.search(r"^Version: (\S+)", done.stdout.decode(errors="replace"), re.MULTILINE)
    if found is None:
        raise StartError(f"{path} does not say its version, so it is no opa binary; name one with --opa-bin")
    return found[1]


def check(opa: Path, files: dict[str, str]) -> None:
    """Try the files of a bundle with `opa check --strict`. Raises `StartError` with what it finds."""
    with temporary_folders.folder() as folder:
        write(files, folder)
        done = run([opa, "check", "--strict", "--bundle", folder])
        if done.returncode:
            found = (done.stderr or done.stdout).replace(f"{folder}/", "").strip()
            raise StartError(f"opa does not accept the compiled policy: {found}")


def bad_patterns(opa: Path, patterns: Iterable[str]) -> dict[str, str]:
    """The regular expressions that the engine refuses, each with its reason."""
    every = sorted(set(patterns))
    if not every:
        return {}
    query = "[pattern | some pattern in input; not regex.is_valid(pattern)]"
    return {pattern: _reason(opa, pattern) for pattern in json.loads(evaluate(opa, query, json.dumps(every)))}


def evaluate(opa: Path, query: str, document: str, files: dict[str, str] | None = None) -> str:
    """The value of a query, as JSON, with the JSON `document` as input, over the files of a bundle.

    Raises `StartError` if it is undefined.
    """
    command: list[Path | str] = [opa, "eval", "--format", "raw", "--strict-builtin-errors", "--stdin-input"]
    with temporary_folders.folder() as folder:
        if files:
            write(files, folder)
            command += ["--bundle", folder]
        done = run([*command, query], document)
    if done.returncode or not done.stdout.strip():
        raise StartError(f"opa cannot evaluate {query}: {(done.stderr or done.stdout or 'no result').strip()[:400]}")
    return done.stdout


def _reason(opa: Path, pattern: str) -> str:
    done = run(
        [opa, "eval", "--format", "json", "--strict-builtin-errors", "--stdin-input", 'regex.match(input, "")'],
        json.dumps(pattern),
    )
    found = re.search(r'"message": "regex.match: error parsing regexp: (.*)"', done.stdout)
    return str(json.loads(f'"{found[1]}"')) if found else "it is no RE2 pattern"


def run(command: list[Path | str], stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run one command of OPA's to its end. Raises `StartError` if it cannot be run, or does not end in time."""
    try:
        return subprocess.run(
            command, input=stdin, capture_output=True, encoding="utf-8", errors="replace", timeout=_POLICY_SECONDS,
            check=False, env=passed(),
        )  # fmt: skip
    except OSError as error:
        raise StartError(f"cannot run {command[0]}: {_why(error)}") from None
    except subprocess.TimeoutExpired:
        raise StartError(
            f"opa {command[1]} had not looked through the policy after {_POLICY_SECONDS} s: write fewer rules, or give "
            "it a machine that is faster or less busy"
        ) from None


def run_bounded(command: list[Path | str], most: int) -> str | None:
    """What a command of OPA's says on both its outputs; None if that is more than `most` bytes, or takes too long.

    Raises `StartError` if it cannot be run.
    """
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=passed())
    except OSError as error:
        raise StartError(f"cannot run {command[0]}: {_why(error)}") from None
    late = threading.Event()

    def stop() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(_SECONDS, stop)
    timer.start()
    with process:
        try:
            assert process.stdout is not None  # it is a pipe
            said = process.stdout.read(most + 1)
        finally:
            timer.cancel()
            process.kill()
    return None if len(said) > most or late.is_set() else said.decode("utf-8", "replace")


def _find(given: Path | None) -> Path:
    if given is not None:
        return given
    for path in (_PACKAGE / "bin" / "opa", _PACKAGE.parent / ".tools" / "bin" / "opa"):
        if path.is_file():
            return path
    if on_path := shutil.which("opa"):
        return Path(on_path)
    if (_PACKAGE.parent / ".ci" / "build-opa").is_file():
        remedy = "run `make opa` in this checkout"
    else:
        # uv keeps what it built from a git URL, and takes it again whatever the environment says.
        remedy = (
            "install the sidecar again, without SIDECAR_WHEEL_OPA=none (with uv, after `uv cache clean "
            "intercept-sidecar`)"
        )
    raise StartError(
        f"no opa binary: {remedy}, put opa {GOOD_VERSIONS[0]} on the PATH, or name it with --opa-bin or OPA_BIN"
    )


def _why(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else "it does not end"
