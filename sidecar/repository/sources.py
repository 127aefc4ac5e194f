"""The policy files that a bundle carries along, so that people and `policy diff` see what it was built from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from sidecar.errors import BundleRefused
from sidecar.policy.archive import strict
from sidecar.policy.bundle import SOURCES
from sidecar.policy.facts import file_name
from sidecar.repository.load import text
from sidecar.system.files import Content, Found

_MANY: Final = 10_000
"""Values of a file of sources."""


class _Source(msgspec.Struct, frozen=True):
    file: str
    text: str


class _Sources(msgspec.Struct, frozen=True):
    policies: list[_Source]


def write_sources(found: Sequence[Found]) -> str:
    """The text that tells the files. Raises `PolicyError` for one that cannot be read."""
    policies = [{"file": file_name(str(one.path)), "text": text(one)} for one in found]
    return json.dumps({"policies": policies}, indent=2, ensure_ascii=False) + "\n"


def read_sources(told: str | None) -> tuple[Found, ...]:
    """The files as if they had been read. Raises `BundleRefused` where the text tells none."""
    try:
        sources = msgspec.convert(strict(SOURCES, told or "{}", _MANY), _Sources)
    except msgspec.ValidationError:
        raise BundleRefused("broken", f"{SOURCES} in it tells no policy files") from None
    return tuple(Found(Path(one.file), Content(one.text.encode(), (), "", None)) for one in sources.policies)
