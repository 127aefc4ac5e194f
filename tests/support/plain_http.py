"""MCP over HTTP in plain requests, each on a connection of its own, so that a test sees status, headers and body."""

from __future__ import annotations

import http.client
import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.support.peer import REVISION, SECONDS

STATELESS = "2026-07-28"
ABOUT = {"name": "plain", "version": "1"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came: names of headers in lower case; the one message, be it JSON or an event, None where there is none."""

    status: int
    headers: Mapping[str, str]
    message: Any


_IDS = itertools.count(1)


def post(url: str, message: Mapping[str, Any], headers: Mapping[str, str] = {}, source: str = "127.0.0.1") -> Answer:
    """Send a message on a new connection from the address `source`."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.netloc, timeout=SECONDS, source_address=(source, 0))
    always = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    try:
        connection.request("POST", address.path, json.dumps(message), {**always, **headers})
        answer = connection.getresponse()
        return Answer(
            answer.status,
            {name.lower(): value for name, value in answer.getheaders()},
            _message(answer.read().decode()),
        )
    finally:
        connection.close()


def request(method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """A request with an id of its own."""
    return {"jsonrpc": "2.0", "id": next(_IDS), "method": method, "params": params}


def stateless_call(url: str, tool: str, headers: Mapping[str, str] = {}) -> Answer:
    """Call a tool as a client of the revision without sessions."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": STATELESS,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": ABOUT,
    }
    mirrored = {"MCP-Protocol-Version": STATELESS, "Mcp-Method": "tools/call", "Mcp-Name": tool}
    return post(url, request("tools/call", {"name": tool, "_meta": meta}), {**mirrored, **headers})


class OldSession:
    """A session of an older revision, from one address; every message on a new connection."""

    def __init__(self, url: str, source: str = "127.0.0.1", headers: Mapping[str, str] = {}) -> None:
        self._url, self._source, self._headers = url, source, dict(headers)
        hello = {"protocolVersion": REVISION, "capabilities": {}, "clientInfo": ABOUT}
        self.hello = self._post(request("initialize", hello))
        if session := self.hello.headers.get("mcp-session-id"):
            self._headers |= {"Mcp-Session-Id": session, "MCP-Protocol-Version": REVISION}

    def call(self, tool: str) -> Answer:
        """Call a tool."""
        return self._post(request("tools/call", {"name": tool, "arguments": {}}))

    def _post(self, message: Mapping[str, Any]) -> Answer:
        return post(self._url, message, self._headers, self._source)


def _message(body: str) -> Any:
    found = re.findall(r"^(?:data: *)?(\{.+\})\s*$", body, re.MULTILINE)
    return json.loads(found[-1]) if found else None
