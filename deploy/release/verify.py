"""Verifies the folder of a release: sums, provenance, and whose signature it bears.

Every file must be in SHA256SUMS with what it hashes to, and nothing else may be there. Every file but a provenance must
be a subject of exactly one provenance, with the same hash, and each subject must be there. All provenances must be of
one version and one commit. With a key, each must be signed with it; without one, nothing shows who made the files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.release import envelope, names, statement, sums
from deploy.release.folder import PROVENANCE, content, digests
from deploy.release.image import manifest_digest
from deploy.release.refused import Refused
from deploy.release.source import Source
from deploy.release.statement import Statement
from sidecar.engine.verify import VerificationKey


@dataclass(frozen=True, slots=True)
class Image:
    """An image in a release: its architecture, the file that holds it, and the digest of its manifest."""

    architecture: str
    archive: str
    digest: str


@dataclass(frozen=True, slots=True)
class Release:
    """A release that holds together. `signed_with` names the key that signed it, empty where none was asked for."""

    source: Source
    files: Mapping[str, str]
    images: tuple[Image, ...]
    signed_with: str


def verify(folder: Path, key: VerificationKey | None, commit: str = "") -> Release:
    """The release in a folder; with `commit`, only one of that. Raises `Refused`, which names what does not hold."""
    found = digests(folder)
    _check_sums(sums.read(_text(folder)), found)
    made = {name: digest for name, digest in found.items() if not name.endswith(PROVENANCE)}
    statements = {name: _statement(folder, name, digest, key) for name, digest in found.items() if name not in made}
    source = _source(statements, commit)
    of_images = {_architecture(source, name): name for name, said in statements.items() if said.part == "image"}
    _check_subjects(statements, made, {names.manifest(source.version, architecture) for architecture in of_images})
    # Only now: what nobody signed is not looked into.
    images = tuple(
        _image(folder, source, architecture, name, statements[name]) for architecture, name in of_images.items()
    )
    return Release(source, found, images, key.name if key is not None else "")


def _text(folder: Path) -> str:
    try:
        return content(folder, sums.SUMS).decode("ascii")
    except UnicodeDecodeError:
        raise Refused(f"{sums.SUMS} is no plain text") from None


def _check_sums(listed: Mapping[str, str], found: Mapping[str, str]) -> None:
    for name in sorted(listed.keys() | found.keys()):
        if name not in listed:
            raise Refused(f"{name} is not in {sums.SUMS}: it is no part of this release")
        if name not in found:
            raise Refused(f"{name} is in {sums.SUMS} and not there")
        if listed[name] != found[name]:
            raise Refused(f"{name} is not the file that {sums.SUMS} names: it was changed, or damaged on its way")


def _statement(folder: Path, name: str, digest: str, key: VerificationKey | None) -> Statement:
    data = content(folder, name)
    if hashlib.sha256(data).hexdigest() != digest:
        raise Refused(f"{name} changed while it was verified")
    opened = envelope.opened(data, name)
    if key is not None:
        envelope.check(opened, key, name)
    return statement.read(opened.payload, name)


def _source(statements: Mapping[str, Statement], commit: str) -> Source:
    if not any(said.part == "packages" for said in statements.values()):
        raise Refused(f"no provenance of packages is there: a file whose name ends with {PROVENANCE}")
    first, *others = statements.items()
    for name, said in others:
        if said.source != first[1].source:
            raise Refused(f"{name} and {first[0]} are of different versions or commits")
    name, said = first
    if commit and said.source.commit != commit:
        raise Refused(f"{name} is of commit {said.source.commit}, not of {commit}: build the release again")
    for name, said in statements.items():
        if said.part == "packages" and name != names.provenance(said.source.version):
            raise Refused(f"{name} is the provenance of packages of {said.source.version}, under another's name")
    return first[1].source


def _architecture(source: Source, name: str) -> str:
    """The architecture of the image that a provenance is of, by its name."""
    for architecture in names.MACHINES.values():
        if name == names.provenance(source.version, architecture):
            return architecture
    raise Refused(f"{name} is the provenance of an image of {source.version}, under another's name")


def _image(folder: Path, source: Source, architecture: str, name: str, said: Statement) -> Image:
    archive = names.archive(source.version, architecture)
    if archive not in said.subjects:
        raise Refused(f"{name} speaks of no {archive}")
    digest = manifest_digest(folder / archive)
    if said.subjects.get(names.manifest(source.version, architecture)) != digest.removeprefix("sha256:"):
        raise Refused(f"{archive} holds another image than {name} speaks of")
    return Image(architecture, archive, digest)


def _check_subjects(
    statements: Mapping[str, Statement], made: Mapping[str, str], manifests: set[str]
) -> None:  # fmt: skip
    owner: dict[str, str] = {}
    for name, said in statements.items():
        for subject, digest in said.subjects.items():
            if subject in owner:
                raise Refused(f"{subject} is in {owner[subject]} and in {name}")
            owner[subject] = name
            if subject in manifests:  # the one kind of subject that is no file
                if subject in made:
                    raise Refused(f"{subject} is a file, and {name} speaks of the manifest of an image by this name")
                continue
            if subject not in made:
                raise Refused(f"{subject} is in {name} and not there")
            if made[subject] != digest:
                raise Refused(f"{subject} is another file than {name} speaks of: sums and provenance do not agree")
    if strangers := sorted(made.keys() - owner.keys()):
        raise Refused(f"{strangers[0]} is in no provenance: nothing shows what it was made from")
