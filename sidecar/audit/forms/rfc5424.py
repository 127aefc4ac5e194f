"""Audit lines as syslog messages of RFC 5424, one a line: the members as structured data, and a sentence for people."""

from __future__ import annotations

import os
import re
import socket
from typing import Final

from sidecar.audit.forms import words
from sidecar.audit.forms.form import Unsealed
from sidecar.text import visible

FACILITY: Final = 13
"""Log audit."""
ENTERPRISE: Final = 32473
"""The number that IANA keeps for examples: nobody registered one for this program."""

_NOT_PRINTED: Final = re.compile(r"[^!-~]")
_SPECIAL: Final = re.compile(r'(["\\\]])')
_SEAL: Final = re.compile(
    rb'((?:[^ ]+ ){6})\[seal@%d seq="([1-9][0-9]{0,17})" chain="([0-9a-f]{32})"\](?=\[)' % ENTERPRISE
)
_BOM: Final = "\ufeff"


class Rfc5424:
    """Messages of this host and this process."""

    beginning = b"<1"  # the facility is log audit, whatever the severity

    def __init__(self, host: str | None = None, process: int | None = None) -> None:
        name = _NOT_PRINTED.sub("", socket.gethostname() if host is None else host)[:255]
        self._from = f"{name or '-'} intercept-sidecar {os.getpid() if process is None else process}"

    def convert(self, line: bytes) -> bytes:
        """The JSON line as a message."""
        record = words.read(line)
        time, event = record.pop("time"), str(record["event"])
        priority = FACILITY * 8 + _of_syslog(words.severity(record))
        said = words.sentence(record)
        params = [f' {member}="{_param(words.text(value))}"' for member, value in record.items() if value is not None]
        # Text that is not ASCII is marked as UTF-8; many readers keep the mark, so ASCII goes without.
        message = said if said.isascii() else f"{_BOM}{said}"
        return (
            f"<{priority}>1 {time} {self._from} {event[:32]} [audit@{ENTERPRISE}{''.join(params)}] {message}".encode()
        )

    def seal(self, line: bytes, seq: int, chain: bytes) -> bytes:
        """The message with one more element, the first of its structured data."""
        *head, rest = line.split(b" ", 6)
        return b'%b [seal@%d seq="%d" chain="%b"]%b' % (b" ".join(head), ENTERPRISE, seq, chain, rest)

    def unseal(self, line: bytes) -> Unsealed | None:
        """The message without it; None where it is not the first."""
        found = _SEAL.match(line)
        return (found[1] + line[found.end() :], int(found[2]), found[3]) if found is not None else None


def _of_syslog(severity: int) -> int:
    """Syslog's severity: informational, notice, warning or error."""
    return 6 if severity <= 2 else 5 if severity <= 4 else 4 if severity <= 7 else 3


def _param(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", visible(text))
