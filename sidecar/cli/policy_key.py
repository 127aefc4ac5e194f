"""The keys of a policy's publisher: the private one that signs bundles, and the public ones that verify them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

from sidecar.engine.verify import VerificationKey, verification_key
from sidecar.errors import StartError, UsageError
from sidecar.system import files, ownership
from sidecar.system.taken_secrets import TakenSecrets

KEY: Final = "SIDECAR_POLICY_KEY"
MAX_KEY_FILE: Final = 64 << 10
"""Bytes of a file with a key, or with a certificate."""

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
    return _text(path, "--key")


def public_keys(paths: Sequence[Path]) -> list[VerificationKey]:
    """The keys that verify bundles. Raises `StartError` for one that cannot be used."""
    for path in paths:
        ownership.check(path, "--bundle-key")
    return [verification_key(_text(path, "--bundle-key"), str(path), time.time()) for path in paths]


def _text(path: Path, option: str) -> str:
    try:
        return files.read(path, MAX_KEY_FILE).data.decode("latin-1")
    except files.Unreadable as error:
        raise StartError(f"cannot read the key {path}: {error}; name it with {option}") from None
