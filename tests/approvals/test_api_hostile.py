"""The API under requests that nobody would send: it answers each, decides nothing, and meets no defect."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from sidecar.approvals.api import Api
from sidecar.approvals.approvers import Approvers
from sidecar.approvals.guard import Guard
from sidecar.approvals.queue import Queue
from sidecar.events import ApprovalChanged, Event
from sidecar.http.values import Headers, Repeated, Request, Response
from sidecar.ledger.approvals import Record, Unapproved
from sidecar.ledger.sqlite import SqliteLedger
from tests.approvals.calls import asked
from tests.approvals.people import ALICE, EVERYBODY, write

ID = "{id}"
"""Stands for the id of an approval that waits."""

SEGMENTS = st.sampled_from(
    ["approvals", "grants", "openapi.json", ID, "approve", "deny", "resolve", "revoke", "", ".."]
)
LATIN = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=30)
ODD = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#?/"), max_size=20)
PATHS = st.lists(SEGMENTS | ODD, max_size=5).map(lambda parts: "/api/" + "/".join(parts))
QUERIES = st.sampled_from(["", "state=pending", "state=all&limit=1", "limit=5&limit=x", "%zz", "a=b&&", "state="]) | ODD
HEADERS = st.lists(
    st.tuples(st.sampled_from(["authorization", "content-type", "cookie", "origin", "x-forwarded-for"]), LATIN)
    | st.just(("authorization", f"Bearer {ALICE}"))
    | st.just(("content-type", "application/json")),
    max_size=4,
)
BODIES = st.binary(max_size=60) | st.sampled_from(
    [b"{}", b"null", b"[[[[", b'{"committed":true}', b'{"committed":1}', b'{"reason":"\\ud800"}',
     b'{"reason":"\\u0000"}',
     b'{"digest":""}', b'{"digest":"d","grant":true}', b"1e400", b"[" * 60, b'\xef\xbb\xbf{}', b'{"digest":null}']
)  # fmt: skip
METHODS = st.sampled_from(["GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "X-ODD"])


class Listener:
    """The API on a store, for one request after the other."""

    def __init__(self, folder: Path) -> None:
        self.runner = asyncio.Runner()
        self.ledger = SqliteLedger(folder / "counters.db", time.time)
        self.told: list[Event] = []
        self.queue = Queue(self.ledger, "okx", self.told.append)
        self.approvers = Approvers(write(folder / "people.yaml", *EVERYBODY))

    async def answer(self, request: Request) -> tuple[Response | None, Record]:
        """What one request is answered, and how an approval that waited stands after it."""
        self.told.clear()
        call = asked()
        found = await self.ledger.claim((), asked=replace(call, holder=call.binding))
        assert isinstance(found, Unapproved)
        request.path = request.path.replace(ID, found.record.id)
        # With a guard of its own, so that none is refused for being one of many.
        api = Api(self.queue, Guard(self.approvers, self.queue))
        try:
            response = await api.answer(request)
        except Repeated:
            response = None  # the listener answers 400
        return response, await self.ledger.approvals.find(found.record.id)


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listener]:
    """One for all requests."""
    found = Listener(tmp_path_factory.mktemp("hostile"))
    yield found
    found.runner.run(found.ledger.close())
    found.runner.close()


@settings(max_examples=150)
@given(METHODS, PATHS, QUERIES, HEADERS, BODIES)
@example("POST", "/api/approvals/{id}/approve", "", [("authorization", f"Bearer {ALICE}")], b'{"digest":"d"}')
@example("GET", "/api/approvals/{id}/approve", "digest=d", [("authorization", f"Bearer {ALICE}")], b"")
def test_whatever_is_sent_is_answered_and_approves_nothing(
    listener: Listener, method: str, path: str, query: str, headers: list[tuple[str, str]], body: bytes
) -> None:
    request = Request(method, path, query, Headers(headers), body, 1, "127.0.0.1")
    response, record = listener.runner.run(listener.answer(request))
    assert response is None or response.status in (200, 400, 401, 404, 405, 409, 415)
    # A no may be said without the digest; a yes never without it.
    assert record.state in ("pending", "denied")
    changes = [event for event in listener.told if isinstance(event, ApprovalChanged)]
    assert bool(changes) == (record.state == "denied")
    if record.state == "denied":
        assert (method, ("authorization", f"Bearer {ALICE}") in headers) == ("POST", True)
    assert ALICE not in repr(listener.told)
