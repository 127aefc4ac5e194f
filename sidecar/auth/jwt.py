"""Bearer JWTs (RFC 7519) as the proof of who calls: signed by an issuer that is trusted, for us, and still valid.

PyJWT checks the signature. Header and claims are read here, because PyJWT takes the last of two equal members, and
accepts texts as times. Keys come from the configured place only: nothing in a token can name, bring or add one.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from jwt import PyJWS, PyJWTError

from sidecar.auth.claims import Expected
from sidecar.auth.fetch import Fetch
from sidecar.auth.hosts import is_loopback
from sidecar.auth.key_source import FileKeys, KeySource, UrlKeys
from sidecar.auth.keys import ALGORITHMS, KeySet
from sidecar.auth.principal import Principal
from sidecar.auth.refusal import NO_KEYS, NotYet, Rejected
from sidecar.errors import UsageError
from sidecar.mcp.strict_json import NotStrict, read_value

MAX_TOKEN: Final = 16 << 10
MAX_REMEMBERED: Final = 1_000

UNKNOWN_KEY: Final = Rejected("the token is signed with a key that is not known, or that it does not name clearly")
_MALFORMED: Final = Rejected("the token is no JWT that has one meaning")

_COMPACT: Final = re.compile(r"(?P<header>[A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})
"""The types accepted. Other JWTs of the same issuer (logout tokens, DPoP proofs, events) do not prove who calls."""


Verified: TypeAlias = Principal | Rejected


class JwtVerifier:
    """Verifies the tokens of one issuer for one audience, by the keys at `jwks`: a path or a URL.

    `clock` gives Unix seconds, `ticks` monotonic ones. Raises `UsageError` for a URL that is not safe.
    """

    def __init__(
        self, jwks: str, issuer: str, audience: str, fetch: Fetch,
        clock: Callable[[], float] = time.time, ticks: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        if not issuer or not audience:
            raise UsageError("--jwt-jwks needs --jwt-issuer and --jwt-audience: write what tokens say in iss and aud")
        self._expected = Expected(issuer, audience)
        self._clock = clock
        self._keys: KeySource = (
            UrlKeys(_checked_url(jwks), fetch, ticks) if "://" in jwks else FileKeys(Path(jwks), ticks)
        )
        self._signatures = PyJWS(sorted(ALGORITHMS))
        self._cache = _TokenCache()

    async def start(self) -> None:
        """Get the keys. Raises `StartError` when there are none."""
        await self._keys.start()

    async def close(self) -> None:
        """End what is under way."""
        await self._keys.close()

    def verify_at_once(self, token: str) -> Verified | NotYet:
        """Who the bearer of the token is; `NotYet` if newer keys may tell."""
        found = self._verify(token)
        if found in (UNKNOWN_KEY, NO_KEYS) and self._keys.renewal() is not None:
            return NotYet.NOT_YET
        return found

    async def verify(self, token: str) -> Verified:
        """The same, after waiting for newer keys if they may tell."""
        found = self._verify(token)
        if found in (UNKNOWN_KEY, NO_KEYS) and (renewal := self._keys.renewal()) is not None:
            # Not awaited directly: a caller that goes away must not cancel what others wait for.
            await asyncio.wait({renewal})
            found = self._verify(token)
        return found

    def _verify(self, token: str) -> Verified:
        keys, now = self._keys.current(), self._clock()
        if keys is None:
            return NO_KEYS
        if len(token) > MAX_TOKEN:
            return Rejected(f"the token is longer than {MAX_TOKEN} characters")
        cached = self._cache.get(token, keys)
        claims = cached.claims if cached is not None else self._claims(token, keys)
        if isinstance(claims, Rejected):
            return claims
        rejected = self._expected.check(claims, now)
        if rejected is not None:
            return rejected
        if cached is not None:
            return cached
        principal = Principal(claims["sub"], claims["iss"], claims)
        self._cache.keep(token, keys, principal)
        return principal

    def _claims(self, token: str, keys: KeySet) -> dict[str, Any] | Rejected:
        """The claims of a token with a good signature."""
        compact = _COMPACT.fullmatch(token)
        header = None if compact is None else _object(_decoded(compact["header"]))
        if header is None:
            return _MALFORMED
        rejected = _check_header(header)
        if rejected is not None:
            return rejected
        algorithm = header["alg"]
        key = keys.find(header.get("kid"), algorithm)
        if key is None:
            return UNKNOWN_KEY
        try:
            payload = self._signatures.decode_complete(token, key.material, [algorithm])["payload"]
        except PyJWTError:
            return Rejected("the token's signature is wrong")
        return _object(payload) or _MALFORMED


class _TokenCache:
    """A cache of tokens with a valid signature, by their digests, under one set of keys; the least recently used go.

    Only what depends on the token and the keys alone is cached. Whether the token is valid now is checked each time.
    """

    def __init__(self) -> None:
        self._keys: KeySet | None = None
        self._verified: OrderedDict[bytes, Principal] = OrderedDict()

    def get(self, token: str, keys: KeySet) -> Principal | None:
        """The principal of a token, unless the keys have changed since."""
        if keys is not self._keys:
            self._verified.clear()
            self._keys = keys
        digest = _digest(token)
        found = self._verified.get(digest)
        if found is not None:
            self._verified.move_to_end(digest)
        return found

    def keep(self, token: str, keys: KeySet, principal: Principal) -> None:
        """Keep the principal of a token, which was verified by the same keys as in the last `get`."""
        assert keys is self._keys  # `get` comes first, and nothing is awaited between the two
        self._verified[_digest(token)] = principal
        if len(self._verified) > MAX_REMEMBERED:
            self._verified.popitem(last=False)


def _check_header(header: Mapping[str, Any]) -> Rejected | None:
    """None for a header with an accepted algorithm and type that asks for no extension."""
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if "crit" in header or "b64" in header:
        return Rejected("the token needs an extension that is not supported")
    if type(algorithm) is not str or algorithm not in ALGORITHMS:
        return Rejected("the token's algorithm is not accepted: only RS, PS and ES with SHA-2, and EdDSA are")
    if ("kid" in header and type(kid) is not str) or type(kind) is not str or kind.lower() not in _TYPES:
        return _MALFORMED
    return None


def _object(content: bytes) -> dict[str, Any] | None:
    """The JSON object in `content`, or None if parsers could read it differently."""
    try:
        value, _ = read_value(content)
    except NotStrict:
        return None
    return value if type(value) is dict else None


def _decoded(segment: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except ValueError:
        return b""


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        name = parts.hostname or ""
        safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(name))
        plain = bool(name) and parts.port != 0 and "@" not in parts.netloc and url.isascii() and url.isprintable()
    except ValueError:
        safe = plain = False
    if not safe or not plain:
        raise UsageError(
            "--jwt-jwks must be a path or an https:// URL without a password (http:// to loopback only),"
            " as https://issuer.example.com/keys"
        )
    return url
