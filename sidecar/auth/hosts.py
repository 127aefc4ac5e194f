"""Which Host and Origin values a listener admits: the defence against DNS rebinding.

A page in a browser can let its own name resolve to 127.0.0.1, and so reach a listener on loopback. It cannot keep that
name out of Host and Origin. The answers are those of the official SDK (`mcp/server/transport_security.py`): 421 for a
host, 403 for an origin.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from sidecar.auth.refusal import Refusal
from sidecar.errors import UsageError
from sidecar.text import shown_quoted

_MISDIRECTED: Final = Refusal(
    421,
    "this listener does not answer to that Host: call it by localhost, or start it with --allow-host HOST[:PORT]",
    reason="host",
)
_FOREIGN: Final = Refusal(403, "requests of pages from that Origin are not admitted", reason="origin")

_MAX_CACHED: Final = 100
"""Pairs of admitted headers in the cache."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_ADDRESS = r"(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+))"
_PORT = r"(?P<port>[1-9][0-9]{0,4})"
_HOST = re.compile(rf"{_ADDRESS}(?::{_PORT})?", re.ASCII | re.IGNORECASE)
_ALLOWED_HOST = re.compile(rf"{_ADDRESS}(?::(?:{_PORT}|\*))?", re.ASCII | re.IGNORECASE)
_ORIGIN = re.compile(rf"(?P<scheme>[a-z][a-z0-9+.-]*)://{_ADDRESS}(?::{_PORT})?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Place:
    """A host in one canonical spelling, and its port if one is named."""

    name: str
    port: int | None

    @property
    def is_loopback(self) -> bool:
        return is_loopback(self.name)


@dataclass(frozen=True, slots=True)
class _Origin:
    scheme: str
    name: str
    port: int | None


class Hosts:
    """The hosts and origins that a listener on `bind` and `port` admits; `port` is the port that was bound, never 0.

    With `addresses` it admits any IP address, and localhost, with any port: the name of a page is neither, and probes
    come by address.

    Raises `UsageError` for a value of `--allow-host` or `--allow-origin` that could never match.
    """

    def __init__(
        self, bind: str, port: int, allow_hosts: Iterable[str] = (), allow_origins: Iterable[str] = (), *,
        addresses: bool = False,
    ) -> None:  # fmt: skip
        self._port = port
        self._addresses = addresses
        self._bound = _bound_name(bind)
        allowed = [_allowed_host(value) for value in allow_hosts]
        self._any_port = frozenset(place.name for place in allowed if place.port is None)
        self._exact = frozenset((place.name, place.port) for place in allowed if place.port is not None)
        self._origins = frozenset(_allowed_origin(value) for value in allow_origins)
        self._admitted: set[tuple[str | None, str | None]] = set()

    def check(self, host: str | None, origin: str | None) -> Refusal | None:
        """None for a request that is admitted; each header as it came, None for one that is missing."""
        if (host, origin) in self._admitted:  # every request of a client has the same two
            return None
        if host is None or not self._admits_host(host):
            return _MISDIRECTED
        if origin is not None and not self._admits_origin(origin):
            return _FOREIGN
        if len(self._admitted) < _MAX_CACHED:
            self._admitted.add((host, origin))
        return None

    def _admits_host(self, host: str) -> bool:
        place = _read(_HOST.fullmatch(host))
        if place is None:
            return False
        if place.name in self._any_port or (place.is_loopback and place.port in (None, self._port)):
            return True
        if self._addresses and (place.is_loopback or _is_address(place.name)):
            return True
        # Clients leave out the default port of their scheme, and TLS may end in front of us.
        ports = _DEFAULT_PORTS.values() if place.port is None else (place.port,)
        if place.name == self._bound and self._port in ports:
            return True
        return any((place.name, port) in self._exact for port in ports)

    def _admits_origin(self, text: str) -> bool:
        origin = _read_origin(text)
        if origin is None:
            return False
        if isinstance(origin, _Origin) and origin.scheme in _DEFAULT_PORTS and is_loopback(origin.name):
            return True
        return origin in self._origins


def is_loopback(name: str) -> bool:
    """True for a host name or an address (without brackets) that can only mean this machine."""
    if name in ("localhost", "::1"):
        return True
    try:
        return IPv4Address(name).is_loopback
    except AddressValueError:
        return False


def beyond_loopback(allow_hosts: Iterable[str]) -> list[str]:
    """Those values of `--allow-host` by which nobody on this machine needs to call. Raises `UsageError` as `Hosts`."""
    return [value for value in allow_hosts if not _allowed_host(value).is_loopback]


def _is_address(name: str) -> bool:
    """True for an IP address in the spelling of `_Place`."""
    try:
        IPv6Address(name) if ":" in name else IPv4Address(name)
    except AddressValueError:
        return False
    return True


def _read(found: re.Match[str] | None) -> _Place | None:
    """The host and port that matched, in the spelling that is compared; None if it is none."""
    if found is None:
        return None
    port = int(found["port"]) if found["port"] else None
    if port is not None and port > 65535:
        return None
    name = _six(found["six"]) if found["six"] else found["name"].lower().removesuffix(".")
    return _Place(name, port) if name else None


def _six(address: str) -> str:
    try:
        return str(IPv6Address(address))
    except AddressValueError:
        return ""


def _read_origin(text: str) -> _Origin | str | None:
    """An origin; the text `null` for that origin, and None for what is no origin."""
    if text == "null":
        return text
    found = _ORIGIN.fullmatch(text)
    place = _read(found)
    if found is None or place is None:
        return None
    scheme = found["scheme"].lower()
    return _Origin(scheme, place.name, place.port or _DEFAULT_PORTS.get(scheme))


def _bound_name(bind: str) -> str:
    """The host name of the bind address; empty for a wildcard, which is no name."""
    try:
        address: IPv4Address | IPv6Address = IPv6Address(bind) if ":" in bind else IPv4Address(bind)
    except AddressValueError:
        return bind.lower().removesuffix(".")
    return "" if address.is_unspecified else str(address)


def _allowed_host(value: str) -> _Place:
    place = _read(_ALLOWED_HOST.fullmatch(value))
    if place is None:
        raise UsageError(
            f"--allow-host {shown_quoted(value)} can never match: write mcp.example.com, mcp.example.com:8080 or"
            " [fd00::1] (other alphabets as xn--...)"
        )
    return place


def _allowed_origin(value: str) -> _Origin | str:
    origin = _read_origin(value)
    if origin is None:
        raise UsageError(
            f"--allow-origin {shown_quoted(value)} can never match: write https://app.example.com or"
            " https://app.example.com:8443, without a path, each origin by itself, or null"
        )
    return origin
