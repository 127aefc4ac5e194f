"""Who we are to a place that has bundles: the option and the variables, for whoever fetches and whoever publishes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

from sidecar.distribution.access import Access
from sidecar.errors import SourceUnavailable, UsageError
from sidecar.system import files, ownership
from sidecar.system.taken_secrets import TakenSecrets

TOKEN: Final = "SIDECAR_POLICY_TOKEN"  # noqa: S105 - the name of a variable
MAX_TOKEN_FILE: Final = 64 << 10
"""Bytes of a file with a token; those of some clouds are long."""

PolicyTokenFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--policy-token-file", envvar="SIDECAR_POLICY_TOKEN_FILE", metavar="PATH", show_default=False,
        help=f"A file with the token, or name:password, for the place of the bundle; or give it as text in {TOKEN}.",
    ),
]  # fmt: skip


def access(token_file: Path | None, taken: TakenSecrets) -> Access:
    """What to show to a place of bundles. The file is read each time, since it may be renewed. Raises `UsageError`."""
    if token := taken.take(TOKEN):
        if token_file is not None:
            raise UsageError(f"{TOKEN} and --policy-token-file are two answers to one question: give one of them")
        return Access(token.strip, _docker())
    if token_file is None:
        return Access(docker=_docker())
    ownership.check(token_file, "--policy-token-file", secret=True)
    return Access(_reader(token_file), _docker())


def _reader(path: Path) -> Callable[[], str]:
    def read() -> str:
        try:
            return files.read(path, MAX_TOKEN_FILE).data.decode().strip()
        except files.Unreadable as error:
            raise SourceUnavailable(f"cannot read the token {path}: {error}; see --policy-token-file") from None
        except UnicodeDecodeError:
            raise SourceUnavailable(f"{path} holds no token: write it alone, on one line") from None

    return read


def _docker() -> Path | None:
    """Docker's `config.json`."""
    if folder := os.environ.get("DOCKER_CONFIG"):
        return Path(folder) / "config.json"
    try:
        return Path.home() / ".docker" / "config.json"
    except RuntimeError:  # a user without a home
        return None
