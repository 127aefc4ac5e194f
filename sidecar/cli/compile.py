"""`sidecar compile`: the Rego bundle of a policy as files that a person can read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sidecar.cli.options import Config, OpaBin
from sidecar.engine import binary
from sidecar.errors import StartError
from sidecar.policy.bundle import Bundle, build, write
from sidecar.policy.compile import compile_policy
from sidecar.repository.load import find, load


def compile_command(
    config: Config,
    output: Annotated[Path, typer.Option("-o", "--output", envvar="SIDECAR_OUTPUT", help="The folder to write.")],
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail when the folder differs.")] = False,
    opa_bin: OpaBin = None,
) -> int:
    """Compile a policy file to a folder of Rego."""
    policy, warnings = load(find(config), lambda: binary.find(opa_bin))
    for warning in warnings:
        print(warning, file=sys.stderr)
    bundle = build(compile_policy(policy), serial=1)
    try:
        return _check(bundle, config, output) if check else _write(bundle, output)
    except OSError as error:
        raise StartError(f"cannot use the folder {output}: {error.strerror}; name another with -o") from None


def _check(bundle: Bundle, config: list[Path], folder: Path) -> int:
    there = _there(folder)
    differing = sorted(path for path in there | bundle.files.keys() if _content(folder, path) != bundle.files.get(path))
    options = " ".join(f"-c {path}" for path in config)
    for path in differing:
        print(f"{folder / path}: differs; run `sidecar compile {options} -o {folder}`", file=sys.stderr)
    return 1 if differing else 0


def _write(bundle: Bundle, folder: Path) -> int:
    if foreign := sorted(path for path in _there(folder) - bundle.files.keys() if not _is_ours(folder, path)):
        raise StartError(f"{folder / foreign[0]} is not of our making: name an empty folder with -o")
    for path in _there(folder) - bundle.files.keys():
        (folder / path).unlink()
    write(bundle.files, folder)
    return 0


def _there(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def _content(folder: Path, path: str) -> str | None:
    file = folder / path
    return file.read_text(encoding="utf-8") if file.is_file() else None


def _is_ours(folder: Path, path: str) -> bool:
    """True for a file that an earlier compilation may have left here."""
    return path.startswith("intercept/") and (folder / ".manifest").is_file()
