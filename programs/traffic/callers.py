"""Who calls: agents of the shop over HTTP, an agent of the desk on stdio, and a person who answers."""

from __future__ import annotations

import json
import re
import secrets
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import cycle
from threading import Lock
from typing import Any, Final

from programs.traffic.places import APPROVER, TOKEN, Place
from programs.traffic.policies import SECRET
from programs.traffic.server import FATES
from tests.support.peer import SECONDS, Peer, until
from tests.wire.http.client import SESSION, Agent, call, first_message

WRITER: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("read_page", {"page": "prices"}), ("search", {"words": 2}), ("edit_page", {"draft": True}),
    ("delete_page", {"page": "prices"}), ("read_page", {"page": "terms"}), ("search", {"words": 9}),
    ("edit_page", {"draft": False}), ("drop_table", {"table": "orders"}), (SECRET, {}), ("lookup", {}),
    ("read_page", {"page": "home"}), ("delete_page", {"page": "old", "draft": True}),
)  # fmt: skip
BUYER: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("discount", {"percent": 3}), ("discount", {"percent": 9}), ("send_mail", {"to": "somebody"}),
    ("discount", {"percent": "much"}), ("pay", {"amount": 20}), ("pay", {"amount": 600}), ("discount", {}),
    ("pay", {"amount": "x"}), ("reserve", {"units": 1}), ("send_text", {"to": "somebody"}),
    ("move_stock", {"units": 2}), ("move_stock", {"units": "ten"}), ("move_stock", {}),
    *(("lookup", {"fate": fate}) for fate in FATES),
)  # fmt: skip
BROKER: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("place_order", {"amount": 5}), ("quote", {}), ("cancel_order", {}), ("place_order", {"amount": 50}),
    ("quote", {"stub": "failure"}), ("quote", {"stub": "late"}), ("place_order", {"amount": "x"}), ("quote", {}),
)  # fmt: skip


class Told:
    """What agents were told, counted."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._lock = Lock()

    def note(self, message: Any) -> None:
        """Count an answer to a call: as allowed, by the kind of its refusal, or by the code of its error."""
        found = (message.get("result") or {}).get("_meta", {}).get("intercept/decision", {}).get("kind")
        error = message.get("error")
        what = found or (f"error {error['code']}" if error is not None else "answered")
        with self._lock:
            self.counts[what] += 1


class Shopper:
    """An agent of the shop with a name of its own. It says hello again where it must."""

    def __init__(self, place: Place, name: str, told: Told) -> None:
        self._place, self._name, self._told = place, name, told
        self.url = re.findall(r"listening on (http://\S+)", place.process.errors)[0]
        self.agent = self._connected()
        self._id = 0

    def call(self, tool: str, arguments: Mapping[str, Any]) -> Any:
        """Make a call; the message that answers it."""
        self._id += 1
        # As an instrumented agent does: every call is a part of some trace.
        trace = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
        answer = self.agent.post(call(tool, dict(arguments), self._id, _meta={"traceparent": trace}))
        if answer.status == 404:
            self.agent = self._connected()
            answer = self.agent.post(call(tool, dict(arguments), self._id, _meta={"traceparent": trace}))
        try:
            message = first_message(answer)
        except ValueError:
            message = {"error": {"code": f"status {answer.status} {answer.body[:40]!r}"}}
        self._told.note(message)
        return message

    def _connected(self) -> Agent:
        agent = Agent(self.url, f"Authorization: Bearer {TOKEN}")
        about = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": self._name, "version": "1"},
        }
        answer = agent.post({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": about})
        agent.headers = (*agent.headers, f"Mcp-Session-Id: {answer.headers[SESSION]}")
        agent.post({"jsonrpc": "2.0", "method": "notifications/initialized"})
        agent.post({"jsonrpc": "2.0", "id": 0, "method": "tools/list", "params": {}})
        return agent


class Broker:
    """An agent of the desk, on stdio."""

    def __init__(self, peer: Peer, told: Told) -> None:
        self.peer, self._told = peer, told
        peer.initialize()
        peer.request("tools/list", {})

    def call(self, tool: str, arguments: Mapping[str, Any]) -> Any:
        """Make a call; the message that answers it."""
        message = self.peer.call(tool, dict(arguments))
        self._told.note(message)
        return message


class Person:
    """Ann, who answers by the API of approvals of one sidecar."""

    def __init__(self, place: Place) -> None:
        place.process.wait_for_error("approvals on http://")
        self._api = re.findall(r"approvals on (http://\S+)", place.process.errors)[0] + "/api/approvals"

    def waiting(self) -> int:
        """How many calls wait."""
        return len(self._ask("?state=pending")["approvals"])

    def answers(self, id_: str, verdict: str) -> None:
        """`approve` or `deny` a call."""
        digest = self._ask(f"/{id_}")["digest"]
        self._ask(f"/{id_}/{verdict}", {"digest": digest, "reason": "as agreed"})

    def resolves(self, id_: str) -> None:
        """Say of a call of which nobody knows, once nobody does, that it ran."""
        until(lambda: self._ask(f"/{id_}")["state"] == "unknown", SECONDS, "an approval of which nobody knows")
        self._ask(f"/{id_}/resolve", {"committed": True})

    def _ask(self, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {APPROVER}", "Content-Type": "application/json", "Host": "127.0.0.1:9465"}
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self._api + path, data, headers), timeout=SECONDS) as reply:
            return json.load(reply)


def turns(mix: tuple[tuple[str, dict[str, Any]], ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The calls of a mix, again and again."""
    return cycle(mix)
