"""Provenance as a value: an in-toto Statement v1 with a SLSA Provenance v1 predicate, written and read. No I/O.

Its build type is described in docs/release.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from deploy.release.refused import Refused
from deploy.release.source import COMMIT, VERSION, Source
from deploy.release.sums import DIGEST, NAME
from sidecar.mcp.strict_json import NotStrict, read_value
from sidecar.text import shown

TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "https://slsa.dev/provenance/v1"
BUILD: Final = "urn:intercept-sidecar:release:1"
BUILDER: Final = "urn:intercept-sidecar:builder:maintainer"
"""Somebody's own machine: who vouches for it is whoever signs."""
PARTS: Final = ("packages", "image")
MAX_VALUES: Final = 10_000

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Statement:
    """What a provenance says. `subjects` are the SHA-256 of what was built, in hexadecimal, by name.

    `materials` is what it was built from, as in-toto describes resources; `tools` are versions, by the tool's name.
    """

    part: str
    source: Source
    subjects: Mapping[str, str]
    materials: tuple[Json, ...]
    tools: Mapping[str, str]


def written(statement: Statement) -> bytes:
    """The Statement as JSON: the same bytes for the same value."""
    document = {
        "_type": TYPE,
        "subject": [{"name": name, "digest": {"sha256": value}} for name, value in sorted(statement.subjects.items())],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD,
                "externalParameters": {
                    "part": statement.part, "version": statement.source.version, "commit": statement.source.commit,
                },
                "internalParameters": {"SOURCE_DATE_EPOCH": statement.source.seconds},
                "resolvedDependencies": [
                    {"name": "source", "digest": {"gitCommit": statement.source.commit}}, *statement.materials,
                ],
            },
            "runDetails": {"builder": {"id": BUILDER, "version": dict(statement.tools)}},
        },
    }  # fmt: skip
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def read(payload: bytes, name: str) -> Statement:
    """What a Statement says. Raises `Refused`, with `name` in front, for any other than `written` writes."""
    try:
        found = msgspec.convert(read_value(payload, MAX_VALUES)[0], _Document)
    except (NotStrict, msgspec.ValidationError) as error:
        raise Refused(f"{name} is no provenance of a release: {shown(str(error))}") from None
    definition, details = found.predicate.definition, found.predicate.details
    asked = definition.external
    expected = (("_type", found.type, TYPE), ("predicateType", found.kind, PREDICATE),
                ("buildType", definition.type, BUILD), ("builder", details.builder.id, BUILDER))  # fmt: skip
    for what, said, right in expected:
        if said != right:
            raise Refused(f"{name} has the {what} {shown(said)}: it must be {right}")
    if asked.part not in PARTS or not VERSION.fullmatch(asked.version) or not COMMIT.fullmatch(asked.commit):
        raise Refused(f"{name} names no part, version and commit of a release")
    statement = Statement(
        asked.part,
        Source(asked.version, asked.commit, definition.internal.seconds),
        _subjects(found.subject, name),
        tuple(definition.materials[1:]),  # the first is the source, which is written again from the commit
        details.builder.version,
    )
    if written(statement) != payload:  # a subject that is there twice, another source than the commit…
        raise Refused(f"{name} is not written as `make release` writes it")
    return statement


def _subjects(subjects: list[_Subject], name: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for subject in subjects:
        if not NAME.fullmatch(subject.name) or not DIGEST.fullmatch(subject.digest.sha256):
            raise Refused(f"{name} has a subject without a plain name and a SHA-256")
        found[subject.name] = subject.digest.sha256
    return found


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class _Digest(_Strict, frozen=True):
    sha256: str


class _Subject(_Strict, frozen=True):
    name: str
    digest: _Digest


class _External(_Strict, frozen=True):
    part: str
    version: str
    commit: str


class _Internal(_Strict, frozen=True):
    seconds: int = msgspec.field(name="SOURCE_DATE_EPOCH")


class _Definition(_Strict, frozen=True):
    type: str = msgspec.field(name="buildType")
    external: _External = msgspec.field(name="externalParameters")
    internal: _Internal = msgspec.field(name="internalParameters")
    materials: list[Json] = msgspec.field(name="resolvedDependencies")


class _Builder(_Strict, frozen=True):
    id: str
    version: dict[str, str]


class _Details(_Strict, frozen=True):
    builder: _Builder


class _Predicate(_Strict, frozen=True):
    definition: _Definition = msgspec.field(name="buildDefinition")
    details: _Details = msgspec.field(name="runDetails")


class _Document(_Strict, frozen=True):
    type: str = msgspec.field(name="_type")
    subject: list[_Subject]
    kind: str = msgspec.field(name="predicateType")
    predicate: _Predicate
