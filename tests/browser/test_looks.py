"""What everybody can read and use: by axe's rules, in both colour schemes, on a phone and on a desk."""

from __future__ import annotations

import time
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.calls import asked, order, takes
from tests.browser.desk import Desk
from tests.browser.serving import ALICE, Serving
from tests.support.node import package

pytestmark = pytest.mark.slow

AXE = package("axe-core", "axe.min.js")
PHONE, DESKTOP = {"width": 360, "height": 740}, {"width": 1280, "height": 800}


def problems(page: Page) -> list[Any]:
    """What axe finds wrong with a page."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run({ resultTypes: ['violations'] })")
    return [
        (one["id"], one["help"], [(node["target"], node.get("failureSummary")) for node in one["nodes"]])
        for one in found["violations"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_every_page_can_be_read_and_used_by_everybody(
    serving: Serving, browser: Browser, scheme: Any, size: dict[str, int]
) -> None:
    desk = Desk(browser, serving.url, viewport=size, color_scheme=scheme, reduced_motion="reduce")
    desk.excuse("40[149]")
    page = desk.tab()
    looked_at(page, "sign in")
    page.get_by_label("Your token").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    looked_at(page, "a wrong token")
    page.get_by_label("Your token").fill(ALICE)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("Nothing waits for you.")).to_be_visible()
    looked_at(page, "nothing waits")
    base = page.url
    serving.takes(takes("okx/place_order.usd", 9200, 10000))
    first = serving.ask(order(time.time()))
    two = serving.ask(
        asked(approvers=2, arguments='{"a":"' + "long " * 200 + '","b":"\u202e","c":null,"d":true,"e":[]}')
    )
    lost = serving.lost(asked(arguments='{"ordId":"1"}'))
    denied = serving.decide(serving.ask(asked("transfer", severity="high", risk_class="Write")), "deny", reason="No")
    approved = serving.decide(serving.ask(asked("delete_key", severity="low", risk_class="Read")), "approve")
    serving.ask(asked("no_class", severity="", risk_class="", reason=""))
    expect(page.locator(".card")).to_have_count(5)
    looked_at(page, "waiting")
    for record, name in (
        (first, "a call"),
        (two, "two approvers"),
        (lost, "unknown"),
        (denied, "denied"),
        (approved, "approved"),
    ):
        page.goto(f"{base}approvals/{record.id}")
        looked_at(page, name)
        for summary in page.locator("summary").all():
            summary.click()
        looked_at(page, f"{name}, unfolded")
    page.goto(f"{base}approvals/{first.id}")
    page.get_by_role("radio", name="Calls like this").check()
    looked_at(page, "calls like this")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("button", name="Take it back")).to_be_visible()
    for path in ("grants", "history", "history?text=nothing-at-all", "approvals/apr_0", "nowhere"):
        page.goto(base + path)
        looked_at(page, path)
    # Another person was quicker: the notice of a refused answer, and that of a page that is out of date.
    page.goto(f"{base}approvals/{two.id}")
    serving.decide(two, "deny")
    expect(page.get_by_text("This was decided or ended meanwhile")).to_be_visible()
    looked_at(page, "out of date")
    assert desk.complaints == []
    desk.close()


def looked_at(page: Page, what: str) -> None:
    """No rule is broken, and nobody has to scroll sideways."""
    expect(page.locator("h1")).to_have_count(1)
    assert problems(page) == [], what
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0, what


def test_what_is_pressed_is_large_enough_and_apart(serving: Serving, browser: Browser) -> None:
    desk = Desk(browser, serving.url, viewport=PHONE, has_touch=True)
    page = desk.sign_in(ALICE, f"/approvals/{serving.ask(asked()).id}")
    approve = page.get_by_role("button", name="Approve").bounding_box()
    deny = page.get_by_role("button", name="Deny").bounding_box()
    assert approve is not None
    assert deny is not None
    assert min(approve["height"], deny["height"]) >= 44
    assert approve["x"] - (deny["x"] + deny["width"]) >= 32
    assert page.evaluate("document.activeElement === document.body")
    desk.close()


def test_what_is_focused_can_be_seen(serving: Serving, desk: Desk) -> None:
    page = desk.sign_in(ALICE, f"/approvals/{serving.ask(asked()).id}")
    for _ in range(12):
        page.keyboard.press("Tab")
        focused = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        name = page.evaluate("document.activeElement.outerHTML.slice(0, 60)")
        assert focused == "solid" or "<body" in name or "<main" in name, name
