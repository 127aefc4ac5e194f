"""What texts say, read strictly: decimals, absolute paths, URLs. A text that cannot be read for certain is None."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

MOST_DIGITS: Final = 34
PORTS: Final = {"http": 80, "https": 443}


def decimal_of(text: str) -> Decimal | None:
    """The number that a plain decimal writes."""
    if not re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?", text):
        return None
    number = Decimal(text)
    return number if significant(number) <= MOST_DIGITS else None


def significant(number: Decimal) -> int:
    """How many digits a number has, without the zeros at its two ends."""
    return len("".join(map(str, number.as_tuple().digits)).strip("0"))


def has_control(text: str) -> bool:
    """True when a control character is in the text, U+0000 to U+001F or U+007F to U+009F."""
    return any(ord(char) < 0x20 or 0x7F <= ord(char) <= 0x9F for char in text)


def is_blank(char: str) -> bool:
    """True for a blank of any script, which some readers take off at the end of a text."""
    return unicodedata.category(char).startswith("Z")


def lies_within(path: str, folders: str | Sequence[str]) -> bool | None:
    """True when an absolute path is one of the folders or lies below one."""
    names = _names(path)
    if names is None:
        return None
    for folder in [folders] if isinstance(folders, str) else folders:
        above = [name for name in folder.split("/") if name]
        if names[: len(above)] == above:
            return True
    return False


def _names(path: str) -> list[str] | None:
    """The names from the root on, `.` and `..` resolved as text."""
    if not path.startswith("/") or "\\" in path or has_control(path) or is_blank(path[-1]) or path[-1] == "\ufeff":
        return None
    names: list[str] = []
    for name in path.split("/"):
        if name == "..":
            names[-1:] = []
        elif name not in ("", "."):
            names.append(name)
    return names


@dataclass(frozen=True, slots=True)
class Host:
    """The host of a URL in one spelling, and its port; `usual` when the scheme has that port."""

    name: str
    port: int
    usual: bool


def is_host_of(url: str, entries: Sequence[str]) -> bool | None:
    """True when the host of an absolute URL is one of the entries."""
    host = host_of(url)
    return None if host is None else any(_fits(host, entry) for entry in entries)


def host_of(url: str) -> Host | None:
    """The host of an absolute `http` or `https` URL."""
    if any(map(is_blank, url)) or "\\" in url or has_control(url):
        return None
    found = re.fullmatch(r"([Hh][Tt][Tt][Pp][Ss]?)://([^/?#]*)([/?#].*)?", url)
    # Programs exist that end the authority at a slash only: to them all before an @ in a query is userinfo.
    if not found or "@" in found[2] + (found[3] or "").partition("/")[0]:
        return None
    scheme, authority = found[1].lower(), found[2]
    if authority.startswith("["):
        parts = re.fullmatch(r"(\[[^\]]*\])(:.*)?", authority)
    else:
        parts = re.fullmatch(r"([^:]*)(:.*)?", authority)
    if not parts:
        return None
    name, port = _host(parts[1]), PORTS[scheme] if parts[2] is None else _port(parts[2][1:])
    if name is None or port is None:
        return None
    return Host(name, port, port == PORTS[scheme])


def _port(text: str) -> int | None:
    return int(text) if re.fullmatch("[1-9][0-9]{0,4}", text) and int(text) < 65536 else None


def _host(text: str) -> str | None:
    """A host in lower case; an address of version 6 in its one canonical spelling."""
    if text.startswith("["):
        return _address_6(text[1:-1])
    name = text.lower()
    labels = name.split(".")
    if not all(re.fullmatch("[0-9a-z_-]{1,63}", label) and label.strip("-") == label for label in labels):
        return None
    if re.fullmatch("[0-9]+|0x[0-9a-f]*", labels[-1]):
        octet = "(0|[1-9][0-9]{0,2})"
        plain = re.fullmatch(rf"{octet}\.{octet}\.{octet}\.{octet}", name)
        return name if plain and all(int(each) < 256 for each in plain.groups()) else None
    return name


def _address_6(text: str) -> str | None:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return None
    wrapping = ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/32", "2002::/16", "2001::/32")
    wraps = any(address in ipaddress.IPv6Network(each) for each in wrapping) and str(address) != "::1"
    return None if wraps or "." in text or "%" in text else f"[{address}]"


def _fits(host: Host, entry: str) -> bool:
    found = re.fullmatch(r"(\*\.)?(\[.*\]|[^:]*)(:(.+))?", entry)
    assert found
    below, name, port = found[1], found[2].lower(), found[4]
    right_port = host.usual if port is None else port == "*" or int(port) == host.port
    if name.startswith("["):
        name = f"[{ipaddress.IPv6Address(name[1:-1])}]"
    return right_port and (host.name.endswith(f".{name}") if below else host.name == name)
