"""The hosts of `host_in`: how a policy writes them, and what Rego compares the host of a URL with. Reads no URL."""

from __future__ import annotations

import re
from decimal import Decimal
from ipaddress import AddressValueError, IPv4Address, IPv6Address, IPv6Network
from typing import Final

from sidecar.policy.model import Value
from sidecar.text import quoted

ANY_PORT: Final = "any"
DEFAULT_PORT: Final = "default"
"""The port of the URL's scheme."""
MAX_LENGTH: Final = 253
"""Characters of the longest name in the DNS."""
MAX_PART: Final = 63
"""Characters between two dots of one."""
MAX_PORT: Final = 65535


def compiled(value: Value) -> tuple[Value, ...]:
    """The hosts in a list of texts, each as `{"host": "example.com", "below": False, "port": "default"}`.

    `below` stands for every name below the host, and not for itself. The port is a number, "any" or "default". Raises
    ValueError with what to write instead.
    """
    if not isinstance(value, tuple) or not value:
        raise ValueError('host_in needs a list of hosts: write [example.com, "*.example.org", example.net:8443]')
    return tuple(map(_host, value))


def _host(item: Value) -> Value:
    if not isinstance(item, str) or not item:
        raise ValueError('host_in needs hosts, as texts: write example.com, and addresses in quotes, as "[::1]"')
    found = _ENTRY.fullmatch(item)
    if advice := _of_the_whole(item):
        raise ValueError(f"{quoted(item)} {advice}")
    if found is None:
        raise ValueError(f"{quoted(item)} is no host: write example.com, *.example.com, example.com:8443 or [::1]")
    host, port, below = found["host"], found["port"], found["below"] is not None
    if advice := _of_the_host(host, below=below) or _of_the_port(port):
        raise ValueError(f"{quoted(item)} {advice}")
    return {"host": host, "below": below, "port": _port(port)}


def _port(text: str | None) -> Value:
    if text is None:
        return DEFAULT_PORT
    return ANY_PORT if text == "*" else Decimal(text)


def _of_the_whole(item: str) -> str | None:
    """What is wrong with the text of an entry; None where it may be one."""
    if url := re.match(r"[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#]*@)?(?P<host>[^/?#]*)", item):
        shown = f", as {quoted(url['host'].lower())}" if url["host"] else ""
        return f"is a URL: write its host alone{shown}"
    if not item.isascii():
        return "is not ASCII: write it as it is sent, where a part with other letters begins with xn--"
    if more := re.search(r"[/?#@\\\x00-\x20\x7f]", item):
        return f"has {quoted(more[0])} in it: write the host alone, as example.com"
    if item != item.lower():
        return f"has capital letters, and hosts are compared in lower case: write {quoted(item.lower())}"
    if item.count(":") > 1 and "[" not in item:
        return f"is an IPv6 address without brackets: write {quoted(f'[{item}]')}"
    if item in ("*", "*:*"):
        return "is every host: name those that are meant"
    if "*" in item.removeprefix("*.").removesuffix(":*"):
        return "has * where it means nothing: it stands for all names below a host, as *.example.com, or for any port"
    return None


def _of_the_port(text: str | None) -> str | None:
    if text in (None, "*") or (re.fullmatch(r"[1-9][0-9]{0,4}", text) and int(text) <= MAX_PORT):
        return None
    return f"has no good port: write a number from 1 to {MAX_PORT} after the colon, * for any, or no colon"


def _of_the_host(host: str, *, below: bool) -> str | None:
    if host.startswith("["):
        advice = _of_ipv6(host)
    elif _NUMBER.search(host):
        advice = None if _is_ipv4(host) else "is no IPv4 address: write four numbers up to 255, as 127.0.0.1"
    else:
        return _of_name(host)
    return advice or ("has a name before an address: write the address alone" if below else None)


def _of_ipv6(host: str) -> str | None:
    try:
        address = IPv6Address(host[1:-1])
    except AddressValueError:
        return "is no IPv6 address: write one in brackets, as [::1]"
    if address.scope_id is not None:
        return "has a zone, and no URL with one is read: write the address alone"
    if address != _ITSELF and any(address in network for network in _WRAPPING):
        return "wraps an IPv4 address, and no URL with such a host is read: write the IPv4 address, if that is meant"
    shortest = f"[{address.compressed}]"
    return None if host == shortest else f"is not in its shortest form: write {quoted(shortest)}"


def _is_ipv4(host: str) -> bool:
    try:
        return str(IPv4Address(host)) == host
    except AddressValueError:
        return False


def _of_name(host: str) -> str | None:
    if host.endswith("."):
        return f"has a dot at its end: write {quoted(host.rstrip('.'))}"
    if not _NAME.fullmatch(host):
        return "is no host: a name is made of a-z, 0-9, hyphens and underscores, with single dots between its parts"
    if len(host) > MAX_LENGTH or max(map(len, host.split("."))) > MAX_PART:
        return f"is too long for a name: up to {MAX_LENGTH} characters, and {MAX_PART} between two dots"
    if not all(map(_is_read_one_way, host.split("."))):
        return "has a part that begins with xn-- and that clients read in several ways: write it as it is sent"
    return None


def _is_read_one_way(part: str) -> bool:
    """False for a part that says in punycode what it need not, or nothing."""
    if not part.startswith("xn--"):
        return True
    try:
        text = part[4:].encode().decode("punycode")
        return not text.isascii() and text.encode("punycode").decode() == part[4:]
    except UnicodeError:
        return False


_ENTRY: Final = re.compile(r"(?P<below>\*\.)?(?P<host>\[[^\[\]]*\]|[^\[\]:]+)(?::(?P<port>[^:]*))?")
_NAME: Final = re.compile(r"[a-z0-9_]+(-+[a-z0-9_]+)*(\.[a-z0-9_]+(-+[a-z0-9_]+)*)*")
_NUMBER: Final = re.compile(r"(\A|\.)([0-9]+|0x[0-9a-f]*)\Z")
_ITSELF: Final = IPv6Address("::1")
_WRAPPING: Final = tuple(
    map(IPv6Network, ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/32", "2002::/16", "2001::/32"))
)
"""The same ranges as in rego/intercept/url: there no URL with such an address is read."""
