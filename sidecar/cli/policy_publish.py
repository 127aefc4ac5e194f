"""`sidecar policy publish`: a bundle to where sidecars fetch it; `--rollback`: old content, under a new serial."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from sidecar.cli.policy_access import PolicyTokenFile, access
from sidecar.cli.policy_key import PolicyKey, private_key, public_keys
from sidecar.cli.printing import say, warn
from sidecar.distribution.destination import Destination
from sidecar.distribution.label import Label
from sidecar.distribution.publish import copy, highest, publish
from sidecar.distribution.rollback import rolled_back
from sidecar.distribution.source import MAX_SIZE
from sidecar.distribution.writable import destination_of
from sidecar.engine.verify import VerificationKey
from sidecar.errors import BundleRefused, StartError, UsageError
from sidecar.system import files
from sidecar.system.taken_secrets import TakenSecrets
from sidecar.text import of_system, shown


def publish_command(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="What `policy build` wrote; with --rollback also a serial of DEST.")
    ],
    destination: Annotated[
        str, typer.Argument(metavar="DEST", help="A directory, http(s)://…/bundle.tar.gz, or oci://HOST/NAME[:TAG].")
    ],
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Publish this old content anew, under the next serial of DEST.")
    ] = False,
    key: PolicyKey = None,
    bundle_key: Annotated[
        list[Path] | None,
        typer.Option("--bundle-key", metavar="PUBLIC.pem", help="With --rollback: an older key that signed it, too."),
    ] = None,
    policy_token_file: PolicyTokenFile = None,
) -> int:
    """Publish a bundle. A serial is given once, and never goes back."""
    taken = TakenSecrets()
    pem = private_key(key, taken)
    if not rollback and (key is not None or bundle_key):
        raise UsageError("--key and --bundle-key are for --rollback: `sidecar policy build` signs")
    place = destination_of(destination, access(policy_token_file, taken))
    older = public_keys(bundle_key or ())
    label, written = asyncio.run(_published(file, place, (pem, older) if rollback else None))
    say(f"{place.name}: {'published' if written else 'already there'}")
    say(f"revision {shown(label.revision)}")
    say(f"serial {label.serial}")
    if label.commit:
        say(f"commit {shown(label.commit)}")
    return 0


async def _published(
    file: str, place: Destination, signing: tuple[str, Sequence[VerificationKey]] | None
) -> tuple[Label, bool]:
    """Publish; with `signing`, a private key and more public ones, the content is given the next serial before."""
    try:
        by_serial = signing is not None and _is_serial(file)
        data = await _of_serial(int(file), place) if by_serial else _read(file)
        if signing is not None:
            data = rolled_back(data, await highest(place) + 1, *signing, time.time())
        return await publish(data, place, warn)
    except BundleRefused as error:
        # What the place has to say names the place; anything else is about the file.
        about = "" if str(error).startswith(place.name) else f"{of_system(file)}: "
        raise BundleRefused(error.kind, f"{about}{error}") from None
    finally:
        await place.close()


def _is_serial(file: str) -> bool:
    return re.fullmatch(r"[0-9]{1,16}", file) is not None and not Path(file).exists()


async def _of_serial(serial: int, place: Destination) -> bytes:
    found = await copy(serial, place)
    if found is None:
        raise StartError(f"{place.name}: has no serial {serial}; name a file that `sidecar policy build` wrote")
    return found


def _read(file: str) -> bytes:
    try:
        return files.read(Path(file), MAX_SIZE).data
    except files.Unreadable as error:
        raise StartError(f"cannot read the bundle {of_system(file)}: {error}; see `sidecar policy build`") from None
