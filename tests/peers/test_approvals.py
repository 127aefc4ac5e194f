"""Real clients that ask for what a person has to agree to, on pipes and over HTTP: told, held, sent to a page."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.ledger.approvals import Record
from tests.approvals import people
from tests.peers.clients import PYTHON_1
from tests.support import ROOT
from tests.support.approver import Approver
from tests.support.listener import Listener, everything, sidecar
from tests.support.node import FOLDER, NODE
from tests.support.peer import START_SECONDS, Peer

pytestmark = pytest.mark.slow

RULE: Final = "tools: {test_echo: {rules: [{action: require_approval, reason: Ask the desk}]}}\n"
TOLD: Final = RULE
HELD: Final = f"approvals: {{hold: 60s}}\n{RULE}"
RESULT: Final = f"approvals: {{answer: result}}\n{RULE}"
PAGE: Final = "https://desk.example"
_SCRIPT: Final = str(ROOT / "tests" / "peers" / "approval_client.py")
SDKS: Final = {
    "python-1": [str(PYTHON_1), _SCRIPT],
    "python-2": [sys.executable, _SCRIPT],
    "typescript": [str(NODE), str(FOLDER / "approval_client.mjs")],
}

each_sdk = pytest.mark.parametrize("sdk", SDKS)
each_transport = pytest.mark.parametrize("transport", ["stdio", "http"])


class Client(Peer):
    """A client as a program, and who answers approvals behind it."""

    def __init__(self, sdk: str, kind: str, transport: str, words: list[str], folder: Path, state: Path) -> None:
        super().__init__([*SDKS[sdk], kind, transport, *words], folder)
        self.ann = Approver(state)
        assert self.read(START_SECONDS) == {"ready": True}

    def call(self, text: str) -> None:  # type: ignore[override]
        """Have it call."""
        self.send_bytes(text.encode() + b"\n")

    def approve(self) -> Record:
        """The person says yes to what waits."""
        return self.ann.approve(self.ann.pending().id)

    @property
    def told(self) -> Any:
        """What happened next."""
        return self.read(START_SECONDS)


@contextmanager
def client(sdk: str, kind: str, transport: str, policy: str, folder: Path) -> Iterator[Client]:
    """A client of a sidecar that has a page."""
    approvers = people.write(folder / "approvers.yaml", *people.EVERYBODY)
    page = ["--approvals", "127.0.0.1:0", "--approvers-file", str(approvers), "--approvals-url", PAGE]
    state = folder / "sidecar" / "state"
    server = ["--", *everything("stdio")]
    if transport == "stdio":
        command = sidecar(folder / "sidecar", policy, *page, *server)
        with Client(sdk, kind, transport, command, folder, state) as found:
            yield found
        return
    listen = ["--transport", "http", "--port", "0"]
    command = sidecar(folder / "sidecar", policy, *listen, *page, *server)
    with (
        Listener(command, folder / "sidecar", says="ready\n") as listener,
        Client(sdk, kind, transport, [listener.url], folder, state) as found,
    ):
        yield found


def echoed(text: str) -> dict[str, str]:
    """What the client tells of a call that went through."""
    return {"result": json.dumps({"text": text})}


@each_transport
@each_sdk
def test_a_client_is_told_to_come_back_and_its_call_goes_through_once(sdk: str, transport: str, tmp_path: Path) -> None:
    with client(sdk, "session", transport, TOLD, tmp_path) as agent:
        agent.call("a")
        error = agent.told
        record = agent.approve()
        assert (error["code"], error["data"]["approval_id"]) == (-32003, record.id)
        agent.call("a")
        assert agent.told == echoed("a")
        agent.call("a")
        again = agent.told
        assert again["code"] == -32003
        assert again["data"]["approval_id"] != record.id


@each_transport
@each_sdk
def test_a_client_whose_call_is_held_hears_progress_and_then_the_answer(
    sdk: str, transport: str, tmp_path: Path
) -> None:
    with client(sdk, "session", transport, HELD, tmp_path) as agent:
        agent.call("a")
        assert agent.told == {"progress": "waiting for an approval: Ask the desk"}
        record = agent.approve()
        assert agent.told == echoed("a")
        agent.ann.reaches(record.id, "consumed")


@each_transport
@each_sdk
def test_a_client_that_opens_pages_is_sent_to_ours_while_its_call_is_held(
    sdk: str, transport: str, tmp_path: Path
) -> None:
    with client(sdk, "pages", transport, HELD, tmp_path) as agent:
        agent.call("a")
        told = [agent.told, agent.told]
        record = agent.approve()
        assert {"page": f"{PAGE}/approvals/{record.id}"} in told
        assert {"progress": "waiting for an approval: Ask the desk"} in told
        assert agent.told == echoed("a")


@each_transport
def test_a_client_without_sessions_opens_the_page_and_repeats_its_call_by_itself(
    transport: str, tmp_path: Path
) -> None:
    with client("python-2", "stateless", transport, HELD, tmp_path) as agent:
        agent.call("a")
        told = [agent.told, agent.told]
        record = agent.approve()
        assert told[0] == {"page": f"{PAGE}/approvals/{record.id}"}
        assert told[1] == {"progress": "waiting for an approval: Ask the desk"}
        assert agent.told == echoed("a")
        agent.ann.reaches(record.id, "consumed")


@each_transport
def test_a_client_without_sessions_is_told_to_come_back_where_nothing_is_held(transport: str, tmp_path: Path) -> None:
    with client("python-2", "stateless", transport, TOLD, tmp_path) as agent:
        agent.call("a")
        told = [agent.told, agent.told]
        record = agent.approve()
        assert told[0] == {"page": f"{PAGE}/approvals/{record.id}"}
        assert (told[1]["code"], told[1]["data"]["approval_id"]) == (-32003, record.id)
        agent.call("a")
        assert agent.told == echoed("a")


@each_transport
def test_a_client_that_gives_up_after_a_silence_waits_as_long_as_it_hears_progress(
    transport: str, tmp_path: Path
) -> None:
    with client("typescript", "session", transport, HELD, tmp_path) as agent:
        agent.call("a")
        assert [agent.told["progress"] for _ in range(3)] == ["waiting for an approval: Ask the desk"] * 3
        agent.approve()
        assert agent.told == echoed("a")


@each_sdk
def test_an_agent_that_never_sees_errors_gets_the_text_as_a_result(sdk: str, tmp_path: Path) -> None:
    with client(sdk, "session", "stdio", RESULT, tmp_path) as agent:
        agent.call("a")
        assert agent.told["result"].startswith("[INTERCEPT APPROVAL REQUIRED] Ask the desk\n")
        agent.approve()
        agent.call("a")
        assert agent.told == echoed("a")
