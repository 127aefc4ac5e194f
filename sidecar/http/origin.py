"""Where a server is: the origin in a URL, and what is asked for there. No I/O."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Origin:
    """A server: whether over TLS, its host without brackets, its port."""

    secure: bool
    host: str
    port: int

    @property
    def host_header(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


def parse(url: str) -> tuple[Origin, str]:
    """A URL's origin and target (path and query). Raises ValueError with a text that says what is wrong."""
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("a URL has visible ASCII characters only: percent-encode others, and write a host as xn--")
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in ("http", "https"):
        raise ValueError("a URL begins with http:// or https://")
    if "#" in rest:
        raise ValueError("a URL of a server has no fragment (#)")
    found = _AUTHORITY.match(rest)
    assert found is not None
    authority, target = found[0], rest[found.end() :]
    if "@" in authority:
        raise ValueError("a URL of a server has no user and no password in it")
    secure = scheme.lower() == "https"
    host, port = _host_and_port(authority, 443 if secure else 80)
    return Origin(secure, host, port), target if target.startswith("/") else f"/{target}"


_AUTHORITY = re.compile(r"[^/?]*")
_HOST_AND_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?")


def _host_and_port(authority: str, default: int) -> tuple[str, int]:
    found = _HOST_AND_PORT.fullmatch(authority)
    if not found:
        raise ValueError("a URL has a host, and perhaps a port: http://host:8080/path, http://[::1]:8080/path")
    literal, name, port = found.groups()
    if literal is not None:
        try:
            name = str(ipaddress.IPv6Address(literal))
        except ValueError:
            raise ValueError("between the brackets of a URL stands an IPv6 address") from None
    elif any(not 1 <= len(label) <= 63 for label in name.removesuffix(".").split(".")) or len(name) > 254:
        raise ValueError("the host of a URL has labels of 1 to 63 characters, with dots between them")
    if port is not None and not 1 <= int(port) <= 65535:
        raise ValueError("the port of a URL is a number from 1 to 65535")
    return name.lower(), int(port) if port else default
