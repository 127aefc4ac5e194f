"""Nobody can write to an OPA of our own: not before it has a policy, not while another comes, not afterwards."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from sidecar.engine.bundle_server import BundleServer
from sidecar.engine.engine import Engine
from sidecar.engine.local import local_engine
from sidecar.engine.managed import ManagedEngine
from sidecar.engine.process import OpaProcess
from sidecar.engine.sign import shared
from sidecar.policy.archive import MANIFEST
from sidecar.policy.bundle import EVERY_PATH, Bundle
from tests.engine.asking import all_ended, asked, body_of, bundle_of, opa_pid, soon
from tests.support import OPA

POLICY = "tools: {t: {rules: [{conditions: [{path: args.a, op: lte, value: %d}], reason: Too much}]}}\n"
BUNDLE = bundle_of(POLICY % 5)
REFUSED = body_of(BUNDLE, "t", '{"a":1000}')

PASSES = 'package intercept.policy\n\npasses contains "t#1"\n'
DECIDES = f"""package intercept

decision := {{
	"version": 1, "action": "allow", "kind": "allow", "rule": "", "reason": "", "violations": [], "reserve": [],
	"approval": null, "revision": "{BUNDLE.revision}", "serial": 1,
}}
"""
FOREIGN = json.dumps({"manifest": {"revision": "x", "roots": ["foreign"]}})
PATCH = json.dumps([{"op": "add", "path": "/intercept/facts", "value": {"default": "allow"}}])

WRITES = [
    ("PUT", "/v1/policies/planted", PASSES),
    ("PUT", "/v1/policies/planted", DECIDES),
    ("PUT", "/v1/policies/intercept/intercept/decision.rego", DECIDES),
    ("PUT", "/v1/policies/planted", "package elsewhere\n\nx := 1\n"),
    ("PUT", "/v1/policies/planted", "package system.authz\n\nallow := true\n"),
    ("PUT", "/v1/policies/planted", "package system\n\nmain := true\n"),
    ("DELETE", "/v1/policies/intercept/intercept/decision.rego", None),
    ("DELETE", "/v1/policies/intercept/intercept/policy/t.rego", None),
    ("PUT", "/v1/data", "{}"),
    ("PUT", "/v1/data/", "{}"),
    ("PUT", "/v1/data/elsewhere", "{}"),
    ("PUT", "/v1/data/intercept", "{}"),
    ("PUT", "/v1/data/intercept/facts", "{}"),
    ("PUT", "/v1/data/intercept/bundle", "{}"),
    ("PUT", "/v1/data/intercept%2Ffacts", "{}"),
    ("PUT", "/v1/data/system", "{}"),
    ("PUT", "/v1/data/system/bundles", "{}"),
    ("PUT", "/v1/data/system/bundles/intercept", FOREIGN),
    ("PUT", "/v1/data/system/bundles/another", FOREIGN),
    ("PUT", "/v1/data/system/modules", "{}"),
    ("PATCH", "/v1/data", PATCH),
    ("PATCH", "/v1/data", '[{"op": "remove", "path": "/system/bundles/intercept"}]'),
    ("PATCH", "/v1/data/intercept", '[{"op": "add", "path": "/facts", "value": {}}]'),
    ("PATCH", "/v1/data/elsewhere", '[{"op": "add", "path": "/x", "value": {}}]'),
    ("PATCH", "/v1/data/system", '[{"op": "add", "path": "/x", "value": {}}]'),
    ("DELETE", "/v1/data", None),
    ("DELETE", "/v1/data/elsewhere", None),
    ("DELETE", "/v1/data/intercept", None),
    ("DELETE", "/v1/data/intercept/policy", None),
    ("DELETE", "/v1/data/system/bundles/intercept", None),
    ("PUT", "/v0/data/elsewhere", "{}"),
    ("PATCH", "/v0/data/elsewhere", "[]"),
    ("PUT", "/v1/config", "{}"),
    ("POST", "/v1/policies/planted", PASSES),
]  # fmt: skip
"""Each way to write that OPA has, and what would matter if it worked."""


def over(path: Path, method: str, target: str, body: str | None = None) -> tuple[int, bytes]:
    """OPA's reply to one request over its socket."""
    connection = http.client.HTTPConnection("opa", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.connect(str(path))
        kind = "text/plain" if "policies" in target else "application/json"
        connection.request(method, target, body, {"Content-Type": kind})
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def taken(path: Path) -> list[tuple[str, str, int]]:
    """The writes that OPA did not refuse."""
    tried = [(method, target, over(path, method, target, body)[0]) for method, target, body in WRITES]
    return [one for one in tried if not 300 <= one[2] < 500]


def seen(path: Path, query: str) -> Any:
    """What a query of anybody's gives."""
    status, body = over(path, "POST", "/v1/query", json.dumps({"query": f"x := {query}"}))
    assert status == 200, body
    return json.loads(body)["result"][0]["x"]


def holds_only(path: Path, bundle: Bundle) -> None:
    """Assert that OPA has the modules of a bundle, its data, and nothing else."""
    modules = {one["id"] for one in json.loads(over(path, "GET", "/v1/policies")[1])["result"]}
    assert modules == {f"intercept/{name}" for name in bundle.files if name.endswith(".rego")}
    assert set(json.loads(over(path, "GET", "/v1/data")[1])["result"]) == {"intercept"}
    system = json.loads(over(path, "GET", "/v1/data/system")[1])["result"]
    assert list(system) == ["bundles"]
    assert list(system["bundles"]) == ["intercept"]
    manifest = json.loads(bundle.files[MANIFEST])
    assert system["bundles"]["intercept"]["manifest"] == {**manifest, "roots": [EVERY_PATH]}


@contextmanager
def writing(path: Path) -> Iterator[list[tuple[str, str, int]]]:
    """Somebody who tries every write again and again, also while nobody listens; gives those that were taken."""
    stop, found = threading.Event(), list[tuple[str, str, int]]()

    def write() -> None:
        while not stop.is_set():
            try:
                found.extend(taken(path))
            except (OSError, http.client.HTTPException):
                stop.wait(0.0005)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join(30)


@asynccontextmanager
async def local() -> AsyncIterator[tuple[ManagedEngine, Path]]:
    """A whole engine of our own, and the socket of its OPA."""
    async with local_engine(
        OPA, BUNDLE, server="stub", timeout=5, remember=False, emit=lambda _: None, said=lambda _: None
    ) as running:
        yield running, Path(running.engine._client._socket)
    await all_ended()


@asynccontextmanager
async def without_a_policy(folder: Path) -> AsyncIterator[tuple[OpaProcess, BundleServer, list[str]]]:
    """An OPA that listens and has fetched nothing yet, because nothing is published."""
    said: list[str] = []
    service = BundleServer("token", shared("secret"), EVERY_PATH)
    process = OpaProcess(OPA, folder, await service.start(), "token", "secret", said.append)
    await process.start(lambda _: None)
    try:
        await soon(lambda: listens(process.socket))
        yield process, service, said
    finally:
        await process.stop()
        await service.close()


def listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(path) == 0


def engine_of(process: OpaProcess) -> Engine:
    return Engine(process.socket, BUNDLE, server="stub", timeout=5, remember=False, emit=lambda _: None)


@pytest.fixture
def folder() -> Iterator[Path]:
    """One with a short name: the path of a socket may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="locked-") as found:
        yield Path(found)


def test_nobody_writes_before_the_first_policy_and_nothing_stands_in_its_way(folder: Path) -> None:
    async def test() -> None:
        async with without_a_policy(folder) as (process, service, said):
            path = Path(process.socket)
            assert await asyncio.to_thread(taken, path) == []
            assert json.loads(over(path, "GET", "/v1/policies")[1])["result"] == []
            service.publish(service.packed(BUNDLE))
            engine = engine_of(process)
            await engine.until_ready()
            await asyncio.to_thread(holds_only, path, BUNDLE)
            assert (await asked(engine, REFUSED, BUNDLE)).decision.action == "deny"
            assert said == []
            engine.close()

    uvloop.run(test())


def test_an_opa_without_a_policy_gives_no_answer(folder: Path) -> None:
    async def test() -> None:
        async with without_a_policy(folder) as (process, _, __):
            status, body = await asyncio.to_thread(
                over, Path(process.socket), "POST", "/v1/data/intercept/decision", REFUSED.decode()
            )
            assert (status, body) == (200, b"{}\n")
            engine = engine_of(process)
            assert not await engine._canary()
            engine.close()

    uvloop.run(test())


def test_nobody_writes_once_a_policy_is_in_force() -> None:
    async def test() -> None:
        async with local() as (running, path):
            assert await asyncio.to_thread(taken, path) == []
            await asyncio.to_thread(holds_only, path, BUNDLE)
            assert (await asked(running.engine, REFUSED, BUNDLE)).decision.action == "deny"

    uvloop.run(test())


def test_nobody_writes_while_other_policies_come_into_force() -> None:
    async def test() -> None:
        async with local() as (running, path):
            with writing(path) as found:
                for serial in range(2, 12):
                    bundle = bundle_of(POLICY % serial, serial)
                    await running.adopt(bundle)
                    assert (await asked(running.engine, REFUSED, bundle)).decision.action == "deny"
            assert found == []
            await asyncio.to_thread(holds_only, path, bundle)

    uvloop.run(test())


def test_nobody_writes_from_the_moment_that_an_opa_which_was_killed_listens_again() -> None:
    async def test() -> None:
        async with local() as (running, path):
            with writing(path) as found:
                for _ in range(2):
                    os.kill(opa_pid(), signal.SIGKILL)
                    await soon(lambda: not running.engine.ready)
                    await soon(lambda: running.engine.ready)
            assert found == []
            await asyncio.to_thread(holds_only, path, BUNDLE)
            assert (await asked(running.engine, REFUSED, BUNDLE)).decision.action == "deny"

    uvloop.run(test())


def test_a_policy_that_opa_cannot_load_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.engine.managed.ADOPT_SECONDS", 0.5)

    async def test() -> None:
        async with local() as (running, path):
            unloadable = bundle_of(POLICY % 6, 2)
            unloadable.files["intercept/more.rego"] = "package intercept\n\nallowed if unknown_thing\n"
            with writing(path) as found, pytest.raises(Exception, match="the old one stays in force"):
                await running.adopt(unloadable)
            assert found == []
            await asyncio.to_thread(holds_only, path, BUNDLE)

    uvloop.run(test())


def test_whoever_may_ask_sees_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_PASSWORD", "hunter2")

    async def test() -> None:
        async with local() as (_, path):
            runtime = await asyncio.to_thread(seen, path, "opa.runtime()")
            assert set(runtime["env"]) <= {"GOMAXPROCS", "GOGC", "GOMEMLIMIT", "GODEBUG", "GOTRACEBACK"}
            token = (path.parent / "token").read_text()
            key = json.loads((path.parent / "opa.json").read_text())["keys"]["intercept"]["key"]
            shown = str(runtime) + over(path, "GET", "/v1/config")[1].decode()
            assert "intercept" in shown
            assert not [secret for secret in (token, key, "hunter2") if secret in shown]

    uvloop.run(test())
