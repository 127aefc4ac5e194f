"""Static bearer tokens from a file. Only their digests are kept, and no message here ever holds a token."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sidecar.auth.principal import Principal
from sidecar.errors import StartError
from sidecar.system.files import Unreadable
from sidecar.system.operator_log import fields, log
from sidecar.system.watched_file import WatchedFile

MAX_FILE: Final = 64 << 10

TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)
"""The syntax of a bearer token (RFC 6750, section 2.1)."""

SHORT: Final = 16
"""Characters of a token below which it is warned of."""

HOLDER: Final = Principal("token")
"""The principal of every static token: which of its holders shows it, nobody can say."""


class TokenFile:
    """The tokens in a file, one a line; there are several while one is replaced. Blank and `#` lines are ignored.

    A file without a usable token is a `StartError` at the start. Later it means that no token is valid until the file
    holds one again.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = WatchedFile(path, MAX_FILE, clock)
        self._digests: tuple[bytes, ...] = ()
        self._failing = False
        try:
            self._read()
        except Unreadable as problem:
            raise StartError(f"--auth-token-file: {problem}") from None

    def holder(self, token: str) -> Principal | None:
        """The principal of a token; None for any other text."""
        try:
            self._read()
        except Unreadable as problem:
            self._digests, self._failing = (), True
            log.error(
                "--auth-token-file: %s; no token is valid until it can be used again", problem,
                extra=fields("token_file_unusable", option="--auth-token-file", cause=str(problem)),
            )  # fmt: skip
        given = _digest(token)
        # All are compared, so the time reveals neither which token it is nor how much of one was right.
        matches = [hmac.compare_digest(given, known) for known in self._digests]
        return HOLDER if any(matches) else None

    def _read(self) -> None:
        content = self._file.changed()
        if content is None:
            return
        tokens = _tokens(content, self._file.path)
        self._digests = tuple(map(_digest, tokens.values()))
        if self._failing:
            self._failing = False
            log.warning(
                "--auth-token-file: the tokens can be used again",
                extra=fields("token_file_usable", option="--auth-token-file"),
            )
        if short := [number for number, token in tokens.items() if len(token) < SHORT]:
            log.warning(
                "--auth-token-file: %s:%d: a token of fewer than %d characters can be guessed: write one that "
                "`openssl rand -hex 32` makes", self._file.path, short[0], SHORT,
                extra=fields("setting_warning"),
            )  # fmt: skip


def _tokens(content: bytes, path: Path) -> dict[int, str]:
    """The tokens by the numbers of their lines. Raises `Unreadable`."""
    lines = [line.strip() for line in content.decode("utf-8-sig", "replace").split("\n")]
    tokens = {}
    for number, line in enumerate(lines, 1):
        if not line or line.startswith("#"):
            continue
        if TOKEN.fullmatch(line) is None:
            raise Unreadable(
                f"{path}:{number} is no bearer token: write letters, digits and -._~+/ only, one token a line"
            )
        tokens[number] = line
    if not tokens:
        raise Unreadable(f"{path} holds no token: write one a line")
    return tokens


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
