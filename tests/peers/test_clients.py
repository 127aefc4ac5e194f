"""Real clients in front of the sidecar, on every transport: what is allowed passes, and a denial is seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final, TypeAlias

import pytest

from sidecar.enforce.denial import DENIED, UNCHANGED
from tests.peers.clients import CLIENTS, Came, Target, use
from tests.support.listener import Listener, everything, sidecar

pytestmark = pytest.mark.slow

POLICY: Final = """
tools:
  test_simple_text:
    rules:
      - {action: deny, reason: Not for tests}
"""
Targets: TypeAlias = Callable[[str], Target]

each_client = pytest.mark.parametrize("client", CLIENTS)
each_transport = pytest.mark.parametrize("transport", ["stdio", "http", "sse"])


@pytest.fixture(scope="module")
def directly(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Targets]:
    """The server itself."""
    folder = tmp_path_factory.mktemp("direct")
    with ExitStack() as stack:
        started: dict[str, Target] = {"stdio": Target("stdio", everything("stdio"))}

        def target(transport: str) -> Target:
            if transport not in started:
                server = stack.enter_context(Listener(everything(transport), folder))
                started[transport] = Target(transport, [server.url])
            return started[transport]

        yield target


@pytest.fixture(scope="module")
def through(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Targets]:
    """The sidecar, with the server as its child."""
    folder, server = tmp_path_factory.mktemp("through"), ["--", *everything("stdio")]
    with ExitStack() as stack:
        started: dict[str, Target] = {"stdio": Target("stdio", sidecar(folder / "stdio", POLICY, *server))}

        def target(transport: str) -> Target:
            if transport not in started:
                listen = ["--transport", transport, "--bind", "127.0.0.1", "--port", "0"]
                front = sidecar(folder / transport, POLICY, *listen, *server)
                listener = stack.enter_context(Listener(front, folder / transport, says="ready\n"))
                started[transport] = Target(transport, [listener.url])
            return started[transport]

        yield target


@each_transport
@each_client
def test_a_client_alone_with_the_server_gets_both_calls_answered(
    client: str, transport: str, directly: Targets, tmp_path: Path
) -> None:
    came = use(client, directly(transport), tmp_path)
    assert_allowed(came)
    assert came.denied["content"][0]["text"] == "This is a simple text response for testing."


@each_transport
@each_client
def test_a_client_of_the_sidecar_gets_what_is_allowed_and_is_told_what_is_denied(
    client: str, transport: str, through: Targets, tmp_path: Path
) -> None:
    came = use(client, through(transport), tmp_path)
    assert_allowed(came)
    assert came.denied["isError"]
    assert came.denied["content"][0]["text"] == f"{DENIED} Not for tests\n{UNCHANGED}"


def assert_allowed(came: Came) -> None:
    """The tools are all there, and the call that is allowed was answered."""
    assert len(came.tools) > 30
    assert came.allowed["content"][0]["text"] == '{"text": "Grüezi"}'
