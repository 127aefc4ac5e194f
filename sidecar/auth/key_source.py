"""The source of an issuer's keys: a file that may change, or a URL that is fetched now and then.

A caller can make up key ids, but cannot make us fetch the URL more often than its limit allows.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from sidecar.auth.fetch import MAX_BYTES, Fetch
from sidecar.auth.keys import KeySet, read_keys
from sidecar.errors import SidecarError, StartError
from sidecar.system import tasks
from sidecar.system.files import Unreadable
from sidecar.system.operator_log import fields, log
from sidecar.system.watched_file import WatchedFile

REFRESH: Final = 300.0
"""Seconds after which the URL is fetched again."""
PAUSE: Final = 10.0
"""Least seconds between two requests to the URL."""
MAX_AGE: Final = 3600.0
"""Seconds for which keys stay valid while the URL does not answer."""
FETCH_TIMEOUT: Final = 10.0


class KeySource(Protocol):
    """The current keys, and the way to newer ones."""

    async def start(self) -> None:
        """Get the keys for the first time. Raises `StartError`."""

    def current(self) -> KeySet | None:
        """The keys; None if there are none that may be used."""

    def renewal(self) -> asyncio.Task[None] | None:
        """What to await for newer keys; None if there can be none now."""

    async def close(self) -> None:
        """End what is under way."""


class FileKeys:
    """Keys from a JWK set in a file; none while the file cannot be used."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = WatchedFile(path, MAX_BYTES, clock)
        self._keys: KeySet | None = None
        self._failing = False

    async def start(self) -> None:
        """Read the file."""
        try:
            self._read()
        except Unreadable as problem:
            raise StartError(f"--jwt-jwks: {problem}") from None

    def current(self) -> KeySet | None:
        """The keys in the file now."""
        try:
            self._read()
        except Unreadable as problem:
            self._keys, self._failing = None, True
            log.error(
                "--jwt-jwks: %s; no JWT is valid until it can be used again", problem,
                extra=fields("keys_unusable", option="--jwt-jwks", cause=str(problem)),
            )  # fmt: skip
        return self._keys

    def renewal(self) -> None:
        """None: `current` reads the file each time."""

    async def close(self) -> None:
        """Nothing is under way."""

    def _read(self) -> None:
        content = self._file.changed()
        if content is None:
            return
        try:
            self._keys = read_keys(content)
        except ValueError as problem:
            raise Unreadable(f"{self._file.path} {problem}") from None
        if self._failing:
            self._failing = False
            log.warning("--jwt-jwks: the keys can be used again", extra=fields("keys_usable", option="--jwt-jwks"))


class UrlKeys:
    """Keys from a URL, which is fetched in the background. Only a request that fits no key waits for that."""

    def __init__(self, url: str, fetch: Fetch, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._fetch = fetch
        self._clock = clock
        self._keys: KeySet | None = None
        self._renewed = self._attempted = clock() - MAX_AGE
        self._under_way: asyncio.Task[None] | None = None
        self._problem = ""

    async def start(self) -> None:
        """Fetch the URL for the first time."""
        await self._renew()
        if self._keys is None:
            raise StartError(f"--jwt-jwks: {self._problem}")

    def current(self) -> KeySet | None:
        """The keys, unless they are too old to use; a renewal is started when they are due for one."""
        age = self._clock() - self._renewed
        if age >= REFRESH:
            self.renewal()
        return self._keys if age < MAX_AGE else None

    def renewal(self) -> asyncio.Task[None] | None:
        """The request to the URL that is under way, or a new one if the last one is long enough ago."""
        if self._under_way is not None and not self._under_way.done():
            return self._under_way
        if self._clock() - self._attempted < PAUSE:
            return None
        self._under_way = tasks.start(self._renew())
        return self._under_way

    async def close(self) -> None:
        """Give up the request that is under way."""
        if self._under_way is not None:
            self._under_way.cancel()
            await asyncio.wait({self._under_way})

    async def _renew(self) -> None:
        self._attempted = self._clock()
        try:
            async with asyncio.timeout(FETCH_TIMEOUT):
                keys = read_keys(await self._fetch(self._url))
        except TimeoutError:
            self._failed("the URL does not answer in time")
        except (OSError, SidecarError) as error:
            self._failed(f"the URL cannot be asked: {error}")
        except ValueError as problem:
            self._failed(f"what the URL answers {problem}")
        else:
            if self._problem:
                log.warning("--jwt-jwks: the URL gives keys again", extra=fields("keys_usable", option="--jwt-jwks"))
            if self._keys is None or keys.digest != self._keys.digest:  # the same keys: what was verified stays so
                self._keys = keys
            self._renewed, self._problem = self._clock(), ""

    def _failed(self, problem: str) -> None:
        if self._keys is not None and not self._problem:
            log.error(
                "--jwt-jwks: %s; the keys that are known stay valid for up to an hour", problem,
                extra=fields("keys_unusable", option="--jwt-jwks", cause=problem),
            )  # fmt: skip
        self._problem = problem
