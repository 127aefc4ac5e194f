"""The private key of a policy's publisher, which signs bundles: from a file or from the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

from sidecar.errors import StartError, UsageError
from sidecar.system import files, ownership
from sidecar.system.taken_secrets import TakenSecrets

KEY: Final = "SIDECAR_POLICY_KEY"
MAX_KEY_FILE: Final = 64 << 10

PolicyKey: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--key", metavar="PRIVATE.pem", show_default=False,
        help=f"The private key that signs the bundle; or as text in {KEY}.",
    ),
]  # fmt: skip


def private_key(path: Path | None, taken: TakenSecrets) -> str:
    """The PEM text of the key, empty where none was given. Raises `UsageError`, `StartError`."""
    text = taken.take(KEY)
    if path is None:
        return text
    if text:
        raise UsageError(f"--key and {KEY} are two answers to one question: give one of them")
    ownership.check(path, "--key", secret=True)
    try:
        return files.read(path, MAX_KEY_FILE).data.decode("latin-1")
    except files.Unreadable as error:
        raise StartError(f"cannot read the key {path}: {error}; name it with --key") from None
