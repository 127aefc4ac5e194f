"""Readers of URLs that clients use, and where each would connect to."""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import httpx
import pydantic
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from tests.support.node import FOLDER, NODE

Destination: TypeAlias = tuple[str, str, int]
"""A scheme, a host and a port. The host is an address, however the URL wrote it, or a name in lower case."""

PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}


def destination(scheme: str | None, host: str | None, port: int | str | None) -> Destination | None:
    """Where a client with this reading connects to; None where to nothing."""
    if scheme is None or scheme.lower() not in PORTS or not host:
        return None
    scheme = scheme.lower()
    return scheme, reached(host), int(port) if port not in (None, "") else PORTS[scheme]


def reached(host: str) -> str:
    """The address that a host is, in brackets where it is IPv6, else the name that is looked up."""
    host = host.removeprefix("[").removesuffix("]")
    if ":" in host:
        with suppress(ValueError):
            return _unwrapped(ipaddress.IPv6Address(host.partition("%")[0]))
    with suppress(UnicodeError):
        host = host.encode("idna").decode()
    host = host.lower().removesuffix(".")
    with suppress(OSError, ValueError):
        return socket.inet_ntoa(socket.inet_aton(host))
    return host


def _unwrapped(address: ipaddress.IPv6Address) -> str:
    wraps = any(address in network for network in _WRAPPING) and int(address) > 1
    return str(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)) if wraps else f"[{address.compressed}]"


_WRAPPING: Final = tuple(map(ipaddress.IPv6Network, ("::ffff:0:0/96", "::/96", "64:ff9b::/96")))


def by_urllib_parse(text: str) -> Destination | None:
    try:
        parts = urlsplit(text)
        return destination(parts.scheme, parts.hostname, parts.port)
    except ValueError:
        return None


class _Https(http.client.HTTPConnection):
    default_port = 443


def by_urllib_request(text: str) -> Destination | None:
    try:
        request = urllib.request.Request(text)
        if not request.host or request.type not in PORTS:
            return None
        connection = {"http": http.client.HTTPConnection, "https": _Https}[request.type](request.host)
    except (ValueError, http.client.InvalidURL):
        return None
    return destination(request.type, connection.host, connection.port)


def by_httpx(text: str) -> Destination | None:
    try:
        url = httpx.URL(text)
        return destination(url.scheme, url.raw_host.decode(), url.port)
    except (httpx.InvalidURL, ValueError):
        return None


def by_urllib3(text: str) -> Destination | None:
    try:
        url = parse_url(text)
    except (LocationParseError, ValueError):
        return None
    return destination(url.scheme, url.host, url.port)


_ANY_URL: Final = pydantic.TypeAdapter(pydantic.AnyUrl)


def by_pydantic(text: str) -> Destination | None:
    """Rust's url, as servers have it whose argument is an AnyUrl."""
    try:
        url = _ANY_URL.validate_python(text)
    except pydantic.ValidationError:
        return None
    return destination(url.scheme, url.host, url.port)


def by_node(texts: Sequence[str]) -> list[Destination | None]:
    done = subprocess.run(
        [NODE, FOLDER / "urls.mjs"],
        input=json.dumps(texts),
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=True,
    )
    read = [each or ["", "", ""] for each in json.loads(done.stdout)]
    return [destination(protocol.removesuffix(":"), host, port) for protocol, host, port in read]


def each(reader: Callable[[str], Destination | None]) -> Callable[[Sequence[str]], list[Destination | None]]:
    return lambda texts: [reader(text) for text in texts]


READERS: Final[Mapping[str, Callable[[Sequence[str]], list[Destination | None]]]] = {
    "urllib.parse": each(by_urllib_parse), "urllib.request": each(by_urllib_request), "httpx": each(by_httpx),
    "urllib3": each(by_urllib3), "pydantic": each(by_pydantic), "node": by_node,
}  # fmt: skip
"""All but Go's, which the engine has."""
