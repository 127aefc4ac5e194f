"""A bundle as it travels, made one that a sidecar can decide by: whose it is, what is in it, what it answers.

Only the policy is taken out of it: the facts, the generated modules, the hand-written Rego. The library that decides,
the stamp and the manifest are our own, made anew; so nothing else that came in the archive reaches an engine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sidecar.engine import custom_rego
from sidecar.engine.trial import check_generated, trial
from sidecar.engine.verify import VerificationKey, verify
from sidecar.errors import BundleRefused, PolicyError
from sidecar.policy import archive
from sidecar.policy.archive import MANIFEST, SIGNATURES, strict
from sidecar.policy.bundle import FACTS, POLICY, SOURCES, STAMP, Bundle, build, library
from sidecar.policy.custom import CUSTOM, CheckedCustom
from sidecar.policy.manifest import Manifest, read_manifest

_NOT_POLICY: Final = frozenset({MANIFEST, SIGNATURES, STAMP, SOURCES})
_GENERATED: Final = re.compile(rf"{POLICY}[A-Za-z0-9_-]+\.rego")


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A bundle to decide by. `custom` is its hand-written Rego; `sources` is the text that tells its policy files.

    Both may be missing. Nobody has looked at the sources: what decides is the bundle.
    """

    bundle: Bundle
    custom: CheckedCustom | None
    sources: str | None


@dataclass(frozen=True, slots=True)
class Opened:
    """A bundle whose content is the one that its revision names, and that OPA has not seen yet."""

    bundle: Bundle
    policy: Mapping[str, str]
    sources: str | None


def unpack(data: bytes, opa: Path, keys: Sequence[VerificationKey], now: float) -> Unpacked:
    """The bundle that `data` becomes. With `keys` one of them must have signed it. It takes OPA some time, and blocks.

    Raises `BundleRefused` with a clause that says why, `StartError` where OPA cannot be run.
    """
    found = opened(data, keys, now)
    return Unpacked(found.bundle, try_out(opa, found), found.sources)


def opened(data: bytes, keys: Sequence[VerificationKey], now: float) -> Opened:
    """What `data` holds. Raises `BundleRefused`."""
    files = archive.read(data)
    if keys:
        verify(files, keys, now)
    manifest = read_manifest(files)
    policy = _policy(files)
    return Opened(_built(policy, manifest), policy, files.get(SOURCES))


def try_out(opa: Path, found: Opened) -> CheckedCustom | None:
    """The hand-written Rego in a bundle, if OPA takes all of it. Raises `BundleRefused`, `StartError`."""
    policy = found.policy
    hand_written = {path: text for path, text in policy.items() if path.startswith(f"{CUSTOM}/")}
    generated = {path: text for path, text in policy.items() if path.startswith(POLICY)}
    check_generated(opa, generated, policy[FACTS], custom=bool(hand_written))
    custom = _custom(opa, hand_written, strict(FACTS, policy[FACTS]))
    trial(opa, found.bundle)
    return custom


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


def _custom(opa: Path, files: Mapping[str, str], facts: Mapping[str, Any]) -> CheckedCustom | None:
    """The hand-written Rego. What the facts say of it decides what it is asked about: it must be what we find."""
    custom = None
    if files:
        try:
            custom = custom_rego.check(opa, files)
        except PolicyError as error:
            raise BundleRefused("foreign", f"its hand-written Rego is refused: {error.problems[0]}") from None
    if facts.get("custom") != (None if custom is None else custom.facts):
        raise BundleRefused("broken", "its facts say something else of its hand-written Rego than it is")
    return custom
