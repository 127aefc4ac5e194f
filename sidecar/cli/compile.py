"""`sidecar compile`: the Rego bundle of a policy as files that a person can read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sidecar.cli.options import ConfigOrFiles, Files, OpaBin, policies
from sidecar.cli.printing import complain
from sidecar.engine import binary
from sidecar.errors import StartError
from sidecar.policy.bundle import Bundle, build, write
from sidecar.policy.compile import compile_policy
from sidecar.repository.compiled import differing, odd, there
from sidecar.repository.load import find, load
from sidecar.text import of_system


def compile_command(
    ctx: typer.Context,
    output: Annotated[
        Path, typer.Option("-o", "--output", envvar="SIDECAR_OUTPUT", metavar="DIR", help="The folder to write.")
    ],
    files: Files = None,
    config: ConfigOrFiles = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing, and end with 1 when the folder differs.")
    ] = False,
    opa_bin: OpaBin = None,
) -> int:
    """Write the Rego that OPA decides by to a folder, as files that you can read."""
    named = policies(ctx, config, files)
    policy, warnings = load(find(named), lambda: binary.find(opa_bin))
    complain(*map(str, warnings))
    bundle = build(compile_policy(policy), serial=1)
    try:
        return _check(bundle, named, output) if check else _write(bundle, output)
    except OSError as error:
        raise StartError(f"cannot use the folder {output}: {error.strerror}; name another with -o") from None


def _check(bundle: Bundle, config: list[Path], folder: Path) -> int:
    options = " ".join(f"-c {path}" for path in config)
    differ = differing(bundle.files, folder)
    for path in differ:
        complain(f"{folder / path}: differs; run `sidecar compile {options} -o {folder}`")
    return 1 if differ else 0


def _write(bundle: Bundle, folder: Path) -> int:
    if link := odd(folder):
        raise StartError(f"{of_system(link)}, not of our making: name an empty folder with -o")
    if foreign := sorted(path for path in there(folder) - bundle.files.keys() if not _is_ours(folder, path)):
        raise StartError(f"{folder / foreign[0]} is not of our making: name an empty folder with -o")
    for path in there(folder) - bundle.files.keys():
        (folder / path).unlink()
    write(bundle.files, folder)
    return 0


def _is_ours(folder: Path, path: str) -> bool:
    """True for a file that an earlier compilation may have left here."""
    return path.startswith("intercept/") and (folder / ".manifest").is_file()
