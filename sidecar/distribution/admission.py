"""Whether a bundle from elsewhere may be put in force, and what to do where it may not.

What a bundle becomes is decided in `repository/unpack`. Its place in the order of bundles is checked in `floor`, since
that needs the store.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias

from sidecar.distribution.source import MAX_SIZE
from sidecar.engine.verify import VerificationKey, read_key
from sidecar.errors import BundleRefused, StartError
from sidecar.policy.bundle import Bundle
from sidecar.repository.unpack import opened, try_out
from sidecar.system.lru import LRU
from sidecar.text import visible

MORE: Final = {
    "unsigned": "sign it: `sidecar policy build DIR -o FILE.tar.gz --key PRIVATE.pem`",
    "signature": "build and sign it again, or give the key of whoever signed it with --bundle-key",
    "format": "build it again with this version: `sidecar policy build DIR -o FILE.tar.gz`",
    "foreign": "build it again: `sidecar policy build DIR -o FILE.tar.gz`; `tar -tvzf FILE.tar.gz` shows what is in it",
    "broken": "build it again: `sidecar policy build DIR -o FILE.tar.gz`; `tar -tvzf FILE.tar.gz` shows what is in it",
    "too_large": "write a smaller policy; `tar -tvzf FILE.tar.gz` shows what takes the room",
    "trial": "`sidecar policy test DIR` shows more where it was built",
    "unavailable": "it is tried again",
}
"""What to do about a refusal, by its kind."""


Tried: TypeAlias = LRU[Literal[True]]
"""The revisions that OPA has tried and taken.

A revision is a hash of all that comes out of a bundle (`policy/bundle.build`), and it is compared with the content each
time. All else that is tried, our library and OPA, is the same for as long as we run. So a revision that was taken would
be taken again; only its serial may be another, which nothing but the stamp holds. What was refused is tried anew.
"""


def tried() -> Tried:
    """None yet; some hundred are remembered."""
    return LRU(64 << 10, 200)


def admit(data: bytes, *, keys: Sequence[str], opa: Path, name: str, tried: Tried | None = None) -> Bundle:
    """The bundle that `data` becomes in a sidecar, if it may be one. It takes OPA some time, and blocks.

    `keys` are public keys in PEM, one of which must have signed it; without any, nobody's signature is asked for.
    `name` is where it comes from. What OPA has `tried` is not tried again: else whoever can write there, and has no
    key, could keep it busy with what was signed once. Raises `BundleRefused` with one line that says what to do.
    """
    public = [read_key(pem, f"no. {number} of --bundle-key") for number, pem in enumerate(keys, 1)]
    try:
        return _admitted(data, public, opa, tried)
    except BundleRefused as error:
        kind, why = error.kind, str(error)
    except StartError as error:  # OPA cannot be run
        kind, why = "unavailable", str(error)
    except OSError as error:
        kind, why = "unavailable", f"it cannot be tried: {error.strerror}"
    raise BundleRefused(kind, f"{visible(name)}: {why}; {MORE[kind]}") from None


def _admitted(data: bytes, keys: Sequence[VerificationKey], opa: Path, tried: Tried | None) -> Bundle:
    if len(data) > MAX_SIZE:
        raise BundleRefused("too_large", f"it has more than {MAX_SIZE >> 20} MiB")
    found = opened(data, keys, time.time())
    revision = found.bundle.revision.encode()
    if tried is None or not tried.get(revision):
        try_out(opa, found)
        if tried is not None:
            tried.keep(revision, True)
    return found.bundle
