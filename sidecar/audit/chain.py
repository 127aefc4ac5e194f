"""The chain of audit lines: each has a number, and a hash that covers the line and the hash of the line before it."""

from __future__ import annotations

from binascii import hexlify
from hashlib import sha256
from typing import Final

BEGINNING: Final = b"0" * 32
"""What stands for the hash of the line before the first one, whose number is 1."""


def link(previous: bytes, line: bytes) -> bytes:
    """The hash of a line before it is sealed: the first 32 hex digits of SHA-256 over `previous` and the line.

    `previous` is the hash of the line before, in hex digits. So `sha256sum` computes the same. The number of a line is
    not in it: numbers have no gaps, and the first line of a file is number 1 or says after which one it comes.
    """
    return hexlify(sha256(previous + line).digest()[:16])
