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
_BLOCK: Final = 1 << _BITS
_DIGITS: Final = 16
"""Hex digits of the hash of an id."""
_MOST: Final = 256 << _BITS
"""Hashes that are kept: sessions count each for itself."""


class Hashes:
    """Hashes by the secret `key`."""

    def __init__(self, key: bytes) -> None:
        self._arguments = hashlib.blake2b(key=key, digest_size=16)
        # Another `person`, so that no hash of one kind is one of another kind.
        self._ids = hashlib.blake2b(key=key, digest_size=64, person=b"ids")
        self._texts = hashlib.blake2b(key=key, digest_size=8, person=b"text ids")
        self.kept: dict[Id, str] = {}
        """The hashes of some ids, all of them integers: whoever finds an id here needs not ask `of_id`."""

    def of_arguments(self, arguments: dict[str, Any]) -> str:
        """The hash of a call's arguments, in 32 hex digits; equal ones have the same if their members stand alike."""
        hashed = self._arguments.copy()
        hashed.update(encode(arguments))
        return hashed.hexdigest()

    def of_id(self, id_: Id) -> str:
        """The hash of a JSON-RPC id, in 16 hex digits; 1 and "1" are two ids."""
        if type(id_) is not int:
            hashed = self._texts.copy()
            hashed.update(str(id_).encode())
            return hashed.hexdigest()
        if id_ not in self.kept:
            self._keep(id_ >> _BITS)
        return self.kept[id_]

    def _keep(self, block: int) -> None:
        if len(self.kept) >= _MOST:
            self.kept.clear()
        hashed = self._ids.copy()
        hashed.update(b"%d" % block)
        digits, first = hashed.hexdigest(), block << _BITS
        for place in range(_BLOCK):
            self.kept[first + place] = digits[place * _DIGITS : (place + 1) * _DIGITS]
