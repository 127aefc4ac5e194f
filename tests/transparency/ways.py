"""The ways from a client to a server: the transport on either side, with or without the sidecar, the era. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import pytest

Transport: TypeAlias = Literal["stdio", "http", "sse"]
Era: TypeAlias = Literal["legacy", "2026-07-28"]
TRANSPORTS: Final[tuple[Transport, ...]] = ("stdio", "http", "sse")


@dataclass(frozen=True, slots=True)
class Way:
    """`client` is the client's transport and `server` the server's; with nothing between them they are the same."""

    client: Transport
    server: Transport
    direct: bool
    era: Era

    def __str__(self) -> str:
        return f"{self.client}-{self.server}{'-direct' if self.direct else ''}-{self.era}"


def _ways(direct: bool, era: Era) -> tuple[Way, ...]:
    """Every way of a kind. The older HTTP transport does not have the revision that knows no handshake."""
    transports = TRANSPORTS if era == "legacy" else TRANSPORTS[:2]
    pairs = [(client, server) for client in transports for server in transports if client == server or not direct]
    return tuple(Way(client, server, direct, era) for client, server in pairs)


LEGACY: Final = _ways(True, "legacy") + _ways(False, "legacy")
MODERN: Final = _ways(True, "2026-07-28") + _ways(False, "2026-07-28")


def _over(ways: Sequence[Way]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("connection", ways, indirect=True, ids=str)


every_way: Final = _over(LEGACY + MODERN)
legacy_ways: Final = _over(LEGACY)
modern_ways: Final = _over(MODERN)
# Where a server has no client but this one, or says whom a log line is for: a shared child does not.
ways_of_log_lines: Final = _over([*LEGACY, *(way for way in MODERN if (way.client, way.server) != ("http", "stdio"))])

# Where several clients come to the same program; on stdio each starts its own.
shared_ways: Final = _over([way for way in LEGACY + MODERN if way.client != "stdio"])
shared_legacy_ways: Final = _over([way for way in LEGACY if way.client != "stdio"])
