"""An agent, the sidecar that runs, and a person at the page: a call goes through once, and only after a yes."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.desk import Desk
from tests.support.peer import Sidecar, denied, kind
from tests.support.ports import free_port

pytestmark = pytest.mark.slow

TOKEN = "alice-6f1d0c3b9e8a4f27"
POLICY = """
approvals: {{timeout: 10m{more}}}
tools:
  cancel_order:
    class: Financial
    rules:
      - name: cancels
        action: require_approval
        reason: Requires human approval
      - name: ten a day
        rate_limit: 10/day
"""


def served(folder: Path, more: str = "") -> tuple[Sidecar, str]:
    """A sidecar with the page, and where that is."""
    approvers, port = folder / "approvers.yaml", free_port()
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    approvers.write_text(f"approvers: [{{name: alice, token_sha256: {digest}}}]\n", encoding="utf-8")
    approvers.chmod(0o600)
    options = ("--approvals", f"127.0.0.1:{port}", "--approvers-file", str(approvers))
    return Sidecar(folder, POLICY.format(more=more), *options), f"http://127.0.0.1:{port}"


def test_a_call_goes_through_once_after_a_person_said_yes_on_the_page(tmp_path: Path, browser: Browser) -> None:
    sidecar, url = served(tmp_path)
    with sidecar:
        desk = Desk(browser, url)
        page = desk.sign_in(TOKEN)
        arguments = {"instId": "SOL-USDT", "ordId": "2510789768709120"}
        error = sidecar.call("cancel_order", arguments)["error"]
        assert error["code"] == -32003
        assert error["data"]["url"] == f"{url}/approvals/{error['data']['approval_id']}"
        # The link in the answer leads there, and so does the page by itself.
        expect(page.get_by_role("link", name="cancel_order")).to_be_visible()
        followed = desk.tab(error["data"]["url"])
        expect(followed.get_by_role("row", name="ordId")).to_contain_text("2510789768709120")
        expect(followed.locator("main")).to_contain_text("ten a day: 1 of 10 a day")
        expect(followed.locator("main")).to_contain_text("Moves money, or commits to do so. It cannot be undone.")
        followed.get_by_label("Reason").fill("It is stale")
        followed.get_by_role("button", name="Approve").click()
        expect(followed.locator("#live .now")).to_have_text("Approved")
        assert sidecar.received == []
        assert denied(sidecar.call("cancel_order", arguments)) is None
        assert len(sidecar.received) == 1
        expect(followed.locator("#live .now")).to_have_text("Done")
        # A replay asks anew.
        assert sidecar.call("cancel_order", arguments)["error"]["code"] == -32003
        assert len(sidecar.received) == 1
        page.get_by_role("link", name="cancel_order").click()
        page.get_by_role("button", name="Deny").click()
        expect(page.locator("#live .now")).to_have_text("Denied")
        assert kind(sidecar.call("cancel_order", arguments)) == "approval_denied"
        assert len(sidecar.received) == 1
        assert desk.complaints == []
        desk.close()


def test_a_call_that_waits_in_place_goes_on_when_a_person_says_yes(tmp_path: Path, browser: Browser) -> None:
    sidecar, url = served(tmp_path, ", hold: 60s")
    with sidecar, ThreadPoolExecutor(1) as agent:
        desk = Desk(browser, url)
        page = desk.sign_in(TOKEN)
        answer = agent.submit(sidecar.call, "cancel_order", {"ordId": "1"})
        page.get_by_role("link", name="cancel_order").click()
        page.get_by_role("button", name="Approve").click()
        assert denied(answer.result(60)) is None
        expect(page.locator("#live .now")).to_have_text("Done")
        assert len(sidecar.received) == 1
        assert desk.complaints == []
        desk.close()
