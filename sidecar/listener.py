"""A small HTTP/1.1 listener for our own endpoints (bundle service, telemetry): GET only, parsed by h11.

Not for MCP traffic. Bounded in every direction: size of a request's head, idle time, connections.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import h11

MAX_CONNECTIONS: Final = 32
IDLE: Final = 75.0
"""Seconds within which a request must have come."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A GET request. `headers` has lower-case names; of repeated ones the last counts."""

    path: str
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A whole answer; its length is added."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]


class Listener:
    """Serves one handler at one address. `port` is the one in use, also when 0 was asked for."""

    def __init__(self, server: asyncio.Server, tasks: set[asyncio.Task[None]]) -> None:
        self._server = server
        self._tasks = tasks
        self.port: int = server.sockets[0].getsockname()[1]

    @classmethod
    async def start(cls, host: str, port: int, handler: Handler) -> Listener:
        """Listen. Raises OSError when the address cannot be had."""
        tasks: set[asyncio.Task[None]] = set()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            if len(tasks) >= MAX_CONNECTIONS:
                writer.close()
                return
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            await _serve(reader, writer, handler)

        return cls(await asyncio.start_server(connected, host, port), tasks)

    async def close(self) -> None:
        """Stop listening and end every connection."""
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=1)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler) -> None:
    connection = h11.Connection(h11.SERVER)
    # The other side may go away or send anything: that ends this connection and concerns nobody else.
    with contextlib.suppress(OSError, TimeoutError, asyncio.CancelledError):
        try:
            while await _one(connection, reader, writer, handler):
                connection.start_next_cycle()
        except h11.RemoteProtocolError as error:
            if connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                # Without a body: an answer to HEAD may have none.
                await _send(connection, writer, HttpResponse(error.error_status_hint), close=True)
        finally:
            writer.close()


async def _one(
    connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler
) -> bool:
    """Answer one request; True when another may follow."""
    request = None
    while True:
        event = connection.next_event()
        match event:
            case h11.NEED_DATA:
                async with asyncio.timeout(IDLE):
                    connection.receive_data(await reader.read(8192))
            case h11.Request():
                request = event
            case h11.Data():
                raise h11.RemoteProtocolError("a request with a body", error_status_hint=413)
            case h11.EndOfMessage():
                break
            case _:
                return False
    assert request is not None
    if request.method != b"GET":
        body = b"" if request.method == b"HEAD" else b"only GET is allowed\n"
        response = HttpResponse(405, body, {"Allow": "GET"})
    else:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
        response = await handler(HttpRequest(request.target.decode("latin-1").partition("?")[0], headers))
    await _send(connection, writer, response, close=False)
    return connection.our_state is h11.DONE and connection.their_state is h11.DONE


async def _send(connection: h11.Connection, writer: asyncio.StreamWriter, response: HttpResponse, close: bool) -> None:
    headers = [("Content-Length", str(len(response.body))), *response.headers.items()]
    if close:
        headers.append(("Connection", "close"))
    if response.status == HTTPStatus.NOT_MODIFIED:
        headers = headers[1:]
    reason = HTTPStatus(response.status).phrase.encode()
    parts = [
        connection.send(h11.Response(status_code=response.status, headers=headers, reason=reason)),
        connection.send(h11.Data(data=response.body)) if response.body else b"",
        connection.send(h11.EndOfMessage()),
    ]
    writer.write(b"".join(part or b"" for part in parts))
    async with asyncio.timeout(IDLE):
        await writer.drain()
