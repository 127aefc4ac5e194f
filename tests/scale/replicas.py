"""Two sidecars that count in one Redis, in front of one server, and plain HTTP requests to whatever is before them."""

from __future__ import annotations

import http.client
import itertools
import json
import re
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from tests.support.listener import Listener, everything, sidecar
from tests.support.peer import REVISION, SECONDS

STATELESS = "2026-07-28"
TOOL = "test_simple_text"
ABOUT = {"name": "plain", "version": "1"}


@contextmanager
def two_sidecars(folder: Path, policy: str, *options: str) -> Iterator[tuple[Listener, Listener]]:
    """Two sidecars in front of one server on HTTP."""
    with ExitStack() as stack:
        server = stack.enter_context(Listener(everything("http"), folder))

        def start(name: str) -> Listener:
            command = sidecar(folder / name, policy, "--transport", "http", "--port", "0", "--upstream", server.url)
            # Counters are kept in one place: the folder that `sidecar` gives it is not wanted.
            at = command.index("--state-dir")
            del command[at : at + 2]
            where = {"XDG_STATE_HOME": str(folder / name)}
            return stack.enter_context(Listener([*command, *options], folder / name, where))

        yield start("one"), start("other")


def decisions(listener: Listener) -> float:
    """How many calls a sidecar decided."""
    return metric(listener, "decisions_total")


def metric(listener: Listener, name: str) -> float:
    """The sum of a metric's series."""
    found = re.search(r"telemetry on (http://\S+)", listener.errors)
    assert found is not None
    with urllib.request.urlopen(found[1], timeout=SECONDS) as reply:
        families = text_string_to_metric_families(reply.read().decode())
        return sum(one.value for family in families for one in family.samples if one.name == f"mcp_policy_{name}")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came: the one message in it, be it JSON or an event; None where there is none."""

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
        return Answer(answer.status, dict(answer.getheaders()), _message(answer.read().decode()))
    finally:
        connection.close()


def request(method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """A request with an id of its own."""
    return {"jsonrpc": "2.0", "id": next(_IDS), "method": method, "params": params}


def stateless_call(url: str, headers: Mapping[str, str] = {}) -> Answer:
    """Call the tool as a client of the revision without sessions."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": STATELESS,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": ABOUT,
    }
    mirrored = {"MCP-Protocol-Version": STATELESS, "Mcp-Method": "tools/call", "Mcp-Name": TOOL}
    return post(url, request("tools/call", {"name": TOOL, "_meta": meta}), {**mirrored, **headers})


class OldSession:
    """A session of an older revision, from one address; every message on a new connection."""

    def __init__(self, url: str, source: str = "127.0.0.1", headers: Mapping[str, str] = {}) -> None:
        self._url, self._source, self._headers = url, source, dict(headers)
        hello = {"protocolVersion": REVISION, "capabilities": {}, "clientInfo": ABOUT}
        self.hello = self._post(request("initialize", hello))
        lower = {name.lower(): value for name, value in self.hello.headers.items()}
        if "mcp-session-id" in lower:
            self._headers |= {"Mcp-Session-Id": lower["mcp-session-id"], "MCP-Protocol-Version": REVISION}

    def call(self) -> Answer:
        """Call the tool."""
        return self._post(request("tools/call", {"name": TOOL, "arguments": {}}))

    def _post(self, message: Mapping[str, Any]) -> Answer:
        return post(self._url, message, self._headers, self._source)


def _message(body: str) -> Any:
    found = re.findall(r"^(?:data: *)?(\{.+\})\s*$", body, re.MULTILINE)
    return json.loads(found[-1]) if found else None
