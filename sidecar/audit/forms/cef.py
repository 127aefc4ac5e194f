"""Audit lines in CEF, ArcSight's Common Event Format, version 0.

A member that CEF has a key for has that key; what has no key of its own there is in a custom one, with its label. The
others have keys of ours, which begin with `InterceptSidecar`. What is empty is left out.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from sidecar import __version__
from sidecar.audit.forms import words
from sidecar.audit.forms.form import Unsealed
from sidecar.text import visible

PREFIX: Final = "InterceptSidecar"

KEYS: Final = {
    "decision_id": "externalId", "instance": "deviceExternalId", "server": "destinationServiceName",
    "principal": "suser", "by": "suser", "decision": "act", "state": "act", "kind": "cat", "outcome": "outcome",
    "reason": "reason", "method": "requestMethod", "client": "requestClientApplication", "text": "msg",
}  # fmt: skip
"""CEF's own keys, by our members."""
LABELLED: Final = {
    "tool": "cs1", "rule": "cs2", "revision": "cs3", "session": "cs4", "arguments_hash": "cs5", "approval": "cs6",
    "status": "cn1", "serial": "cn2", "code": "cn3", "milliseconds": "cfp1",
}  # fmt: skip
"""CEF's custom keys; each has a label beside it, which is the name of our member."""

_SEAL: Final = re.compile(rb" %bSeq=([1-9][0-9]{0,17}) %bChain=([0-9a-f]{32})\Z" % (PREFIX.encode(), PREFIX.encode()))
_SPLIT: Final = re.compile(r"([\r\n])")
_LINE_ENDS: Final = {"\r": r"\r", "\n": r"\n"}


class Cef:
    """One event a line, without a syslog header: whoever ships the lines by syslog puts one before them."""

    beginning = b"CEF:0|Intercept|"

    def convert(self, line: bytes) -> bytes:
        """The JSON line as an event of CEF."""
        record = words.read(line)
        event = str(record["event"])
        head = "|".join(
            ("CEF:0", "Intercept", "intercept-sidecar", _header(__version__), _header(event),
             _header(words.name(record)), str(words.severity(record)))
        )  # fmt: skip
        del record["event"]
        extension = [f"rt={_milliseconds(record.pop('time'))}"]
        for member, value in record.items():
            text = words.text(value)
            if text:
                extension.append(f"{key_of(member)}={_value(text)}")
                if member in LABELLED:
                    extension.append(f"{LABELLED[member]}Label={member}")
        return f"{head}|{' '.join(extension)}".encode()

    def seal(self, line: bytes, seq: int, chain: bytes) -> bytes:
        """The event with two more keys at its end."""
        return b"%b %bSeq=%d %bChain=%b" % (line, PREFIX.encode(), seq, PREFIX.encode(), chain)

    def unseal(self, line: bytes) -> Unsealed | None:
        """The event without them; None where they are not its last keys."""
        # An equals sign within a value is escaped, so these are keys.
        found = _SEAL.search(line, max(0, len(line) - 150))
        return (line[: found.start()], int(found[1]), found[2]) if found is not None else None


def key_of(member: str) -> str:
    """The key of a member; letters and digits."""
    return KEYS.get(member) or LABELLED.get(member) or PREFIX + member.title().replace("_", "")


def _milliseconds(stamp: str) -> int:
    """A time in UTC as milliseconds since 1970."""
    return round(datetime.fromisoformat(stamp).timestamp() * 1000)


def _header(text: str) -> str:
    return visible(text).replace("\\", "\\\\").replace("|", "\\|")


def _value(text: str) -> str:
    if not (text.isascii() and text.isprintable()):
        text = "".join(part if part in _LINE_ENDS else visible(part) for part in _SPLIT.split(text))
    text = text.replace("\\", "\\\\").replace("=", "\\=")
    for end, escaped in _LINE_ENDS.items():
        text = text.replace(end, escaped)
    # Readers drop blanks at either end of a value.
    if text[:1] == " ":
        text = rf"\\u0020{text[1:]}"
    return rf"{text[:-1]}\\u0020" if text[-1:] == " " else text
