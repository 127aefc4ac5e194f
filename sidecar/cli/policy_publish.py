"""`sidecar policy publish`: a bundle to where sidecars fetch it; `--rollback`: old content, under a new serial."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from sidecar.cli.policy_access import PolicyTokenFile, access
from sidecar.distribution.destination import Destination
from sidecar.distribution.label import Label
from sidecar.distribution.places import destination_of
from sidecar.distribution.publish import publish
from sidecar.distribution.source import MAX_SIZE
from sidecar.errors import StartError
from sidecar.system import files
from sidecar.system.taken_secrets import TakenSecrets
from sidecar.text import of_system


def publish_command(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The bundle that `policy build` wrote.")],
    destination: Annotated[
        str,
        typer.Argument(metavar="DEST", help="A directory, `http(s)://…/bundle.tar.gz`, or `oci://HOST/NAME[:TAG]`."),
    ],
    policy_token_file: PolicyTokenFile = None,
) -> int:
    """Publish a bundle. A serial is given once, and never goes back."""
    place = destination_of(destination, access(policy_token_file, TakenSecrets()))
    label, written = asyncio.run(_published(file, place))
    print(f"{place.name}: {'published' if written else 'already there'}")
    print(f"revision {label.revision}")
    print(f"serial {label.serial}")
    return 0


async def _published(file: str, place: Destination) -> tuple[Label, bool]:
    try:
        return await publish(_read(file), place, _warn)
    finally:
        await place.close()


def _read(file: str) -> bytes:
    path = Path(file)
    try:
        return files.read(path, MAX_SIZE).data
    except files.Unreadable as error:
        raise StartError(
            f"cannot read the bundle {of_system(file)}: {error}; `sidecar policy build` writes one"
        ) from None


def _warn(text: str) -> None:
    print(f"sidecar: warning: {text}", file=sys.stderr)
