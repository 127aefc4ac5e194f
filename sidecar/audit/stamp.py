"""How audit lines write a time."""

from __future__ import annotations

import time


def stamp(seconds: float) -> str:
    """Seconds since 1970 as a time in UTC, to the millisecond."""
    second, rest = divmod(int(seconds * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))}.{rest:03d}Z"
