"""Socket options by which a peer that vanished without a word is noticed within about a minute."""

from __future__ import annotations

import socket
from typing import Final

KEEPALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 20),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
    # Also while bytes that we sent wait for their acknowledgement, in milliseconds.
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000),
)
