"""Whether a bundle from elsewhere may be put in force: whose it is, what is in it, what it answers.

Only the policy is taken out of it: the facts, the generated modules, the hand-written Rego. The library that decides,
the stamp and the manifest are our own, made anew; so nothing else that came in the archive reaches an engine. Its place
in the order of bundles is checked elsewhere (`floor`), since that needs the store.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sidecar.distribution.manifest import Manifest, read_manifest
from sidecar.distribution.source import MAX_SIZE
from sidecar.engine import custom_rego
from sidecar.engine.trial import check_generated, trial
from sidecar.engine.verify import read_key, strict, verify
from sidecar.errors import BundleRefused, PolicyError, StartError
from sidecar.policy import archive
from sidecar.policy.archive import MANIFEST, SIGNATURES
from sidecar.policy.bundle import FACTS, POLICY, SOURCES, STAMP, Bundle, build, library
from sidecar.policy.custom import CUSTOM
from sidecar.text import visible

_NOT_POLICY: Final = frozenset({MANIFEST, SIGNATURES, STAMP, SOURCES})
_GENERATED: Final = re.compile(rf"{POLICY}[A-Za-z0-9_-]+\.rego")

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


def admit(data: bytes, *, keys: Sequence[str], opa: Path, name: str) -> Bundle:
    """The bundle that `data` becomes in a sidecar, if it may be one. It takes OPA some time, and blocks.

    `keys` are public keys in PEM, one of which must have signed it; without any, nobody's signature is asked for.
    `name` is where it comes from. Raises `BundleRefused` with one line that says what to do.
    """
    try:
        return _admitted(data, keys, opa)
    except BundleRefused as error:
        kind, why = error.kind, str(error)
    except StartError as error:  # OPA cannot be run
        kind, why = "unavailable", str(error)
    raise BundleRefused(kind, f"{visible(name)}: {why}; {MORE[kind]}") from None


def _admitted(data: bytes, keys: Sequence[str], opa: Path) -> Bundle:
    if len(data) > MAX_SIZE:
        raise BundleRefused("too_large", f"it has more than {MAX_SIZE >> 20} MiB")
    files = archive.read(data)
    if keys:
        verify(files, [read_key(pem, f"no. {number}") for number, pem in enumerate(keys, 1)], time.time())
    manifest = read_manifest(files)
    policy = _policy(files)
    custom = {path: text for path, text in policy.items() if path.startswith(f"{CUSTOM}/")}
    bundle = _built(policy, manifest)
    check_generated(
        opa, {path: text for path, text in policy.items() if path.startswith(POLICY)}, custom=bool(custom)
    )  # fmt: skip
    _check_custom(opa, custom, strict(FACTS, policy[FACTS]))
    trial(opa, bundle)
    return bundle


def _policy(files: Mapping[str, str]) -> dict[str, str]:
    """What a bundle has of a policy. Raises `BundleRefused` where it has anything else but what we make anew."""
    ours = library().keys() | _NOT_POLICY
    found = {path: text for path, text in files.items() if path not in ours}
    for path in sorted(found):
        if path != FACTS and not path.startswith(f"{CUSTOM}/") and not _GENERATED.fullmatch(path):
            raise BundleRefused("foreign", f"it holds {path}, which is no file of a policy")
    if FACTS not in found:
        raise BundleRefused("broken", f"it has no {FACTS}")
    return found


def _built(policy: dict[str, str], manifest: Manifest) -> Bundle:
    strict(FACTS, policy[FACTS])
    try:
        bundle = build(policy, manifest.serial, manifest.commit)
    except Exception:  # noqa: BLE001 - whatever stands in its facts: they are not ours
        raise BundleRefused("broken", f"{FACTS} in it cannot be read") from None
    if bundle.revision != manifest.revision:
        raise BundleRefused("broken", f"it is not what its revision {manifest.revision} names")
    return bundle


def _check_custom(opa: Path, custom: Mapping[str, str], facts: Mapping[str, Any]) -> None:
    """What the facts say of hand-written Rego decides what it is asked about: it must be what we find."""
    if custom:
        try:
            found: Any = custom_rego.check(opa, custom).facts
        except PolicyError as error:
            raise BundleRefused("foreign", f"its hand-written Rego is refused: {error.problems[0]}") from None
    else:
        found = None
    if facts.get("custom") != found:
        raise BundleRefused("broken", "its facts say something else of its hand-written Rego than it is")
