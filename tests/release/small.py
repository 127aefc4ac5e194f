"""A release of small files, made as `deploy.release` makes one: what is in its files does not matter here."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from deploy.release import envelope, names, statement, sums
from deploy.release.folder import digest, digests
from deploy.release.image import manifest_digest
from deploy.release.source import Source
from deploy.release.statement import Statement
from sidecar.engine.sign import SigningKey, of_publisher

SOURCE: Final = Source("0.2.0", "c0ffee" * 6 + "c0ff", 1_700_000_000)
ARCHITECTURE: Final = "amd64"
IMAGE: Final = names.archive(SOURCE.version, ARCHITECTURE)
PACKAGES: Final = names.provenance(SOURCE.version)
OF_IMAGE: Final = names.provenance(SOURCE.version, ARCHITECTURE)
MANIFEST: Final = names.manifest(SOURCE.version, ARCHITECTURE)
WHEEL: Final = "intercept_sidecar-0.2.0-py3-none-manylinux_2_17_x86_64.whl"
SDIST: Final = "intercept_sidecar-0.2.0.tar.gz"
_METADATA: Final = "Metadata-Version: 2.4\nName: intercept-sidecar\nVersion: 0.2.0\n"


class Keys:
    """A pair of keys: the files of both halves, and the private one as it signs."""

    def __init__(self, folder: Path, kind: str = "P-256") -> None:
        folder.mkdir(exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1()) if kind == "P-256" else rsa.generate_private_key(65537, 2048)
        self.private, self.public = folder / "release.key", folder / "release.pub"
        self.private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self.private.chmod(0o600)
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.public.write_bytes(public)

    @property
    def signing(self) -> SigningKey:
        return of_publisher(self.private.read_text(), "the key")


def release(folder: Path, key: SigningKey | None, source: Source = SOURCE) -> Path:
    """Write a release of that source into a new folder."""
    folder.mkdir()
    (folder / WHEEL).write_bytes(wheel())
    (folder / names.sbom(source.version, ARCHITECTURE)).write_text("{}")
    (folder / SDIST).write_bytes(sdist())
    provenance(folder, Statement("packages", source, digests(folder), ({"uri": "pkg:golang/stdlib@1.26"},), {}), key)
    (folder / IMAGE).write_bytes(image())
    (folder / names.image_sbom(source.version, ARCHITECTURE)).write_text("{}")
    of_image = {name: digest(folder / name) for name in (IMAGE, names.image_sbom(source.version, ARCHITECTURE))}
    of_image[MANIFEST] = manifest_digest(folder / IMAGE).removeprefix("sha256:")
    provenance(folder, Statement("image", source, of_image, (), {"podman": "1"}), key)
    add_up(folder)
    return folder


def provenance(folder: Path, said: Statement, key: SigningKey | None) -> None:
    """Write a provenance under its name, whatever is in the folder."""
    name = names.provenance(said.source.version, ARCHITECTURE if said.part == "image" else "")
    (folder / name).write_bytes(envelope.sealed(statement.written(said), key))


def add_up(folder: Path) -> None:
    """Write the sums of what is there, as an attacker can too."""
    (folder / sums.SUMS).write_text(sums.written(digests(folder)))


def wheel() -> bytes:
    """A wheel that an index takes."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in (
            ("METADATA", _METADATA),
            ("WHEEL", "Wheel-Version: 1.0\nGenerator: tests\nTag: py3-none-manylinux_2_17_x86_64\n"),
            ("RECORD", ""),
        ):
            archive.writestr(zipfile.ZipInfo(f"intercept_sidecar-0.2.0.dist-info/{name}"), text)
    return data.getvalue()


def sdist() -> bytes:
    """An sdist that an index takes."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        _add(tar, "intercept_sidecar-0.2.0/PKG-INFO", _METADATA.encode())
    return data.getvalue()


def image(text: bytes = b"") -> bytes:
    """An archive (OCI) of an image without a layer, with this text as its author."""
    config = json.dumps(
        {"author": text.decode(), "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": [],
            "config": _described(config, "application/vnd.oci.image.config.v1+json"),
        }
    ).encode()  # fmt: skip
    index = {"schemaVersion": 2, "manifests": [_described(manifest, "application/vnd.oci.image.manifest.v1+json")]}
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        _add(tar, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        _add(tar, "index.json", json.dumps(index).encode())
        for blob in (config, manifest):
            _add(tar, f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}", blob)
    return data.getvalue()


def checkout(folder: Path, *, changelog: str = "## 0.2.0 - 2026-11-30\n", version: str = "0.2.0") -> Path:
    """A git repository with what a release reads of one, and one commit."""
    folder.mkdir()
    (folder / "pyproject.toml").write_text(f'[project]\nname = "intercept-sidecar"\nversion = "{version}"\n')
    (folder / "CHANGELOG.md").write_text(f"# Changelog\n\n{changelog}")
    git(folder, "init", "--quiet", "--initial-branch", "main")
    commit(folder)
    return folder


def commit(folder: Path) -> str:
    """Commit everything in a checkout; the commit."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "A change")
    return git(folder, "rev-parse", "HEAD")


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=Tests", "-c", "user.email=tests@example.com"]
    done = subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


def _described(blob: bytes, kind: str) -> dict[str, object]:
    return {"mediaType": kind, "digest": f"sha256:{hashlib.sha256(blob).hexdigest()}", "size": len(blob)}


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
