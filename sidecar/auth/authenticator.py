"""Authenticates requests by their Authorization header (RFC 6750). A token anywhere else is ignored."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from sidecar.auth.fetch import Fetch
from sidecar.auth.principal import Principal
from sidecar.auth.refusal import NO_KEYS, NotYet, Refusal, Rejected
from sidecar.auth.token_file import TOKEN, TokenFile

MAX_HEADER: Final = 64 << 10

_CREDENTIALS: Final = re.compile(rf"bearer +(?P<token>{TOKEN.pattern})", re.ASCII | re.IGNORECASE)
_SCHEME: Final = re.compile(r"bearer[ \t]+\S", re.IGNORECASE)
_CHALLENGE: Final = 'Bearer realm="intercept-sidecar"'

_TWICE: Final = Refusal(
    400,
    "a request may have one Authorization header",
    (("WWW-Authenticate", f'{_CHALLENGE}, error="invalid_request"'),),
)
_NO_TOKEN: Final = Refusal(
    401, "a bearer token is needed: send Authorization: Bearer TOKEN", (("WWW-Authenticate", _CHALLENGE),)
)
_UNVERIFIABLE: Final = Refusal(
    503, f"{NO_KEYS.reason}, so nobody is admitted by a JWT", (("Retry-After", "10"),), "keys"
)
_UNKNOWN_TOKEN: Final = Rejected("the token is not one that is accepted here")


class Verifier(Protocol):
    """Verifies JWTs: who the bearer of one is."""

    def verify_at_once(self, token: str) -> Principal | Rejected | NotYet:
        """The principal or the rejection; `NotYet` if that needs waiting."""

    async def verify(self, token: str) -> Principal | Rejected:
        """The principal or the rejection."""

    async def start(self) -> None:
        """Get the keys. Raises `StartError`."""

    async def close(self) -> None:
        """End what is under way."""


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Admits callers by a token of the token file or by a JWT, as configured; everybody if neither is configured.

    `None` in an answer means that no authentication is configured, so the caller is not known.
    """

    tokens: TokenFile | None = None
    verifier: Verifier | None = None

    @property
    def knows_callers(self) -> bool:
        """True if every admitted request has a principal, as `scope: principal` needs."""
        return self.tokens is not None or self.verifier is not None

    async def start(self) -> None:
        """Get the keys of a JWT's issuer. Raises `StartError`."""
        if self.verifier is not None:
            await self.verifier.start()

    async def close(self) -> None:
        """End what is under way."""
        if self.verifier is not None:
            await self.verifier.close()

    def authenticate_at_once(self, authorization: Sequence[str]) -> Principal | None | Refusal | NotYet:
        """The answer of `authenticate`, or `NotYet` if that has to wait for keys."""
        token = self._token(authorization)
        if not isinstance(token, str):
            return token
        holder = self.tokens.holder(token) if self.tokens is not None else None
        if holder is not None:
            return holder
        found = self.verifier.verify_at_once(token) if self.verifier is not None else _UNKNOWN_TOKEN
        return _refusal(found) if isinstance(found, Rejected) else found

    async def authenticate(self, authorization: Sequence[str]) -> Principal | None | Refusal:
        """Who makes a request; `authorization` are all values of its Authorization header."""
        found = self.authenticate_at_once(authorization)
        if not isinstance(found, NotYet):
            return found
        token = self._token(authorization)
        assert isinstance(token, str)  # otherwise there was nothing to wait for
        assert self.verifier is not None
        verified = await self.verifier.verify(token)
        return _refusal(verified) if isinstance(verified, Rejected) else verified

    def _token(self, authorization: Sequence[str]) -> str | None | Refusal:
        """The bearer token; None if none is needed."""
        if not self.knows_callers:
            return None
        if len(authorization) > 1:
            return _TWICE
        if not authorization:
            return _NO_TOKEN
        [value] = authorization
        found = _CREDENTIALS.fullmatch(value) if len(value) <= MAX_HEADER else None
        if found is not None:
            return found["token"]
        return _refusal(_UNKNOWN_TOKEN) if _SCHEME.match(value) else _NO_TOKEN


def authenticator(
    token_file: Path | None, jwks: str | None, issuer: str, audience: str, fetch: Fetch
) -> Authenticator:  # fmt: skip
    """The authenticator that the options ask for. `Authenticator.start` gets the keys.

    Raises `StartError` and `UsageError`.
    """
    tokens = None if token_file is None else TokenFile(token_file)
    if jwks is None:
        return Authenticator(tokens)
    # Imported only here: it costs start-up time, which only those who use JWTs should pay.
    from sidecar.auth.jwt import JwtVerifier  # noqa: PLC0415

    return Authenticator(tokens, JwtVerifier(jwks, issuer, audience, fetch))


def _refusal(rejected: Rejected) -> Refusal:
    if rejected is NO_KEYS:
        return _UNVERIFIABLE
    challenge = f'{_CHALLENGE}, error="invalid_token", error_description="{rejected.reason}"'
    return Refusal(401, rejected.reason, (("WWW-Authenticate", challenge),))
