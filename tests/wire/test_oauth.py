"""An OAuth-protected server behind the sidecar: what clients see of it, and whose token it gets."""

from __future__ import annotations

import asyncio
import http.client
import json
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from mcp.client.auth import OAuthClientProvider, OAuthFlowError, OAuthRegistrationError
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl

from tests.support import ROOT
from tests.support.listener import ALLOW_ALL, Listener, sidecar
from tests.support.peer import SECONDS
from tests.support.plain_http import OldSession, stateless_call
from tests.support.ports import free_port

TOKEN = secrets.token_urlsafe()
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the protected server."""
    folder = tmp_path_factory.mktemp("protected")
    command = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "tests.servers.protected", str(free_port())]
    with Listener(command, folder, {"TOKEN": TOKEN}) as listener:
        yield listener.url


def in_front_of(server: str, folder: Path, *options: str) -> Listener:
    """A sidecar on HTTP in front of it."""
    where = ["--transport", "http", "--port", "0", "--upstream", server]
    return Listener(sidecar(folder, ALLOW_ALL, *where, *options), folder)


class Nothing:
    """A client's store without anything in it."""

    async def get_tokens(self) -> OAuthToken | None:
        return None

    async def set_tokens(self, tokens: OAuthToken) -> None:
        raise AssertionError

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return None

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        raise AssertionError


async def log_in(url: str) -> None:
    """Do as a client of the SDK does that is answered 401: look for where to get a token, and get one."""
    about = OAuthClientMetadata(redirect_uris=[AnyUrl("http://127.0.0.1/back")])
    auth = OAuthClientProvider(url, about, Nothing())
    async with httpx2.AsyncClient(auth=auth, timeout=SECONDS) as client:
        await client.post(url, json={"jsonrpc": "2.0", "id": 1, "method": "ping"})


def test_a_client_that_discovers_through_us_refuses_the_address_that_the_server_names(
    tmp_path: Path, server: str
) -> None:
    with in_front_of(server, tmp_path) as listener:
        with pytest.raises(OAuthFlowError) as refused:
            asyncio.run(log_in(listener.url))
        assert str(refused.value) == f"Protected resource {server} does not match expected {listener.url}"
        # Directly the same client is content with the resource, and goes on to the authorization server.
        with pytest.raises(OAuthRegistrationError):
            asyncio.run(log_in(server))


def test_with_a_token_of_the_operators_the_agent_needs_none(tmp_path: Path, server: str) -> None:
    held = tmp_path / "authorization"
    held.write_text(f"Bearer {TOKEN}\n")
    with in_front_of(server, tmp_path, "--header", f"Authorization: file:{held}") as listener:
        session = OldSession(listener.url)
        answers = [session.call("hello"), stateless_call(listener.url, "hello")]
        # What the agent makes up for itself is not sent on.
        answers.append(stateless_call(listener.url, "hello", {"Authorization": "Bearer made-up"}))
        assert [(one.status, one.message["result"]["content"][0]["text"]) for one in answers] == [(200, "hello")] * 3
        seen = json.dumps([[dict(one.headers), one.message] for one in (session.hello, *answers)])
        assert TOKEN not in seen + listener.errors
    trail = [file.read_text() for file in (tmp_path / "state").rglob("*.jsonl")]
    assert trail
    assert not any(TOKEN in text for text in trail)


def test_a_token_of_the_clients_is_sent_on_where_the_operator_says_so(tmp_path: Path, server: str) -> None:
    with in_front_of(server, tmp_path, "--forward-authorization") as listener:
        session = OldSession(listener.url, headers=BEARER)
        for answer in (session.call("hello"), stateless_call(listener.url, "hello", BEARER)):
            assert answer.status == 200
            assert answer.message["result"]["content"][0]["text"] == "hello"


def test_a_token_of_the_clients_ends_here_otherwise(tmp_path: Path, server: str) -> None:
    with in_front_of(server, tmp_path) as listener:
        assert OldSession(listener.url, headers=BEARER).hello.status == 401
        assert stateless_call(listener.url, "hello", BEARER).status == 401


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer stale"}], ids=["none", "stale"])
def test_401_and_its_challenge_arrive_as_the_server_sent_them(
    tmp_path: Path, server: str, headers: dict[str, str]
) -> None:
    with in_front_of(server, tmp_path, "--forward-authorization") as listener:
        direct, through = refusal(server, headers), refusal(listener.url, headers)
    assert through == direct
    status, challenge, _, _ = through
    assert status == 401
    assert challenge is not None
    assert f'resource_metadata="{server.removesuffix("/mcp")}/.well-known/oauth-protected-resource/mcp"' in challenge


def refusal(url: str, headers: dict[str, str]) -> tuple[int, str | None, str | None, object]:
    """Status, challenge, content type and body of the answer to a call."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.netloc, timeout=SECONDS)
    sent = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream", **headers}
    try:
        connection.request("POST", address.path, b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}', sent)
        answer = connection.getresponse()
        challenge, kind = answer.getheader("WWW-Authenticate"), answer.getheader("Content-Type")
        return answer.status, challenge, kind, json.loads(answer.read())
    finally:
        connection.close()
