"""Bundles that must never come into force, each made of a good one; those that matter are signed by the right key.

Nothing of the product packs or checks here: only its hash of a file is borrowed, since OPA's rule is the same for all.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sidecar.engine.sign import SigningKey, signed
from sidecar.policy.bundle import build
from tests.policy_repo.verbs import CLOSED

MANIFEST: Final = ".manifest"
SIGNATURES: Final = ".signatures.json"
STAMP: Final = "intercept/bundle/data.json"
COMPILED: Final = ("intercept/policy/", "intercept/custom/", "intercept/facts/data.json")


def unpacked(data: bytes) -> dict[str, str]:
    """The files of a bundle."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {
            item.name.removeprefix("/"): file.read().decode()
            for item in tar.getmembers()
            if (file := tar.extractfile(item)) is not None
        }


def packed(files: dict[str, str]) -> bytes:
    """An archive of files, whatever they are."""
    tar_bytes = io.BytesIO()
    with tarfile.open(fileobj=tar_bytes, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path, text in sorted(files.items()):
            info = tarfile.TarInfo(path)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return gzip.compress(tar_bytes.getvalue(), mtime=0)


def signed_by(private: Path, files: dict[str, str]) -> dict[str, str]:
    """Files with a good signature by an RSA key."""
    key = load_pem_private_key(private.read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    rs256 = SigningKey("RS256", lambda data: key.sign(data, padding.PKCS1v15(), hashes.SHA256()))
    return signed({path: text for path, text in files.items() if path != SIGNATURES}, rs256)


def with_metadata(files: dict[str, str], **changed: Any) -> dict[str, str]:
    """Files whose manifest says something else of the bundle."""
    manifest = json.loads(files[MANIFEST])
    return {**files, MANIFEST: json.dumps({**manifest, "metadata": {**manifest["metadata"], **changed}})}


def rebuilt(files: dict[str, str], changed: dict[str, str]) -> dict[str, str]:
    """Files of which some are others, with the revision that belongs to them."""
    files = {**files, **changed}
    metadata = json.loads(files[MANIFEST])["metadata"]
    compiled = {path: text for path, text in files.items() if path.startswith(COMPILED)}
    again = build(compiled, metadata["serial"], metadata.get("commit", "")).files
    return {**files, MANIFEST: again[MANIFEST], STAMP: again[STAMP]}


@dataclass(frozen=True, slots=True)
class Attack:
    """A bundle that somebody puts where sidecars look, the reason for which it is refused, and words of the message.

    `made` gets a good bundle that would open a closed tool, of a serial above the one in force, and the private keys:
    the right one and another.
    """

    name: str
    reason: str
    said: str
    made: Callable[[bytes, Path, Path], bytes]


def _unsigned(good: bytes, key: Path, foreign: Path) -> bytes:
    return packed({path: text for path, text in unpacked(good).items() if path != SIGNATURES})


def _foreign_key(good: bytes, key: Path, foreign: Path) -> bytes:
    return packed(signed_by(foreign, unpacked(good)))


def _changed_after_signing(good: bytes, key: Path, foreign: Path) -> bytes:
    return packed(with_metadata(unpacked(good), serial=99))


def _signature_of_another(good: bytes, key: Path, foreign: Path) -> bytes:
    other = signed_by(key, with_metadata(unpacked(good), serial=98))
    return packed({**unpacked(good), SIGNATURES: other[SIGNATURES]})


def _older(good: bytes, key: Path, foreign: Path) -> bytes:
    files = with_metadata(unpacked(good), serial=1)
    return packed(signed_by(key, rebuilt(files, {})))


def _same_serial(good: bytes, key: Path, foreign: Path) -> bytes:
    files = with_metadata(unpacked(good), serial=IN_FORCE)
    return packed(signed_by(key, rebuilt(files, {})))


def _truncated(good: bytes, key: Path, foreign: Path) -> bytes:
    return good[: len(good) * 2 // 3]


def _bomb(good: bytes, key: Path, foreign: Path) -> bytes:
    zeros = tarfile.TarInfo("intercept/policy/zeros.rego")
    zeros.size = 256 << 20
    data = io.BytesIO()
    with gzip.GzipFile(fileobj=data, mode="wb", compresslevel=1, mtime=0) as file:
        file.write(zeros.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(zeros.size >> 20):
            file.write(bytes(1 << 20))
        file.write(bytes(1024))
    return data.getvalue()


def _long(good: bytes, key: Path, foreign: Path) -> bytes:
    return good + bytes(33 << 20)


def _another_format(good: bytes, key: Path, foreign: Path) -> bytes:
    return packed(signed_by(key, with_metadata(unpacked(good), format=99)))


def _package(package: str, path: str) -> Callable[[bytes, Path, Path], bytes]:
    def made(good: bytes, key: Path, foreign: Path) -> bytes:
        text = f'package {package}\n\nviolations := set()\n\nproved contains "{CLOSED}" if true\n'
        return packed(signed_by(key, rebuilt(unpacked(good), {path: text})))

    return made


def _delta(good: bytes, key: Path, foreign: Path) -> bytes:
    patch = {"data": [{"op": "upsert", "path": f"/intercept/facts/tools/{CLOSED}", "value": {}}]}
    return packed({MANIFEST: unpacked(good)[MANIFEST], "patch.json": json.dumps(patch)})


def _more_data(good: bytes, key: Path, foreign: Path) -> bytes:
    return packed(signed_by(key, {**unpacked(good), "system/data.json": '{"authz": {"allow": true}}'}))


def _lying_canary(good: bytes, key: Path, foreign: Path) -> bytes:
    """The tool that must always be refused has the proof of a call that passes."""
    files = unpacked(good)
    path = next(path for path in files if path.startswith("intercept/policy/") and path.endswith(".rego"))
    lie = '\n\nproved["intercept/canary-denied"] if true\n'
    return packed(signed_by(key, rebuilt(files, {path: files[path] + lie})))


def _link(good: bytes, key: Path, foreign: Path) -> bytes:
    tar_bytes = io.BytesIO()
    with tarfile.open(fileobj=tar_bytes, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        link = tarfile.TarInfo("intercept/policy/policy.rego")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    return gzip.compress(tar_bytes.getvalue(), mtime=0)


IN_FORCE: Final = 5
"""The serial of the policy in force while attacks come."""
RULES: Final = "intercept/custom/rules.rego"
MORE: Final = "intercept/policy/more.rego"
ATTACKS: Final = (
    Attack("unsigned", "unsigned", "is not signed", _unsigned),
    Attack("signed by a foreign key", "signature", "none of the keys", _foreign_key),
    Attack("changed after it was signed", "signature", ".manifest was changed after", _changed_after_signing),
    Attack("with the signature of another bundle", "signature", "was changed after", _signature_of_another),
    Attack("of an older serial", "older", "it has serial 1, and serial 5 was in force", _older),
    Attack("of the same serial, with other content", "conflict", "in force before with other content", _same_serial),
    Attack("truncated", "broken", "cut off", _truncated),
    Attack("a bomb", "too_large", "unpacks to more than", _bomb),
    Attack("33 MiB long", "too_large", "larger than 32 MiB", _long),
    Attack("of another format", "format", "format 99", _another_format),
    Attack("Rego that says a package of ours", "foreign", "intercept.facts", _package("intercept.facts", RULES)),
    Attack("Rego that says OPA's own package", "foreign", "system.authz", _package("system.authz", RULES)),
    Attack("a module that no policy compiles to", "foreign", "more.rego", _package("intercept.policy", MORE)),
    Attack("data outside of the policy", "foreign", "system/data.json", _more_data),
    Attack("an unsigned delta", "foreign", "patch.json", _delta),
    Attack("one whose canary lies", "foreign", "proves calls by something else", _lying_canary),
    Attack("a link", "foreign", "symbolic link", _link),
    Attack("no bundle at all", "broken", "no gzipped tar archive", lambda good, key, foreign: b"<html>502</html>"),
)
