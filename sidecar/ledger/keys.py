"""The keys of counters in Redis: unique for each prefix, counter, holder, window and start."""

from __future__ import annotations

import re
from typing import Final

from redis.asyncio import Redis

from sidecar.errors import StoreUnavailable
from sidecar.ledger.names import of_server
from sidecar.ledger.scripts import CARRY_OVER

_PREFIX: Final = re.compile(r"(?:[^/|]*:)?")
"""A prefix ends with a colon. No server's name has one before its slash, so the end of a prefix is unambiguous."""


def check_prefix(prefix: str) -> None:
    """Raise `StoreUnavailable` for a prefix with which two deployments could share a key."""
    if not _PREFIX.fullmatch(prefix):
        raise StoreUnavailable(
            "the prefix of keys must end with a colon and hold neither / nor |: write --state-prefix team:, for example"
        )


def key(prefix: str, counter: str, holder: str, window: int, start: int | None) -> str:
    """The key of a counter; `start` is None where its window slides.

    A holder may have any character: the first bar and the last two are the separators.
    """
    return f"{prefix}{encoded(counter)}|{holder}|{window}|{'sliding' if start is None else start}"


async def carry_over(redis: Redis, prefix: str, server: str) -> None:
    """Copy, once, the totals under a server's old counter names, from before names were encoded, to the new ones.

    If there is a total already, which may be another server's old one, the greater of the two stays.
    """
    old, new = f"{server}/", of_server(server)
    done = f"{prefix}|names|{new}"
    if old == new or await redis.exists(done):
        return
    before, after = f"{prefix}{encoded(old)}", f"{prefix}{encoded(new)}"
    copy = redis.register_script(CARRY_OVER)
    pattern = re.sub(r"([*?\[\]\\])", r"\\\1", before) + "*"
    # What slides is no text; it has never been under an old name.
    async for found in redis.scan_iter(match=pattern, count=1000, _type="STRING"):
        await copy([found, after.encode() + found.removeprefix(before.encode())])
    await redis.set(done, 1)


def encoded(counter: str) -> str:
    return counter.replace("%", "%25").replace("|", "%7C")
