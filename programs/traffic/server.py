"""The shop's server: a remote one, which fails as its arguments tell it to, dies, and comes back."""

from __future__ import annotations

import json
import socket
import time
from typing import Final

from programs.traffic.policies import SECRET
from tests.wire.http.server import Asked, Upstream, http, reply, result, text, tools

TOOLS: Final = (
    "read_page", "search", "edit_page", "delete_page", "discount", "send_mail", "send_text", "pay", "reserve",
    "move_stock", "refund", "gift", "lookup", SECRET,
)  # fmt: skip
FATES: Final = ("", "failure", "error", "slow", "lost", "unreadable", "status")
"""What may become of a call of `lookup`, by its argument `fate`."""


def shop_server() -> Upstream:
    """The server, which listens."""
    server = Upstream()
    server.says["tools/list"] = lambda asked, connection: connection.sendall(result(asked, {"tools": tools(*TOOLS)}))
    server.says["lookup"] = server.says["refund"] = _answer
    return server


def _answer(asked: Asked, connection: socket.socket) -> None:
    match asked.message["params"].get("arguments", {}).get("fate"):
        case "failure":
            connection.sendall(result(asked, text("no such page") | {"isError": True}))
        case "error":
            error = {"code": -32603, "message": "the index is broken"}
            body = {name: value for name, value in reply(asked.id, None).items() if name != "result"} | {"error": error}
            connection.sendall(http(200, json.dumps(body).encode()))
        case "slow":
            time.sleep(0.3)
            connection.sendall(result(asked, text("found at last")))
        case "lost":
            connection.shutdown(socket.SHUT_RDWR)
        case "unreadable":
            connection.sendall(http(200, b"<html>It works!</html>"))
        case "status":
            connection.sendall(http(503, b"later"))
        case _:
            connection.sendall(result(asked, text("found")))
