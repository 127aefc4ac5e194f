"""The contract of the function that fetches an issuer's keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

MAX_BYTES: Final = 1 << 20
"""Bytes of a key set; more are not read."""

Fetch: TypeAlias = Callable[[str], Awaitable[bytes]]
"""Returns the body of a URL's answer with status 200, at most `MAX_BYTES`; verifies TLS and follows no redirect.

Raises OSError (TimeoutError is one) or `SidecarError` if there is no such answer.
"""
