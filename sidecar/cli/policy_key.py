"""The keys of a policy's publisher: the private one that signs bundles, and the public ones that verify them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

from sidecar.cli.bundle_options import MAX_KEY_FILE, public_key
from sidecar.cli.printing import warn
from sidecar.engine.verify import VerificationKey, verification_key
from sidecar.errors import StartError, UsageError
from sidecar.system import files, ownership
from sidecar.system.taken_secrets import TakenSecrets

KEY: Final = "SIDECAR_POLICY_KEY"

PolicyKey: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--key", metavar="PRIVATE.pem", show_default=False,
        help=f"The private key that signs the bundle; or give it as text in {KEY}.",
    ),
]  # fmt: skip


def private_key(path: Path | None, taken: TakenSecrets) -> str:
    """The PEM text of the key, empty where none was given. Raises `UsageError`, `StartError`.

    A file that everybody can read is warned of.
    """
    text = taken.take(KEY)
    if path is None:
        return text
    if text:
        raise UsageError(f"--key and {KEY} are two answers to one question: give one of them")
    ownership.check(path, "--key")
    try:
        ownership.check(path, "--key", secret=True)
    except StartError as error:  # it may be a file of a build that is thrown away
        warn(str(error))
    try:
        text = files.read(path, MAX_KEY_FILE).data.decode("latin-1")
    except files.Unreadable as error:
        raise StartError(f"cannot read the key {path}: {error}; name it with --key") from None
    if not text.strip():  # else nothing would be signed, and somebody thinks that it was
        raise StartError(f"the key {path} is empty: name a private key in PEM with --key")
    return text


def public_keys(paths: Sequence[Path]) -> list[VerificationKey]:
    """The keys that verify bundles. Raises `StartError` for one that cannot be used."""
    return [verification_key(public_key(path), str(path), time.time()) for path in paths]
