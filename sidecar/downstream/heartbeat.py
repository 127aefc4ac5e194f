"""The sign of life of a stream of server-sent events on which nothing else is said."""

from __future__ import annotations

from typing import Final

from sidecar.http.sse import Event, event_bytes

BEAT: Final = 15.0
"""Seconds of silence after which a stream says that it is alive, so that nothing on the way closes it."""
PING: Final = event_bytes(Event(None, comment=True))
