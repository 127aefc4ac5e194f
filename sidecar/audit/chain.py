"""The chain of audit lines: each has a number, and a hash that covers the line and the hash of the line before it."""

from __future__ import annotations

from binascii import hexlify
from hashlib import sha256
from typing import Final

BEGINNING: Final = b"0" * 32
"""What stands for the hash of the line before the first one, whose number is 1."""


def link(previous: bytes, seq: int, line: bytes) -> bytes:
    """The hash of a line: the first 32 hex digits of SHA-256 over `PREVIOUS SEQ LINE`, with one blank between each.

    `previous` is the hash of the line before in hex digits, `seq` the number in decimal, `line` the line before it is
    sealed. `sha256sum` can compute the same.
    """
    return hexlify(sha256(b"%b %d %b" % (previous, seq, line)).digest()[:16])
