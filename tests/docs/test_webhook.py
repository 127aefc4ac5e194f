"""The page on webhooks: its recipe checks real messages, and its relay turns them into messages of Slack."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.approvals.sender import Sender
from sidecar.approvals.webhook import MIN_SECRET, PAUSES, body, signed
from sidecar.ledger.approvals import Answer, Notice, Record
from tests.approvals.calls import asked
from tests.support import ROOT
from tests.support.document_commands import command_blocks, run_commands
from tests.support.peer import SECONDS, until
from tests.support.ports import free_port
from tests.support.receiver import Receiver, receiving, status

TEXT: Final = (ROOT / "docs" / "webhook.md").read_text(encoding="utf-8")
RECIPE, RELAY = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
SECRET = b"correct horse battery staple"
PAGE = "https://desk.example.com/approvals/apr_1"


def verify() -> Callable[[bytes, dict[str, str], bytes], None]:
    """The recipe as a receiver has it."""
    namespace: dict[str, Any] = {}
    exec(RECIPE, namespace)
    found: Callable[[bytes, dict[str, str], bytes], None] = namespace["verify"]
    return found


def told(event: Any = "pending", *answers: Answer, arguments: str = '{"sz":1.10}') -> bytes:
    """The body of a message."""
    record = Record("apr_1", asked(arguments=arguments), "pending", 1e9, 1e9, 2e9, answers=answers)
    return body(Notice("ntc_1", event, time.time(), 0, record), PAGE, time.time())


def headers(content: bytes, *, secret: bytes = SECRET, ago: int = 0) -> dict[str, str]:
    """The headers of a message."""
    return signed(secret, "ntc_1", int(time.time()) - ago, content)


def test_the_commands_of_the_page_show_a_message(tmp_path: Path) -> None:
    [commands] = [block for block in command_blocks(TEXT) if "receiver.py" in block]
    lines = run_commands(commands.replace("8099", str(free_port())), tmp_path)
    (said,) = re.findall(r"^# (.*)$", commands, re.M)
    assert lines[-1] == said


def test_the_recipe_has_ten_lines_and_takes_a_real_message() -> None:
    assert len(RECIPE.partition("def ")[2].splitlines()) <= 10
    content = told()
    verify()(SECRET, headers(content), content)


def test_the_recipe_takes_one_of_several_signatures_as_while_a_secret_is_changed() -> None:
    content = told()
    both = headers(content) | {"webhook-signature": "v1,AAAA " + headers(content)["webhook-signature"]}
    verify()(SECRET, both, content)


@pytest.mark.parametrize("change", [
    {"webhook-id": "ntc_2"}, {"webhook-signature": "v1,AAAA"}, {"webhook-signature": ""}, {"webhook-timestamp": ""},
    {"webhook-signature": "v1,é"},
])  # fmt: skip
def test_the_recipe_refuses_what_was_changed(change: dict[str, str]) -> None:
    content = told()
    with pytest.raises(ValueError, match=r".+"):
        verify()(SECRET, headers(content) | change, content)


def test_the_recipe_refuses_another_body_another_secret_and_an_old_message() -> None:
    content = told()
    for sent, came in ((headers(content), content + b" "), (headers(content, secret=b"x" * 32), content)):
        with pytest.raises(ValueError, match="not signed"):
            verify()(SECRET, sent, came)
    for ago in (400, -400):
        with pytest.raises(ValueError, match="too old"):
            verify()(SECRET, headers(content, ago=ago), content)


@contextmanager
def relaying(folder: Path, slack: Receiver) -> Iterator[str]:
    """The relay as the page says to run it; its URL."""
    (folder / "relay.py").write_text(f"{RECIPE}\n{RELAY}")
    port = free_port()
    env = {**os.environ, "APPROVALS_SECRET": SECRET.decode(), "SLACK_URL": slack.url, "PORT": str(port)}
    with subprocess.Popen([sys.executable, str(folder / "relay.py")], env=env, stderr=subprocess.DEVNULL) as relay:
        try:
            url = f"http://127.0.0.1:{port}/"
            until(lambda: send(url, b"{}", {}) == "it answered with status 401", SECONDS, "the relay")
            yield url
        finally:
            relay.kill()


def send(url: str, content: bytes, with_headers: dict[str, str] | None = None) -> str:
    """Why the relay did not take a message."""
    return asyncio.run(Sender().send(url, headers(content) if with_headers is None else with_headers, content))


def test_the_relay_shows_a_call_that_waits_with_a_button_to_the_page(tmp_path: Path) -> None:
    with receiving() as slack, relaying(tmp_path, slack) as url:
        assert send(url, told()) == ""
        (got,) = slack.got
    shown = json.loads(got.body)["blocks"]
    assert [block["type"] for block in shown] == ["header", "section", "context", "actions"]
    assert shown[0]["text"]["text"] == "cancel_order on okx: pending"
    assert '"sz": 1.1' in shown[1]["text"]["text"]
    (button,) = shown[3]["elements"]
    assert (button["type"], button["url"]) == ("button", PAGE)


def test_the_relay_shows_who_decided(tmp_path: Path) -> None:
    answer = Answer("alice", 1e9, "page", "here", "deny")
    with receiving() as slack, relaying(tmp_path, slack) as url:
        assert send(url, told("decided", answer)) == ""
        (got,) = slack.got
    (title,) = json.loads(got.body)["blocks"]
    assert title["text"]["text"] == "cancel_order on okx: deny by alice"


def test_nothing_that_an_agent_writes_is_markup_in_slack_or_too_long_for_it(tmp_path: Path) -> None:
    arguments = json.dumps({"note": "<!channel> " + "x" * 10_000})
    with receiving() as slack, relaying(tmp_path, slack) as url:
        assert send(url, told(arguments=arguments)) == ""
        (got,) = slack.got
    assert b"mrkdwn" not in got.body
    assert "<!channel>" not in json.loads(got.body)["text"]
    assert len(json.loads(got.body)["blocks"][1]["text"]["text"]) < 3_000


def test_the_relay_forwards_nothing_that_is_not_signed_and_says_when_slack_did_not_take_it(tmp_path: Path) -> None:
    with receiving(status(500)) as slack, relaying(tmp_path, slack) as url:
        content = told()
        assert send(url, content, headers(content, secret=b"x" * 32)) == "it answered with status 401"
        assert slack.got == []
        assert send(url, content) == "it answered with status 502"


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    assert f"{MIN_SECRET} bytes at least" in TEXT
    assert list(PAUSES) == [1, 5, 30, 120, 600, 1800, 3600]
    assert "after 1 s, 5 s, 30 s, 2, 10, and 30 minutes, and then every hour" in TEXT
