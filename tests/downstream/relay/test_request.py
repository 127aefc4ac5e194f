"""A POST on its way to a server over HTTP: what it leaves behind when the client goes, and when we have a defect."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from sidecar.auth.caller import Caller
from sidecar.downstream.post import Post
from sidecar.downstream.relay.client import Tracked
from sidecar.downstream.relay.request import Passage
from sidecar.downstream.relay.response import Passing
from sidecar.http.client import ClientResponse, PendingRequest, Unreachable
from sidecar.http.server import Exchange
from sidecar.http.values import Request
from sidecar.session.session import Session
from sidecar.upstream.remote import LOST, failure_of
from tests.downstream.fakes import Client, post, run, turns
from tests.session.fakes import SlowGate


class Way:
    """Keeps what is asked, and lets the test answer."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.problem = problem
        self.asked: list[PendingRequest] = []
        self.passing = cast("Passing", SimpleNamespace(failed=failure_of))

    def ask(self, post: Post, tracked: Tracked, request: Request, asking: PendingRequest) -> None:
        if self.problem is not None:
            raise self.problem
        self.asked.append(asking)

    def reserve(self, tracked: Tracked) -> None:
        """There is room."""

    def opened(self, answer: ClientResponse | None, post: Post, tracked: Tracked) -> None:
        """Nothing is opened."""


class Failing(Client):
    """A client whose server notes defects and breaks the connection."""

    def __init__(self) -> None:
        super().__init__()
        self.defects: list[Exception] = []

    def failed(self, exchange: Exchange, error: Exception) -> None:
        self.defects.append(error)
        exchange.abort()


class RelayedRequest:
    """One request for the list of prompts, which needs no judgement."""

    def __init__(self, way: Way) -> None:
        self.client = Failing()
        self.over: list[str] = []
        request = post({}, id=1, method="prompts/list")
        self.tracked = Tracked(self._open, None, "2025-06-18", lambda *_: None)
        passage = Passage(
            way, Post(request.headers), self.tracked, request, self.client.exchange, lambda: self.over.append("over")
        )
        passage.begin()

    def _open(self, tracked: Tracked, *_: Any) -> Session:
        return Session(
            server="s", caller=Caller("s"), gate=SlowGate(), emit=lambda event: None, route=tracked.route,
            announce=tracked.announce,
        )  # fmt: skip

    @property
    def waits(self) -> bool:
        return self.tracked.session.unanswered(1, LOST) is not None


def test_a_client_that_leaves_has_its_request_given_up_and_nothing_is_left() -> None:
    async def test() -> None:
        way = Way()
        world = RelayedRequest(way)
        carrier = asyncio.create_task(asyncio.Event().wait())
        way.asked[0].carried_by(cast("Any", carrier))
        world.client.leave()
        await turns()
        assert (carrier.cancelled(), world.over, world.waits) == (True, ["over"], False)

    run(test())


def test_a_server_that_is_not_reached_is_told_of_once() -> None:
    async def test() -> None:
        way = Way()
        world = RelayedRequest(way)
        way.asked[0].failed(Unreachable("nobody"))
        world.client.leave()
        await turns()
        assert "cannot be reached" in world.client.json["error"]["message"]
        assert (world.over, world.waits) == (["over"], False)

    run(test())


def test_a_defect_ends_the_one_request_and_leaves_nothing_behind() -> None:
    async def test() -> None:
        world = RelayedRequest(Way(LookupError("a defect")))
        assert [type(error) for error in world.client.defects] == [LookupError]
        assert (world.client.exchange.gone, world.over, world.waits) == (True, ["over"], False)

    run(test())
