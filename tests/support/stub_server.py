"""A tiny MCP server over stdio for tests; it needs nothing but Python's standard library.

`--log FILE` gets every `tools/call` line as it was received, before it is answered. `--tools a,b` are listed; where
`--list FILE` is given, the result in that file is, as it stands then. `--announce` says that the list may change. What
a tool call answers depends on its arguments:

    {"stub": "error"}     an error: nothing ran          {"stub": "slow", "until": FILE}   once the file exists
    {"stub": "late"}      an error that may come late    {"stub": "mute"}                  nothing
    {"stub": "failure"}   a result with isError: true    {"stub": "die"}                   nothing: it ends, status 7
    {"stub": "input"}     resultType: input_required     {"stub": "say", "line": TEXT}     TEXT, with its "$TOKEN"
    {"stub": "big", "bytes": N}  a text of N bytes       anything else                     the arguments as text
"""

import json
import os
import sys
import threading
import time
from typing import Any

LOCK = threading.Lock()


def option(name: str, default: str = "") -> str:
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default


def write(text: str) -> None:
    with LOCK:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def text_result(text: str, failed: bool = False) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], "isError": failed}


def answer_call(message: dict[str, Any]) -> None:
    arguments = (message.get("params") or {}).get("arguments") or {}
    reply: dict[str, Any] = {"jsonrpc": "2.0", "id": message.get("id")}
    match arguments.get("stub"):
        case "error":
            reply["error"] = {"code": -32601, "message": "stub error"}
        case "late":
            reply["error"] = {"code": -32603, "message": "stub error"}
        case "failure":
            reply["result"] = text_result("stub failure", failed=True)
        case "input":
            reply["result"] = {"resultType": "input_required", "inputRequests": {}}
        case "big":
            reply["result"] = text_result("x" * int(arguments["bytes"]))
        case "die":
            os._exit(7)
        case "mute":
            return
        case "say":
            token = (message["params"].get("_meta") or {}).get("progressToken")
            write(arguments["line"].replace('"$TOKEN"', json.dumps(token)))
            return
        case "slow":
            threading.Thread(target=answer_late, args=(reply, arguments["until"]), daemon=True).start()
            return
        case _:
            reply["result"] = text_result(json.dumps(arguments))
    write(json.dumps(reply))


def answer_late(reply: dict[str, Any], path: str) -> None:
    while not os.path.exists(path):  # noqa: PTH110 - nothing but the standard library's cheapest
        time.sleep(0.005)
    write(json.dumps(reply | {"result": text_result("late")}))


def answer(message: dict[str, Any]) -> None:
    method = message.get("method")
    if method == "tools/call":
        answer_call(message)
        return
    if "id" not in message:
        return
    reply: dict[str, Any] = {"jsonrpc": "2.0", "id": message["id"]}
    if method == "initialize":
        reply["result"] = {
            "protocolVersion": message["params"]["protocolVersion"],
            "capabilities": {"tools": {"listChanged": True} if "--announce" in sys.argv else {}},
            "serverInfo": {"name": "stub", "version": "1"},
        }
    elif method == "tools/list" and option("--list"):
        with open(option("--list")) as file:  # noqa: PTH123
            write(json.dumps(reply | {"result": json.load(file)}))
        return
    elif method == "tools/list":
        names = [name for name in option("--tools").split(",") if name]
        reply["result"] = {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in names]}
    elif method == "ping":
        reply["result"] = {}
    else:
        reply["error"] = {"code": -32601, "message": "no such method"}
    write(json.dumps(reply))


def main() -> None:
    log = open(option("--log"), "a", buffering=1) if option("--log") else None  # noqa: SIM115, PTH123
    for raw in sys.stdin.buffer:
        line = raw.decode("utf-8", "replace").strip("\n")
        message = json.loads(line)
        if log and message.get("method") == "tools/call":
            log.write(json.dumps({"line": line}) + "\n")
        answer(message)


main()
