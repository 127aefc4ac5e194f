"""A minimal MCP server over stdio, as fast as plain Python reads and writes; it needs only the standard library.

Every `tools/call` is answered with the text `ok`; a call of the tool `count` with the number of calls before it.
"""

import json
import os
import re
from typing import Any

# The one form that the client writes. Anything else that a proxy makes of it takes the slower way through `json`.
CALL = re.compile(rb'\{"jsonrpc":"2\.0","id":([0-9]{1,16}),"method":"tools/call","params":\{"name":"echo",')
REPLY = b'{"jsonrpc":"2.0","id":%b,"result":{"content":[{"type":"text","text":"ok"}]}}\n'


def result(message: dict[str, Any], calls: int) -> Any:
    match message["method"]:
        case "initialize":
            return {
                "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "bench", "version": "1"},
            }
        case "tools/list":
            return {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in ("echo", "count")]}
        case "tools/call":
            text = str(calls) if message["params"]["name"] == "count" else "ok"
            return {"content": [{"type": "text", "text": text}]}
    return {}


def main() -> None:
    calls = 0
    begun: list[bytes] = []  # of a line that is not whole yet, which may be long
    while data := os.read(0, 1 << 16):
        if b"\n" not in data:
            begun.append(data)
            continue
        *lines, rest = b"".join([*begun, data]).split(b"\n")
        begun = [rest]
        replies = []
        for line in lines:
            if call := CALL.match(line):
                calls += 1
                replies.append(REPLY % call[1])
                continue
            message = json.loads(line)
            if "id" in message and "method" in message:
                reply = {"jsonrpc": "2.0", "id": message["id"], "result": result(message, calls)}
                replies.append(json.dumps(reply, separators=(",", ":")).encode() + b"\n")
                calls += message["method"] == "tools/call" and message["params"]["name"] == "echo"
        written = b"".join(replies)
        while written:
            written = written[os.write(1, written) :]


if __name__ == "__main__":
    main()
