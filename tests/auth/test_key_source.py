"""Keys from a URL: asked at the start, now and then, and for unknown keys, and never as often as a caller likes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from sidecar.auth.jwt import JwtVerifier
from sidecar.auth.key_source import MAX_AGE, PAUSE, REFRESH
from sidecar.auth.principal import Principal
from sidecar.auth.refusal import NO_KEYS, NotYet, Rejected
from sidecar.errors import StartError
from tests.auth.tokens import AUDIENCE, ISSUER, OTHER_RSA, RSA, Clock, claims, jwk, jwks, signed

URL = "https://issuer.example.com/keys"


class Issuer:
    """Answers with its keys, or fails, when it is let."""

    def __init__(self) -> None:
        self.answer: bytes | Exception = jwks(jwk(RSA, "r"))
        self.asked = 0
        self.open = asyncio.Event()
        self.open.set()

    async def fetch(self, url: str) -> bytes:
        assert url == URL
        self.asked += 1
        await self.open.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class StartedVerifier:
    """A verifier that has started, its issuer, and the clock."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.issuer = Issuer()
        self.verifier = JwtVerifier(URL, ISSUER, AUDIENCE, self.issuer.fetch, self.clock, self.clock)

    def token(self, key: Any = RSA, kid: str = "r") -> str:
        return signed(claims(self.clock, exp=int(self.clock.now) + 10_000), key, kid=kid)

    async def settled(self) -> None:
        """Wait for the request that is under way."""
        under_way = self.verifier._keys.renewal()
        if under_way is not None:
            await asyncio.wait({under_way}, timeout=10)


def run(work: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await work

    asyncio.run(bounded())


def test_a_token_is_verified_by_the_keys_of_the_url() -> None:
    async def inside() -> None:
        world = StartedVerifier()
        await world.verifier.start()
        assert isinstance(world.verifier.verify_at_once(world.token()), Principal)
        assert isinstance(await world.verifier.verify(world.token()), Principal)
        assert world.issuer.asked == 1

    run(inside())


@pytest.mark.parametrize("answer", [OSError("refused"), TimeoutError(), b"", b"<html>", jwks(), b" " * (1 << 21)])
def test_a_url_that_gives_no_keys_stops_the_start(answer: bytes | Exception) -> None:
    async def inside() -> None:
        world = StartedVerifier()
        world.issuer.answer = answer
        with pytest.raises(StartError, match="--jwt-jwks: "):
            await world.verifier.start()

    run(inside())


def test_a_flood_of_unknown_keys_is_one_request() -> None:
    async def inside() -> None:
        world = StartedVerifier()
        await world.verifier.start()
        assert isinstance(world.verifier.verify_at_once(world.token(kid="x")), Rejected)  # just asked
        world.clock.now += PAUSE
        world.issuer.open.clear()
        flood = [asyncio.create_task(world.verifier.verify(world.token(kid=f"x{number}"))) for number in range(50)]
        for _ in range(5):
            await asyncio.sleep(0)
        assert world.verifier.verify_at_once(world.token()) != NotYet.NOT_YET  # others do not wait
        world.issuer.open.set()
        assert all(isinstance(found, Rejected) for found in await asyncio.gather(*flood))
        for number in range(50):
            assert isinstance(await world.verifier.verify(world.token(kid=f"y{number}")), Rejected)
        assert world.issuer.asked == 2

    run(inside())


def test_a_new_key_of_the_issuer_is_found_when_a_token_names_it() -> None:
    async def inside() -> None:
        world = StartedVerifier()
        await world.verifier.start()
        world.clock.now += PAUSE
        world.issuer.answer = jwks(jwk(RSA, "r"), jwk(OTHER_RSA, "new"))
        token = world.token(OTHER_RSA, "new")
        assert world.verifier.verify_at_once(token) is NotYet.NOT_YET
        assert isinstance(await world.verifier.verify(token), Principal)
        assert isinstance(world.verifier.verify_at_once(token), Principal)
        assert world.issuer.asked == 2

    run(inside())


def test_a_caller_that_goes_away_does_not_end_what_others_wait_for() -> None:
    async def inside() -> None:
        world = StartedVerifier()
        await world.verifier.start()
        world.clock.now += PAUSE
        world.issuer.answer = jwks(jwk(OTHER_RSA, "new"))
        world.issuer.open.clear()
        leaves, stays = (asyncio.create_task(world.verifier.verify(world.token(OTHER_RSA, "new"))) for _ in range(2))
        for _ in range(5):
            await asyncio.sleep(0)
        leaves.cancel()
        await asyncio.sleep(0)
        world.issuer.open.set()
        assert isinstance(await stays, Principal)

    run(inside())


def test_keys_are_renewed_in_the_background_and_one_that_was_taken_back_is_not_valid_any_more() -> None:
    async def inside() -> None:
        world = StartedVerifier()
        await world.verifier.start()
        token = world.token()
        world.issuer.answer = jwks(jwk(OTHER_RSA, "new"))
        world.clock.now += REFRESH - 1
        assert isinstance(world.verifier.verify_at_once(token), Principal)
        assert world.issuer.asked == 1
        world.clock.now += 1
        assert isinstance(world.verifier.verify_at_once(token), Principal)  # nobody waits
        await world.settled()
        assert isinstance(world.verifier.verify_at_once(token), Rejected)
        assert world.issuer.asked == 2

    run(inside())


def test_while_the_url_fails_keys_stay_valid_for_an_hour_and_no_longer(caplog: pytest.LogCaptureFixture) -> None:
    async def inside() -> None:
        world = StartedVerifier()
        await world.verifier.start()
        token = world.token()
        world.issuer.answer = OSError("refused")
        started = world.clock.now
        while world.clock.now + REFRESH < started + MAX_AGE:
            world.clock.now += REFRESH
            assert isinstance(world.verifier.verify_at_once(token), Principal)
            await world.settled()
        assert len(caplog.records) == 1
        world.clock.now = started + MAX_AGE
        assert world.verifier.verify_at_once(token) is NotYet.NOT_YET
        assert await world.verifier.verify(token) is NO_KEYS
        assert world.verifier.verify_at_once(token) is NO_KEYS  # asked a moment ago
        world.issuer.answer = jwks(jwk(RSA, "r"))
        world.clock.now += PAUSE
        assert isinstance(await world.verifier.verify(token), Principal)
        assert len(caplog.records) == 2

    run(inside())


def test_closing_ends_the_request_that_is_under_way() -> None:
    async def inside() -> None:
        world = StartedVerifier()
        await world.verifier.start()
        world.clock.now += REFRESH
        world.issuer.open.clear()
        world.verifier.verify_at_once(world.token())
        await asyncio.sleep(0)
        await world.verifier.close()
        assert world.issuer.asked == 2
        assert len(asyncio.all_tasks()) == 1

    run(inside())
