"""Writing a stream down one HTTP answer: plain JSON where one message is all of it, else server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sidecar.downstream.heartbeat import BEAT, PING
from sidecar.downstream.hosted.replay_buffer import Stream
from sidecar.http.server import Exchange
from sidecar.http.sse import Event, event_bytes
from sidecar.http.values import EVENTS, JSON, Response


async def write(
    stream: Stream, exchange: Exchange, headers: Sequence[tuple[str, str]], *, after: int = 0,
    name_events: bool = False, listens: bool = False, endpoint: str | None = None,
) -> None:  # fmt: skip
    """Write what comes behind a position until the stream ends or the client goes.

    `name_events` gives each event an id, by which a client that comes back says where it was; `listens` where the
    client wants events, however few; `endpoint` is named in an event before all others (legacy HTTP+SSE).
    """
    task = asyncio.current_task()
    assert task is not None
    exchange.on_gone(task.cancel)
    stream.read()
    try:
        await _write(stream, exchange, headers, after, name_events, listens, endpoint)
    except asyncio.CancelledError:
        if not exchange.gone:
            raise
    finally:
        stream.left()


async def _write(
    stream: Stream, exchange: Exchange, headers: Sequence[tuple[str, str]], after: int, name_events: bool,
    listens: bool, endpoint: str | None,
) -> None:  # fmt: skip
    started = False

    def start() -> None:
        nonlocal started
        if not started:
            started = True
            exchange.start(200, [("content-type", EVENTS), ("cache-control", "no-cache"), *headers])

    if listens or endpoint is not None:
        start()
    if endpoint is not None:
        await exchange.write(event_bytes(Event(endpoint, type="endpoint")))
    while True:
        try:
            async with asyncio.timeout(BEAT):
                found = await stream.next(after)
        except TimeoutError:
            start()
            await exchange.write(PING)
            continue
        if found is None:
            start()
            exchange.end()
            return
        after, message = found
        if not started and after == 1 and stream.ended and stream.count == 1:
            exchange.send(Response(200, (("content-type", JSON), *headers), message))
            return
        start()
        name = f"{stream.name}.{after}" if name_events else None
        await exchange.write(event_bytes(Event(message.decode(), id=name)))
