"""Real servers: nginx as it is and with PUT, Debian's registry, and the server from which OPA gets its policy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.distribution.access import Access
from sidecar.distribution.places import source_of
from sidecar.distribution.source import Source
from sidecar.engine.bundle_server import RESOURCE, BundleServer
from sidecar.engine.sign import shared
from sidecar.errors import NothingPublished, SourceUnavailable
from sidecar.policy import archive
from tests.distribution.conftest import KINDS
from tests.distribution.made import packed, run, using
from tests.distribution.publishing import published
from tests.engine.asking import bundle_of
from tests.support.registry import registry

FIRST, SECOND = packed(), packed("default: deny\n", 2)
HTPASSWD = "robot:$2b$05$2jKGHKY9Cbiz8myIdbagkOVGylYferrY4z66WBa/qP6Qq0ig.fUIy\n"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_published_is_fetched_from_there(kind: str, place: Callable[[str], str]) -> None:
    where = place(kind)

    async def looks(source: Source) -> None:
        with pytest.raises(NothingPublished):
            await source.fetch("")
        await published(where, FIRST)
        first = await source.fetch("")
        assert first is not None
        assert first.data == FIRST
        assert await source.fetch(first.tag) is None
        await published(where, SECOND)
        second = await source.fetch(first.tag)
        assert second is not None
        assert second.data == SECOND
        assert [await source.fetch(second.tag) for _ in range(3)] == [None] * 3

    using(source_of(where), looks)


def test_two_bundles_of_one_second_and_one_size_are_two_for_nginx_too(dav: str, www: Path) -> None:
    path = www / "twins"

    async def looks(source: Source) -> None:
        path.write_bytes(b"\x1f\x8bone")
        first = await source.fetch("")
        assert first is not None
        path.write_bytes(b"\x1f\x8btwo")
        second = await source.fetch(first.tag)
        assert second is not None
        assert second.data == b"\x1f\x8btwo"

    using(source_of(f"{dav}/twins"), looks)


def test_our_own_server_holds_the_request_until_there_is_news() -> None:
    async def test() -> None:
        server = BundleServer("secret-token", shared("secret-key"))
        server.publish(server.packed(bundle_of("default: allow\n", serial=1)))
        port = await server.start()
        source = source_of(f"http://127.0.0.1:{port}{RESOURCE}", Access(lambda: "secret-token"))
        try:
            first = await source.fetch("")
            assert first is not None
            waiting = asyncio.create_task(source.fetch(first.tag))
            assert not (await asyncio.wait({waiting}, timeout=0.6))[0]
            server.publish(server.packed(bundle_of("default: deny\n", serial=2)))
            second = await waiting
            assert second is not None
            assert '"serial": 2' in archive.read(second.data)[archive.MANIFEST]
            assert source.waits
        finally:
            await source.close()
            await server.close()

    run(test())


def test_our_own_server_lets_nobody_in_without_the_token() -> None:
    async def test() -> None:
        server = BundleServer("secret-token", shared("secret-key"))
        port = await server.start()
        source = source_of(f"http://127.0.0.1:{port}{RESOURCE}", Access(lambda: "another"))
        try:
            with pytest.raises(SourceUnavailable, match="does not let us in"):
                await source.fetch("")
        finally:
            await source.close()
            await server.close()

    run(test())


def test_a_registry_with_passwords_lets_in_whoever_has_one(tmp_path: Path) -> None:
    more = "auth: {htpasswd: {realm: tests, path: '{folder}/htpasswd'}}"
    (tmp_path / "registry").mkdir()
    (tmp_path / "registry" / "htpasswd").write_text(HTPASSWD)
    with registry(tmp_path / "registry", more) as address:
        place = f"oci://{address}/team/policy"
        known = Access(lambda: "robot:for-tests")
        run(published(place, FIRST, known))

        async def look(source: Source) -> None:
            found = await source.fetch("")
            assert found is not None
            assert found.data == FIRST

        using(source_of(place, known), look)
        for access in (Access(), Access(lambda: "robot:wrong")):
            with pytest.raises(SourceUnavailable, match="does not let us in"):
                using(source_of(place, access), look)
