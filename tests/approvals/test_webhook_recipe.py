"""The recipes in docs/webhook.md, as somebody who copies them gets them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from sidecar.approvals.webhook import body, signed
from sidecar.ledger.approvals import Notice, Record
from tests.approvals.calls import asked

NOW = 1_800_000_000
SECRET = b"a secret of more than 24 bytes"
TURNED = "\u202e"
DOCS = Path(__file__).parents[2] / "docs" / "webhook.md"


@pytest.fixture
def recipes(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What both recipes define; nothing listens."""
    monkeypatch.setenv("APPROVALS_SECRET", SECRET.decode())
    monkeypatch.setenv("SLACK_URL", "http://127.0.0.1:9/")
    code = "\n".join(re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL))
    found: dict[str, Any] = {}
    exec(code.partition("ThreadingHTTPServer((")[0], found)
    monkeypatch.setattr(found["time"], "time", lambda: NOW)
    return found


def message(arguments: str = '{"ordId":"42"}', asker: str = "", tool: str = "cancel_order") -> bytes:
    record = Record("apr_1", asked(arguments=arguments, asker=asker, tool=tool), "pending", NOW, NOW, NOW + 60)
    return body(Notice("ntc_1", "pending", NOW, 0, record), "https://approvals.test/approvals/apr_1", NOW)


def test_the_recipe_takes_our_messages_and_no_others(recipes: dict[str, Any]) -> None:
    content = message()
    headers = signed(SECRET, "ntc_1", NOW, content)
    recipes["verify"](SECRET, headers, content)
    for wrong in ({**headers, "webhook-id": "ntc_2"}, {**headers, "webhook-timestamp": f"{NOW + 1}"}, {},
                  signed(SECRET, "ntc_1", NOW - 301, content), signed(SECRET[:-1], "ntc_1", NOW, content)):  # fmt: skip
        with pytest.raises(ValueError, match=r"not signed|too old|invalid literal"):
            recipes["verify"](SECRET, wrong, content)
    with pytest.raises(ValueError, match="not signed"):
        recipes["verify"](SECRET, headers, content + b" ")


def test_what_an_agent_writes_neither_hides_nor_claims_a_name_in_the_chat(recipes: dict[str, Any]) -> None:
    hostile = json.dumps({"note": f"<!channel> {TURNED}", "pad": "x" * 4000, "amount": "all"})
    sent = json.dumps(
        recipes["blocks"](json.loads(message(hostile, tool=f"cancel_{TURNED * 150}"))), ensure_ascii=False
    )
    assert TURNED not in sent
    assert "(cut: look at the page)" in sent
    assert "asked by an agent that calls itself agent 1.0" in sent
    assert "mrkdwn" not in sent
    header, *others = recipes["blocks"](json.loads(message(asker="alice@example.com")))["blocks"]
    assert len(header["text"]["text"]) <= 150
    assert "asked by alice@example.com" in json.dumps(others)
