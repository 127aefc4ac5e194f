"""What asking an issuer for its keys must do: the contract of the function that is handed in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

MAX_BYTES: Final = 1 << 20
"""Bytes of a key set; more are not read."""

Fetch: TypeAlias = Callable[[str], Awaitable[bytes]]
"""Gives what a URL answers with status 200, at most `MAX_BYTES`; verifies TLS, follows no redirect.

Raises OSError, which TimeoutError is, or `SidecarError` when there is no such answer.
"""
