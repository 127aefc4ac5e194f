"""What was: found again by state, tool and text."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.calls import asked, order
from tests.browser.desk import Desk
from tests.browser.serving import ALICE, Serving

pytestmark = pytest.mark.slow


def found(page: Page) -> list[str]:
    """The tools in the list, with their states."""
    cards = page.locator(".card .head").all_inner_texts()
    return [" ".join(card.split()) for card in cards]


def test_the_history_is_filtered(serving: Serving, desk: Desk) -> None:
    serving.decide(serving.ask(asked()), "deny", by="bob", reason="It limits a loss")
    serving.decide(serving.ask(order(0)), "approve")
    serving.ask(asked("close_positions", '{"instId":"BTC-USDT-SWAP"}'))
    page = desk.sign_in(ALICE)
    page.get_by_role("link", name="History").click()
    expect(page.get_by_text("3 approvals, the newest first.")).to_be_visible()
    assert found(page) == [
        "close_positions Financial critical",
        "place_order Approved Financial critical",
        "cancel_order Denied Financial critical",
    ]
    page.get_by_label("State").select_option("Denied")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_text("1 approval, the newest first.")).to_be_visible()
    assert found(page) == ["cancel_order Denied Financial critical"]
    expect(page.get_by_label("State")).to_have_value("denied")
    for tool, text, tools in (
        ("ORDER", "", ["place_order", "cancel_order"]),
        ("", "swap", ["close_positions"]),
        ("", "limits a loss", ["cancel_order"]),
        ("", "BOB", ["cancel_order"]),
        ("cancel", "swap", []),
    ):
        page.get_by_label("State").select_option("Any")
        page.get_by_label("Tool").fill(tool)
        page.get_by_label("Text").fill(text)
        page.get_by_role("button", name="Filter").click()
        page.wait_for_url("**/history?*")
        expect(page.locator(".card")).to_have_count(len(tools))
        assert [card.split()[0] for card in found(page)] == tools
    expect(page.get_by_text("Nothing matches.")).to_be_visible()
    page.get_by_role("link", name="Show all of them").click()
    expect(page.locator(".card")).to_have_count(3)


def test_an_empty_history_says_what_will_stand_there(serving: Serving, desk: Desk) -> None:
    page = desk.sign_in(ALICE)
    page.get_by_role("link", name="History").click()
    expect(page.get_by_text("0 approvals")).to_be_visible()
    page.get_by_role("link", name="Standing").click()
    expect(page.get_by_text("There are none.")).to_be_visible()


def test_more_than_one_page_shows_is_said(serving: Serving, desk: Desk) -> None:
    for number in range(201):
        serving.ask(asked(arguments=f'{{"ordId":"{number}"}}', holder=f"session {number % 5}", timeout=600 + number))
    page = desk.sign_in(ALICE)
    expect(page.locator(".card")).to_have_count(200)
    expect(page.locator(".card").first.locator(".preview dd")).to_have_text("0")  # the one that ends first
    expect(page.get_by_text("Only 200 are shown, those that end first. 1 more waits.")).to_be_visible()
    expect(page).to_have_title("(201) Waiting – Approvals")
    page.get_by_role("link", name="History").click()
    expect(page.get_by_text("The newest 200 of 201 are shown.")).to_be_visible()
