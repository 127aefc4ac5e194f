"""Options about a policy that comes as a bundle, and how their values are read."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

from sidecar.cli.options import duration
from sidecar.distribution.access import Access
from sidecar.distribution.places import source_of
from sidecar.engine.verify import verification_key
from sidecar.errors import StartError, UsageError
from sidecar.settings import BundleSource
from sidecar.system import files, ownership
from sidecar.text import of_system

MAX_KEY_FILE: Final = 64 << 10
"""Bytes of a file with a key of a policy's publisher, or with a certificate."""

KEYS: Final = "SIDECAR_BUNDLE_KEY"

Bundle: TypeAlias = Annotated[
    str | None,
    typer.Option(
        envvar="SIDECAR_BUNDLE",
        metavar="SOURCE",
        show_default=False,
        help="The policy as a bundle instead of -c: a file, a directory, http(s)://… or oci://HOST/NAME.",
    ),
]
BundleKey: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option(
        envvar=KEYS,
        metavar="PATH",
        show_default=False,
        help="A public key (PEM) that a bundle must be signed by; with several keys, one of them is enough. "
        "[default: no signature is asked]",
    ),
]
BundleInterval: TypeAlias = Annotated[
    str,
    typer.Option(
        envvar="SIDECAR_BUNDLE_INTERVAL", metavar="DURATION", help="Time between two looks for a newer bundle."
    ),
]


def bundle_source(
    config: Sequence[Path] | None, source: str | None, keys: Sequence[Path] | None, interval: str, access: Access
) -> BundleSource | None:  # fmt: skip
    """The source of bundles that the options name, or None where the policy is in files.

    Raises `UsageError` for options that do not go together, `StartError` for a key that cannot be used.
    """
    if config and source is not None:
        if signature_asked():
            raise UsageError(
                f"two policies: {KEYS} asks for a signed bundle, and files of -c are not signed; leave out the files, "
                f"or unset {KEYS}"
            )
        raise UsageError("two policies: give -c for files or --bundle for a bundle, not both")
    if source is None:
        if keys:
            raise UsageError("--bundle-key is about the bundle of --bundle")
        if not config:
            raise UsageError("no policy: name a file with -c, or a bundle with --bundle")
        return None
    if not keys and signature_asked():  # else nobody's signature would be asked, and somebody thinks that it is
        raise UsageError(f"{KEYS} names no key: name a public key in PEM, or unset it where no signature is asked")
    source_of(source, access)  # says what names no place before anything is started
    return BundleSource(source, tuple(map(public_key, keys or ())), duration(interval), access.read, access.docker)


def signature_asked() -> bool:
    """True where the environment asks for a signature, be it without naming a key."""
    return KEYS in os.environ


def public_key(path: Path) -> str:
    """The text of a key of --bundle-key. Raises `StartError` where it cannot be read."""
    ownership.check(path, "--bundle-key")
    try:
        text = files.read(path, MAX_KEY_FILE).data.decode("latin-1")
    except files.Unreadable as error:
        raise StartError(f"cannot read the key {path}: {error}; name it with --bundle-key") from None
    verification_key(text, of_system(str(path)), time.time())
    return text
