"""A tiny MCP server over stdio for the conformance cases; it needs nothing but Python's standard library.

`--log FILE` gets the text of every `tools/call` as it was received, before it is answered. `--tools FILE` holds a JSON
list of the names that `tools/list` shows. A call is answered with its arguments as text; with a JSON-RPC error that
says that nothing ran when they hold `"__stub": "error"` or the tool's name begins with `stub_error`, with one that does
not for `"late"`; with `isError: true` for `"iserror"` and `stub_iserror`.
"""

import json
import sys
from typing import Any


def option(name: str) -> str:
    return sys.argv[sys.argv.index(name) + 1]


def answer_call(params: dict[str, Any]) -> dict[str, Any]:
    """The member `result` or `error` of the answer to one call."""
    arguments, name = params.get("arguments"), params["name"]
    wanted = arguments.get("__stub") if isinstance(arguments, dict) else None
    if wanted == "error" or name.startswith("stub_error"):
        return {"error": {"code": -32601, "message": "stub error"}}
    if wanted == "late":
        return {"error": {"code": -32603, "message": "stub error"}}
    failed = wanted == "iserror" or name.startswith("stub_iserror")
    text = "stub failure" if failed else json.dumps(arguments)
    return {"result": {"content": [{"type": "text", "text": text}], "isError": failed}}


def answer(message: dict[str, Any], tools: list[str]) -> dict[str, Any]:
    """The member `result` or `error` of the answer to one request."""
    match message["method"]:
        case "initialize":
            return {
                "result": {
                    "protocolVersion": message["params"]["protocolVersion"],
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "stub", "version": "1"},
                }
            }
        case "ping":
            return {"result": {}}
        case "tools/list":
            listed = [{"name": name, "description": name, "inputSchema": {"type": "object"}} for name in tools]
            return {"result": {"tools": listed, "_meta": {"stub": "kept"}}}
        case "tools/call":
            return answer_call(message["params"])
        case _:
            return {"error": {"code": -32601, "message": "no such method"}}


def main() -> None:
    with open(option("--tools")) as file:  # noqa: PTH123 - nothing but the standard library's cheapest
        tools = json.load(file)
    with open(option("--log"), "a", buffering=1) as log:  # noqa: PTH123
        for raw in sys.stdin.buffer:
            line = raw.decode().strip()
            message = json.loads(line)
            if message.get("method") == "tools/call":
                log.write(json.dumps({"line": line}) + "\n")
            if "id" in message:
                sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer(message, tools)}) + "\n")
                sys.stdout.flush()


main()
