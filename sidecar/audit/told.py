"""What a line of any form says about itself: what the check of a chain needs of it."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from sidecar.audit.forms import cef, rfc5424
from sidecar.audit.stamp import stamp
from sidecar.settings import AuditFormat


class Told(msgspec.Struct, frozen=True):
    """What happened, when, and who says so. `after` and `previous` are of a line that goes on from another file.

    `lines` are lost; `torn` is the hash of what was cut off before this line.
    """

    event: str = ""
    time: str = ""
    instance: str = ""
    after: int = 0
    previous: str = ""
    lines: int = 0
    torn: str = ""


_JSON: Final = msgspec.json.Decoder(Told)
_CEF: Final = re.compile(rb"CEF:0\|(?:(?:[^|\\]|\\.)*\|){3}([a-z_]+)\|(?:(?:[^|\\]|\\.)*\|){2}")
_EXTENSION: Final = re.compile(rb"([A-Za-z0-9]+)=((?:[^=\\]|\\.)*?)(?: (?=[A-Za-z0-9]+=)|\Z)")
_SYSLOG: Final = re.compile(rb"<[0-9]+>1 ([^ ]+) [^ ]+ [^ ]+ [^ ]+ ([^ ]+) \[audit@%d" % rfc5424.ENTERPRISE)
_PARAM: Final = re.compile(rb' ([^ ="\]]+)="((?:[^"\\\]]|\\.)*)"')


def form_name(line: bytes) -> AuditFormat:
    """The form that a line has by the look of its beginning."""
    if line.startswith(b"CEF:"):
        return "cef"
    return "rfc5424" if line.startswith(b"<") else "json"


def told(line: bytes) -> Told:
    """What a line says of itself, without its seal. Raises ValueError."""
    match form_name(line):
        case "json":
            return _of_json(line)
        case "cef":
            return _of_cef(line)
        case "rfc5424":
            return _of_syslog(line)


def _of_json(line: bytes) -> Told:
    try:
        return _JSON.decode(line)
    except RecursionError:
        raise ValueError("it holds more within each other than can be read") from None


def _time(milliseconds: str) -> str:
    try:
        return stamp(int(milliseconds) / 1000)
    except (OverflowError, OSError):
        raise ValueError("its time is none") from None


def _of_cef(line: bytes) -> Told:
    head = _CEF.match(line)
    if head is None:
        raise ValueError("it is no event of CEF")
    said, at = {}, head.end()
    # One behind the other: to look for the next one would take the square of a line's length.
    while (found := _EXTENSION.match(line, at)) is not None:
        said[found[1].decode()] = found[2].decode()
        at = found.end()

    def member(name: str) -> str:
        return said.get(cef.key_of(name), "")

    return Told(
        head[1].decode(), _time(said.get("rt", "0")), member("instance"),
        int(member("after") or "0"), member("previous"), int(member("lines") or "0"), member("torn"),
    )  # fmt: skip


def _of_syslog(line: bytes) -> Told:
    head = _SYSLOG.match(line)
    if head is None:
        raise ValueError("it is no message of RFC 5424")
    said, at = {}, head.end()
    while (found := _PARAM.match(line, at)) is not None:
        said[found[1].decode()] = found[2].decode()
        at = found.end()
    return Told(
        head[2].decode(), head[1].decode(), said.get("instance", ""),
        int(said.get("after", "0")), said.get("previous", ""), int(said.get("lines", "0")), said.get("torn", ""),
    )  # fmt: skip
