"""Ids of events that only the client that was shown them can come back with.

Servers exist that keep the events of all their clients under one counter and ask nobody whose stream he resumes. So a
client gets the server's id behind a seal that is made of it, of the client, and of a key that nobody else has: a seal
needs no memory, and an id is worth nothing in another session. Sessions end with us, so the key may, too.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import Final

import msgspec

from sidecar.http.values import BLANKS

_BYTES: Final = 15
_SEAL: Final = _BYTES // 3 * 4
"""Characters of a seal."""


class EventIds:
    """Seals ids of events for clients, and knows them again. A client is named by its session and its principal."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def shown(self, id: str, client: tuple[str, str]) -> str:  # noqa: A002 - the protocol's word
        """The server's id as this client sees it. An empty one, which says that there is none, stays empty."""
        return f"{self._seal(id.encode(), client)}.{id}" if id else ""

    def own(self, shown: str, client: tuple[str, str]) -> str | None:
        """The server's id, as the value of a header, for one that came back in a header; None if it is not his."""
        seal, own = shown[:_SEAL], shown[_SEAL + 1 :]
        expected = self._seal(own.encode("latin-1"), client)
        if shown[_SEAL : _SEAL + 1] != "." or not hmac.compare_digest(seal.encode("latin-1"), expected.encode()):
            return None
        return own

    def _seal(self, id_: bytes, client: tuple[str, str]) -> str:
        # A header loses the blanks around its value on the way.
        said = msgspec.json.encode((*client, id_.strip(BLANKS.encode())))
        made = hashlib.blake2b(said, key=self._key, digest_size=_BYTES).digest()
        return base64.urlsafe_b64encode(made).decode()
