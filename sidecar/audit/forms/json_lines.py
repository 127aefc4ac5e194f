"""Audit lines as JSON: the lines as they are made, with the seal as their last two members."""

from __future__ import annotations

import re
from typing import Final

from sidecar.audit.forms.form import Unsealed

SEAL: Final = b',"seq":%d,"chain":"%b"}'
"""What stands instead of the last brace of a line: its number, and its hash."""

# A quotation mark within a text is escaped, so what looks like the last members are the last members.
_SEAL: Final = re.compile(rb',"seq":([1-9][0-9]{0,17}),"chain":"([0-9a-f]{32})"\}\Z')


class JsonLines:
    """One JSON object a line."""

    beginning = b'{"schema":'

    def convert(self, line: bytes) -> bytes:
        """The line as it is."""
        return line

    def seal(self, line: bytes, seq: int, chain: bytes) -> bytes:
        """The line with the members `seq` and `chain` at its end."""
        return line[:-1] + SEAL % (seq, chain)

    def unseal(self, line: bytes) -> Unsealed | None:
        """The line without them; None where they are not its last members."""
        found = _SEAL.search(line, max(0, len(line) - 100))
        return (line[: found.start()] + b"}", int(found[1]), found[2]) if found is not None else None
