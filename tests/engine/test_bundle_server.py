"""Our bundle service over real HTTP: who gets the bundle, when, and that nothing else is to be had."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvloop

from sidecar.engine.bundle_server import RESOURCE, BundleServer
from sidecar.engine.sign import shared
from tests.engine.asking import bundle_of, get, http

FIRST = bundle_of("default: allow\n", serial=1)
SECOND = bundle_of("default: deny\n", serial=2)
TOKEN = "Bearer secret-token"
LONG_POLL = "modes=snapshot,delta;wait=30"


@asynccontextmanager
async def serving(*, published: bool = True) -> AsyncIterator[tuple[BundleServer, int]]:
    service = BundleServer("secret-token", shared("secret-key"))
    if published:
        service.publish(service.packed(FIRST))
    port = await service.start()
    try:
        yield service, port
    finally:
        await service.close()


def manifest(archive: bytes) -> dict[str, object]:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(archive))) as tar:
        member = tar.extractfile(".manifest")
        assert member is not None
        found: dict[str, object] = json.load(member)
        return found


async def still_waits(task: asyncio.Task[tuple[int, dict[str, str], bytes]]) -> bool:
    done, _ = await asyncio.wait([task], timeout=0.1)
    return not done


def test_whoever_shows_the_token_gets_the_bundle() -> None:
    async def test() -> None:
        async with serving() as (_, port):
            status, headers, body = await http(port, get(RESOURCE, Authorization=TOKEN))
            assert status == 200
            assert headers["content-type"] == "application/vnd.openpolicyagent.bundles"
            assert headers["etag"] == f'"{FIRST.revision}.1"'
            assert manifest(body)["revision"] == FIRST.revision

    uvloop.run(test())


@pytest.mark.parametrize(
    "shown",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer secret-toke",
        "Bearer secret-token2",
        "Basic secret-token",
        "bearer secret-token",
        "Bearer s\xe9cret",
    ],
)
@pytest.mark.parametrize("path", [RESOURCE, "/elsewhere"])
def test_without_the_token_there_is_nothing_to_learn(shown: str, path: str) -> None:
    async def test() -> None:
        async with serving() as (_, port):
            request = get(path, Authorization=shown) if shown else get(path)
            status, headers, body = await http(port, request.encode("latin-1"))
            assert (status, body) == (401, b"a bearer token is needed\n")
            assert "etag" not in headers

    uvloop.run(test())


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/bundles",
        "/bundles/",
        RESOURCE + "/",
        RESOURCE.upper(),
        "/bundles/x/../intercept.tar.gz",
        "//bundles/intercept.tar.gz",
        "/token",
    ],
)
def test_nothing_but_the_bundle_is_served(path: str) -> None:
    async def test() -> None:
        async with serving() as (_, port):
            assert (await http(port, get(path, Authorization=TOKEN)))[0] == 404

    uvloop.run(test())


def test_whoever_has_the_bundle_and_does_not_wait_is_told_so() -> None:
    async def test() -> None:
        async with serving() as (_, port):
            known = f'"{FIRST.revision}.1"'
            status, headers, body = await http(port, get(RESOURCE, Authorization=TOKEN, If_None_Match=known))
            assert (status, headers["etag"], body) == (304, known, b"")

    uvloop.run(test())


def test_whoever_has_another_bundle_gets_this_one_at_once() -> None:
    async def test() -> None:
        async with serving() as (_, port):
            request = get(RESOURCE, Authorization=TOKEN, If_None_Match='"old.0"', Prefer=LONG_POLL)
            assert (await http(port, request))[0] == 200

    uvloop.run(test())


def test_a_long_poll_is_answered_the_moment_a_bundle_is_published() -> None:
    async def test() -> None:
        async with serving() as (service, port):
            known = f'"{FIRST.revision}.1"'
            request = get(RESOURCE, Authorization=TOKEN, If_None_Match=known, Prefer=LONG_POLL)
            task = asyncio.create_task(http(port, request))
            assert await still_waits(task)
            service.publish(service.packed(SECOND))
            async with asyncio.timeout(2):
                status, headers, body = await task
            assert (status, headers["etag"]) == (200, f'"{SECOND.revision}.2"')
            assert manifest(body)["revision"] == SECOND.revision

    uvloop.run(test())


def test_a_long_poll_before_the_first_bundle_gets_it_when_it_comes() -> None:
    async def test() -> None:
        async with serving(published=False) as (service, port):
            task = asyncio.create_task(http(port, get(RESOURCE, Authorization=TOKEN, Prefer=LONG_POLL)))
            assert await still_waits(task)
            service.publish(service.packed(FIRST))
            async with asyncio.timeout(2):
                assert (await task)[0] == 200

    uvloop.run(test())


def test_a_long_poll_ends_without_news_after_the_time_asked_for() -> None:
    async def test() -> None:
        async with serving() as (_, port):
            known = f'"{FIRST.revision}.1"'
            request = get(RESOURCE, Authorization=TOKEN, If_None_Match=known, Prefer="wait=1")
            task = asyncio.create_task(http(port, request))
            assert await still_waits(task)
            async with asyncio.timeout(5):
                assert (await task)[0] == 304

    uvloop.run(test())


def test_every_one_of_several_that_wait_gets_the_news() -> None:
    async def test() -> None:
        async with serving() as (service, port):
            known = f'"{FIRST.revision}.1"'
            request = get(RESOURCE, Authorization=TOKEN, If_None_Match=known, Prefer=LONG_POLL)
            tasks = [asyncio.create_task(http(port, request)) for _ in range(5)]
            assert await still_waits(tasks[-1])
            service.publish(service.packed(SECOND))
            async with asyncio.timeout(2):
                assert [(await task)[0] for task in tasks] == [200] * 5

    uvloop.run(test())


def test_closing_ends_a_long_poll() -> None:
    async def test() -> None:
        async with serving() as (service, port):
            known = f'"{FIRST.revision}.1"'
            request = get(RESOURCE, Authorization=TOKEN, If_None_Match=known, Prefer=LONG_POLL)
            task = asyncio.create_task(http(port, request))
            assert await still_waits(task)
            await service.close()
            async with asyncio.timeout(2):
                assert (await task)[0] == 0

    uvloop.run(test())
