"""An endpoint behind a prefix: what is served there and nowhere else, and real clients by the nginx of docs/http.md."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from mcp import ClientSession
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from tests.support import ROOT
from tests.support.audit_lines import decided_lines
from tests.support.listener import Listener
from tests.support.nginx import nginx
from tests.support.peer import SECONDS, denied
from tests.support.ports import free_port
from tests.wire.http.client import SESSION, Agent, call, first_message, hello
from tests.wire.http.running import received, running
from tests.wire.http.server import Upstream

SECTION: Final = (ROOT / "docs" / "http.md").read_text(encoding="utf-8").partition("\n## Behind a prefix\n")[2]
HTTP: Final = "/team-a/mcp"
SSE: Final = "/team-b/sse"
MESSAGES: Final = "/team-b/messages"
ALLOWED: Final = call("shown")
FORBIDDEN: Final = call("forbidden")


def elsewhere(path: str) -> tuple[str, ...]:
    """Targets that somebody could take for the path, and the endpoints that there are without a prefix."""
    prefix, _, name = path.rpartition("/")
    escaped = f"%{ord(name[0]):02x}{name[1:]}"
    return (
        "/mcp", "/sse", "/messages", "/", prefix, f"{prefix}/", f"{path}/", f"{prefix}//{name}", f"/{path}",
        f"{prefix}/{escaped}", f"{prefix}%2f{name}", path.upper(), f"{prefix}/./{name}", f"/x/..{path}", f"{path};x",
        f"{path}/x", f"{path}#x", f"/x{path}", f"{path}%00", f"{path}%3fx", f"http://127.0.0.1{path}",
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prefix")


@pytest.fixture(scope="module")
def relay(folder: Path, upstream: Upstream) -> Iterator[Listener]:
    with running(folder / "relay", "--path", HTTP, "--upstream", upstream.url) as listener:
        yield listener


@pytest.fixture(scope="module")
def hosted(folder: Path) -> Iterator[Listener]:
    with running(folder / "hosted", "--path", HTTP) as listener:
        yield listener


@pytest.fixture(scope="module")
def legacy(folder: Path) -> Iterator[Listener]:
    with running(folder / "legacy", "--path", SSE, transport="sse") as listener:
        yield listener


def with_session(listener: Listener) -> Agent:
    """An agent that said hello at the endpoint."""
    answer = Agent(listener.url).post(hello(), target=HTTP)
    return Agent(listener.url, f"Mcp-Session-Id: {answer.headers[SESSION]}")


def decided(folder: Path) -> list[tuple[str, str]]:
    """The tools that were judged, and how."""
    return [(line["tool"], line["decision"]) for line in decided_lines(folder / "state")]


def test_a_listener_says_the_path_that_it_serves(relay: Listener, hosted: Listener, legacy: Listener) -> None:
    assert [urlsplit(one.url).path for one in (relay, hosted, legacy)] == [HTTP, HTTP, SSE]


def test_only_the_endpoint_judges_and_forwards_in_front_of_a_server(
    relay: Listener, upstream: Upstream, folder: Path
) -> None:
    agent = with_session(relay)
    before = decided(folder / "relay")
    for target in elsewhere(HTTP):
        for message in (ALLOWED, FORBIDDEN):
            assert agent.post(message, target=target).status in (400, 404), target
    assert (upstream.calls, decided(folder / "relay")) == ([], before)
    assert "result" in first_message(agent.post(ALLOWED, target=f"{HTTP}?a=b"))
    assert denied(first_message(agent.post(FORBIDDEN, target=HTTP))) == "never"
    assert [asked.message for asked in upstream.calls] == [ALLOWED]
    assert {asked.target for asked in upstream.seen} == {"/mcp"}  # the path of --upstream


def test_only_the_endpoint_judges_and_forwards_in_front_of_a_child(hosted: Listener, folder: Path) -> None:
    agent = with_session(hosted)
    before = received(folder / "hosted"), decided(folder / "hosted")
    for target in elsewhere(HTTP):
        for message in (ALLOWED, FORBIDDEN):
            assert agent.post(message, target=target).status in (400, 404), target
    assert (received(folder / "hosted"), decided(folder / "hosted")) == before
    assert "result" in first_message(agent.post(ALLOWED, target=HTTP))
    assert denied(first_message(agent.post(FORBIDDEN, target=HTTP))) == "never"
    assert received(folder / "hosted") == [*before[0], ALLOWED]


def test_a_legacy_stream_tells_the_path_of_messages_with_its_prefix_and_no_other_takes_any(
    legacy: Listener, folder: Path
) -> None:
    agent = Agent(legacy.url)
    before = received(folder / "legacy"), decided(folder / "legacy")
    for target in (*elsewhere(SSE), MESSAGES):
        assert agent.post(b"", method="GET", target=target).status in (400, 404, 405), target
    with agent.opened(b"", method="GET", target=SSE) as stream:
        assert stream.begin()[0] == 200
        endpoint = stream.event()["data"]
        path, _, query = endpoint.partition("?")
        assert path == MESSAGES
        for target in (*elsewhere(MESSAGES), SSE):
            assert agent.post(ALLOWED, target=f"{target}?{query}").status in (400, 404, 405), target
        assert (received(folder / "legacy"), decided(folder / "legacy")) == before
        assert agent.post(ALLOWED, target=endpoint).status == 202
        assert "result" in stream.told()
        assert agent.post(FORBIDDEN, target=endpoint).status == 202
        assert denied(stream.told()) == "never"
    assert received(folder / "legacy") == [*before[0], ALLOWED]


def talk(streams: AbstractAsyncContextManager[Any]) -> tuple[list[str], bool, str]:
    """What a client of the SDK gets: the tools, whether the allowed call failed, and the text of the denied one."""

    async def inside() -> tuple[list[str], bool, str]:
        async with asyncio.timeout(SECONDS), streams as (reading, writing, *_), ClientSession(reading, writing) as one:
            await one.initialize()
            tools = [tool.name for tool in (await one.list_tools()).tools]
            allowed, refused = await one.call_tool("shown", {}), await one.call_tool("forbidden", {})
            return tools, allowed.is_error or False, refused.model_dump()["content"][0]["text"]

    return asyncio.run(inside())


@pytest.mark.parametrize("kind", ["relay", "hosted"])
def test_a_client_of_the_sdk_comes_through_the_nginx_of_the_page(
    kind: str, legacy: Listener, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    assert re.findall(r" --path (\S+)", SECTION)[:2] == [HTTP, SSE]  # the commands of the page
    shown = re.search(r"```nginx\n(.+?)```", SECTION, re.DOTALL)
    assert shown is not None
    port, streamable = free_port(), request.getfixturevalue(kind)
    block = shown[1].replace("listen 8000;", f"listen 127.0.0.1:{port};")
    for there, listener in (("127.0.0.1:8080", streamable), ("127.0.0.1:8081", legacy)):
        assert there in block
        block = block.replace(there, urlsplit(listener.url).netloc)
    with nginx(tmp_path / "nginx", block, port):
        came = [
            talk(streamable_http_client(f"http://127.0.0.1:{port}{HTTP}")),
            talk(sse_client(f"http://127.0.0.1:{port}{SSE}")),
        ]
        other = Agent(f"http://127.0.0.1:{port}").post(ALLOWED, target="/team-a/%6dcp").status
    for tools, failed, refusal in came:
        assert (tools, failed, "never" in refusal) == (["shown"], False, True)
    assert other == 404
