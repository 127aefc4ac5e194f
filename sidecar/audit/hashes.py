"""Keyed hashes of what no line holds: the arguments of a call, and its JSON-RPC id.

They are keyed with a secret of this installation, because the bare hash of a PIN, a card number or a small integer can
be reversed by trying all of them.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from sidecar.mcp.jsonrpc import Id
from sidecar.mcp.strict_json import encode

# One digest of BLAKE2b has 64 bytes, so it gives the hashes of eight ids: they are counted up, and the next are there.
_BITS: Final = 3
_IN_BLOCK: Final = 7
_DIGITS: Final = 16
"""Hex digits of the hash of an id."""
_MOST: Final = 256
"""Digests that are kept: sessions count each for itself."""


class Hashes:
    """Hashes by the secret `key`."""

    def __init__(self, key: bytes) -> None:
        self._arguments = hashlib.blake2b(key=key, digest_size=16)
        # Another `person`, so that no hash of one kind is one of another kind.
        self._ids = hashlib.blake2b(key=key, digest_size=64, person=b"ids")
        self._texts = hashlib.blake2b(key=key, digest_size=8, person=b"text ids")
        self._digests: dict[int, bytes] = {}

    def of_arguments(self, arguments: dict[str, Any]) -> str:
        """The hash of a call's arguments, in 32 hex digits; equal ones have the same if their members stand alike."""
        hashed = self._arguments.copy()
        hashed.update(encode(arguments))
        return hashed.hexdigest()

    def of_id(self, id_: Id) -> bytes:
        """The hash of a JSON-RPC id, in 16 hex digits; 1 and "1" are two ids."""
        if type(id_) is int:
            digest = self._digests.get(id_ >> _BITS)
            if digest is None:
                digest = self._digest(id_ >> _BITS)
            begin = (id_ & _IN_BLOCK) * _DIGITS
            return digest[begin : begin + _DIGITS]
        hashed = self._texts.copy()
        hashed.update(str(id_).encode())
        return hashed.hexdigest().encode()

    def _digest(self, block: int) -> bytes:
        if len(self._digests) >= _MOST:
            self._digests.clear()
        hashed = self._ids.copy()
        hashed.update(b"%d" % block)
        digest = self._digests[block] = hashed.hexdigest().encode()
        return digest
