"""How a registry asks who we are (its `WWW-Authenticate`), and which token service may see our login. No I/O."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlencode

from sidecar.auth.hosts import is_loopback
from sidecar.http import origin
from sidecar.http.origin import Origin

_BEARER = re.compile(r"(?:^|,)\s*Bearer\s+(.*)", re.IGNORECASE)
_BASIC = re.compile(r"(?:^|,)\s*Basic\b", re.IGNORECASE)
# It begins where a word does: else each letter of a long one would be tried as the first.
_PARAMETER = re.compile(r'(?<![a-z])([a-z]+)="([^"\\]{0,2000})"', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TokenService:
    """Where tokens for a registry are to be had. `sees_login` says whether it may be told who we are."""

    url: str
    where: str
    sees_login: bool


def wants_basic(challenge: str) -> bool:
    """True for a registry that takes name and password itself."""
    return _BASIC.search(challenge) is not None


def token_service(challenge: str, registry: Origin, scope: str) -> TokenService | None:
    """The token service that a registry names, None where it names none. Raises ValueError for one that is not asked.

    The scope is ours and not the one that it names: a registry has no say in what else a token opens.
    """
    found = _BEARER.search(challenge)
    if not found:
        return None
    said = {name.lower(): value for name, value in _PARAMETER.findall(found[1])}
    realm = said.get("realm", "")
    place, _ = origin.parse(realm)
    if not place.secure and not (is_loopback(place.host) and is_loopback(registry.host)):
        raise ValueError("a token is asked for by https:// only")
    query = urlencode({"service": said.get("service", ""), "scope": scope})
    url = f"{realm}{'&' if '?' in realm else '?'}{query}"
    return TokenService(url, place.host_header, _is_of(place.host, registry.host))


def _is_of(host: str, registry: str) -> bool:
    """True for the host of the registry itself, and for one of its domain: `auth.docker.io` for `registry-1.docker.io`.

    Whoever else a registry names is not told who we are: one that was taken over would send our login to anybody.
    """
    if host == registry:
        return True
    domain = registry.partition(".")[2]
    if "." not in domain or _is_address(registry) or _is_address(host):
        return False
    return host == domain or host.endswith(f".{domain}")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
