"""A server on standard input and output whose answers are as large as asked, and that may stop reading.

The tool `large` answers with so many bytes; `deaf` makes it read nothing more; any other tool answers with little.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any, Final

PIECE: Final = 1 << 16


def answer(message: dict[str, Any]) -> dict[str, Any]:
    """The result of a request."""
    params = message.get("params") or {}
    match message["method"]:
        case "initialize":
            about = {"serverInfo": {"name": "large", "version": "1"}, "capabilities": {"tools": {}}}
            return {"protocolVersion": params["protocolVersion"], **about}
        case "tools/list":
            return {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in ("large", "deaf", "few")]}
    if params.get("name") == "deaf":
        time.sleep(600)
    return {"content": [{"type": "text", "text": "small"}]}


def size(message: dict[str, Any]) -> int:
    """How large the text of the answer is to be."""
    return int(((message.get("params") or {}).get("arguments") or {}).get("size", 0))


def say(data: bytes) -> None:
    """Write bytes."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def main() -> None:
    """Answer what comes until the input ends."""
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if "id" not in message or "method" not in message:
            continue
        reply = {"jsonrpc": "2.0", "id": message["id"], "result": answer(message)}
        head, _, tail = json.dumps(reply).partition("small")
        say(head.encode())
        # In pieces, so that it takes no more itself, however large the answer is.
        for _ in range(size(message) // PIECE):
            say(b"x" * PIECE)
        say(tail.encode() + b"\n")


if __name__ == "__main__":
    main()
