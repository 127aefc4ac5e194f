"""Options about an OPA that somebody else started, and how their values are read."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

from sidecar.cli.options import address
from sidecar.errors import StartError, UsageError
from sidecar.settings import RemoteOpa
from sidecar.system import files, ownership

BUNDLE_LISTEN: Final = "127.0.0.1:8282"
MAX_TOKEN_FILE: Final = 8192
"""Bytes of the file with the token that OPA shows to the bundle server."""
MAX_KEY_FILE: Final = 8192
"""Bytes of the file with the key that signs the bundle."""

OpaUrl: TypeAlias = Annotated[
    str | None,
    typer.Option(
        envvar="SIDECAR_OPA_URL", metavar="unix:///PATH", show_default=False,
        help="An OPA that somebody else started, taking its bundle from us. [default: start one]",
    ),
]  # fmt: skip
BundleListen: TypeAlias = Annotated[
    str | None,
    typer.Option(
        envvar="SIDECAR_BUNDLE_LISTEN", metavar="HOST:PORT", show_default=False,
        help=f"With --opa-url: the loopback address where OPA fetches the bundle. [default: {BUNDLE_LISTEN}]",
    ),
]  # fmt: skip
BundleTokenFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        envvar="SIDECAR_BUNDLE_TOKEN_FILE",
        metavar="PATH",
        show_default=False,
        help="With --opa-url: the token that OPA must show to fetch the bundle.",
    ),
]
BundleSigningKey: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        envvar="SIDECAR_BUNDLE_SIGNING_KEY", metavar="PATH", show_default=False,
        help="With --opa-url: the private key (P-256, PEM) that signs the bundle; OPA has the public half.",
    ),
]  # fmt: skip


def remote_opa(
    url: str | None, listen: str | None, token_file: Path | None, signing_key: Path | None
) -> RemoteOpa | None:  # fmt: skip
    """The OPA that the options name, or None. Raises `UsageError`, or `StartError` for a file that cannot be used."""
    if url is None:
        if listen is not None or token_file is not None or signing_key is not None:
            raise UsageError("--bundle-listen, --bundle-token-file and --bundle-signing-key are about --opa-url's OPA")
        return None
    socket = url.removeprefix("unix://")
    if socket == url or not socket.startswith("/"):
        raise UsageError(f"--opa-url must be a unix socket, as unix:///run/opa/opa.sock, not {url!r}")
    if token_file is None:
        raise UsageError(
            "--opa-url needs --bundle-token-file PATH: the token that OPA shows when it fetches the bundle"
        )
    if signing_key is None:
        raise UsageError(
            "--opa-url needs --bundle-signing-key PATH: the private key that signs the bundle, of which OPA has the "
            "public half"
        )
    where = address(listen or BUNDLE_LISTEN)
    if not _is_loopback(where.host):
        raise UsageError(f"--bundle-listen must be a loopback address, as {BUNDLE_LISTEN}, not {where}")
    return RemoteOpa(socket, where, _token(token_file), _signing_key(signing_key))


def _token(path: Path) -> str:
    ownership.check(path, "--bundle-token-file")
    try:
        token = files.read(path, MAX_TOKEN_FILE).data.decode("latin-1").strip()
    except files.Unreadable as error:
        raise StartError(f"cannot read the token {path}: {error}; name it with --bundle-token-file") from None
    if not re.fullmatch(r"[!-~]{16,4096}", token):
        raise StartError(f"{path} holds no good token: write one line of at least 16 ASCII characters without blanks")
    return token


def _signing_key(path: Path) -> str:
    ownership.check(path, "--bundle-signing-key", secret=True)
    try:
        return files.read(path, MAX_KEY_FILE).data.decode("latin-1")
    except files.Unreadable as error:
        raise StartError(f"cannot read the key {path}: {error}; name it with --bundle-signing-key") from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
