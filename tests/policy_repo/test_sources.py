"""A server of bundles that is slow, cuts off or lies: the policy in force stays, and the next good one comes in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.policy_repo.following import Following
from tests.policy_repo.verbs import CLOSED, OPENED, POLICY, Key, bundle
from tests.support.peer import SECONDS, until
from tests.support.scripted_http import Answer, Asked, reply, scripted

pytestmark = [pytest.mark.policy_repo, pytest.mark.timeout(240)]

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@dataclass
class Says:
    """A server that can be told to answer otherwise."""

    now: Answer

    def answer(self, asked: Asked) -> bytes | Iterable[bytes]:
        return self.now(asked)


def always(data: bytes) -> Answer:
    """The answer that is the same to everybody."""
    return lambda asked: data


def cut_off(good: bytes) -> Iterator[bytes]:
    """Less than was promised, and then the end."""
    yield reply(200, good)[: -len(good) // 2]


def endless(good: bytes) -> Iterator[bytes]:
    """A body that goes on for longer than any bundle."""
    yield CHUNKED
    part = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
    for _ in range(64):
        yield part


def no_http(good: bytes) -> Iterator[bytes]:
    """Something else than an answer."""
    yield b"SSH-2.0-OpenSSH_9.2\r\n"


LIES: dict[str, Callable[[bytes], Answer]] = {
    "cut off": lambda good: lambda asked: cut_off(good),
    "without an end": lambda good: lambda asked: endless(good),
    "no HTTP": lambda good: lambda asked: no_http(good),
    "a web page": lambda good: always(reply(200, b"<html>Please log in</html>", content_type="text/html")),
    "a redirect to another host": lambda good: always(reply(302, location="http://127.0.0.2:1/policy.tar.gz")),
    "an error": lambda good: always(reply(503, good)),
    "not modified, of what nobody asked": lambda good: always(reply(304)),
    "another file": lambda good: always(reply(200, good[::-1])),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_a_server_answers_instead_of_a_bundle_leaves_the_policy_in_force(
    lie: str, tmp_path: Path, key: Key
) -> None:
    good = bundle(POLICY, 1, key)
    opening = bundle(OPENED, 2, key)
    says = Says(always(reply(200, good)))
    with scripted(says.answer) as server, Following(tmp_path, f"{server.url}/policy.tar.gz", [key]) as sidecar:
        assert sidecar.decides_as_before()
        says.now = LIES[lie](opening)
        until(lambda: "no bundle can be fetched" in sidecar.errors or "is refused (" in sidecar.errors, what=lie)
        assert sidecar.decides_as_before()
        status, lines = sidecar.readyz()
        assert (status, lines[0]) == (200, "ready")
        assert len(lines) > 1
        says.now = always(reply(200, opening))
        sidecar.wait_until(CLOSED, permitted=True)


def test_calls_are_decided_while_a_bundle_comes_slowly(tmp_path: Path, key: Key) -> None:
    good = bundle(POLICY, 1, key)
    opening = bundle(OPENED, 2, key)
    says = Says(always(reply(200, good)))
    with scripted(says.answer) as server, Following(tmp_path, f"{server.url}/policy.tar.gz", [key]) as sidecar:
        assert sidecar.decides_as_before()
        begun, whole, rest = len(server.asked), reply(200, opening), threading.Event()

        def slowly(asked: Asked) -> Iterator[bytes]:
            yield whole[:-1]
            rest.wait(SECONDS)
            yield whole[-1:]

        says.now = slowly
        until(lambda: len(server.asked) > begun, what="the request that is answered slowly")
        for _ in range(20):
            assert sidecar.decides_as_before()
        rest.set()
        sidecar.wait_until(CLOSED, permitted=True)
