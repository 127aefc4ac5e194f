"""Where bundles come from, as a protocol: what a source can tell, and how it fails."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol

MAX_SIZE: Final = 32 << 20
"""Bytes of a bundle as it travels, compressed."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A bundle as it travels, not yet looked at, and the tag by which its source knows it again."""

    data: bytes = field(repr=False)
    tag: str


class Source(Protocol):
    """One place that has a bundle. A source reads at most `MAX_SIZE` bytes, and every wait of it is bounded."""

    @property
    def name(self) -> str:
        """What to call it in messages: without credentials."""

    @property
    def waits(self) -> bool:
        """True if the last look was held until there was something new, so that the next needs no pause before."""

    async def fetch(self, known: str) -> Fetched | None:
        """The bundle that is there now; None where it is the one with the tag `known`.

        Raises `SourceUnavailable` where it cannot be had, and `BundleRefused` of kind `too_large`.
        """

    async def close(self) -> None:
        """Drop its connections."""
