"""A call arrives, and people answer it."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import Browser, Page, expect

from sidecar.approvals.document import digest_of
from tests.browser.calls import CANCEL, GRANT, ORDER, asked, order, takes
from tests.browser.desk import Desk
from tests.browser.serving import ALICE, BOB, Serving

pytestmark = pytest.mark.slow


def stands(page: Page, text: str) -> None:
    """Wait until the part about where the approval stands says so."""
    expect(page.locator("#live .now")).to_have_text(text)


def test_a_call_appears_without_a_reload_and_is_approved(serving: Serving, desk: Desk) -> None:
    page = desk.sign_in(ALICE)
    expect(page.get_by_text("Nothing waits for you.")).to_be_visible()
    page.evaluate("window.sameDocument = true")
    wants = asked()
    record = serving.ask(wants)
    expect(page.get_by_role("link", name="cancel_order")).to_be_visible()
    expect(page).to_have_title("(1) Waiting – Approvals")
    expect(page.get_by_role("status")).to_have_text("1 call waits for an answer.")
    assert page.evaluate("window.sameDocument")
    page.get_by_role("link", name="cancel_order").click()
    expect(page.get_by_role("row", name="ordId")).to_contain_text("2510789768709120")
    page.get_by_role("button", name="Approve").click()
    stands(page, "Approved")
    expect(page.locator("#live")).to_contain_text("alice approved it")
    (answer,) = serving.find(record.id).answers
    assert (answer.by, answer.verdict, answer.via, answer.origin) == ("alice", "approve", "page", "127.0.0.1")
    assert answer.shown == digest_of(wants)
    assert not answer.grant
    # The agent repeats the call, and the page follows.
    used = serving.use(wants)
    stands(page, "Running")
    serving.settle(used, "consumed")
    stands(page, "Done")
    expect(page).to_have_title("cancel_order: Done – Approvals")


def test_a_call_is_denied_with_a_reason(serving: Serving, desk: Desk) -> None:
    record = serving.ask(asked())
    page = desk.sign_in(ALICE, f"/approvals/{record.id}")
    page.get_by_label("Reason").fill("Not this one:\n<b>it</b> limits a loss")
    page.get_by_role("button", name="Deny").click()
    stands(page, "Denied")
    expect(page.locator(".said .why")).to_contain_text("<b>it</b> limits a loss")
    after = serving.find(record.id)
    assert (after.state, after.answers[0].reason) == ("denied", "Not this one:\n<b>it</b> limits a loss")
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)


def test_everything_that_was_decided_upon_is_on_the_page(serving: Serving, desk: Desk) -> None:
    serving.takes(takes("okx/place_order.usd", 6200, 10000), takes("okx/place_order.count", 7, 20, 3600))
    now = time.time()
    wants = order(now, asker="bot@example.com", issuer="https://login.example.com", masked=("args.px",))
    serving.ask(wants)
    record = serving.ask(wants)
    page = desk.sign_in(ALICE, f"/approvals/{record.id}")
    for text in (
        "On the server okx. Moves money, or commits to do so. It cannot be undone.",
        "Orders over 1000 USD need a person", "orders over 1000 USD", "policies/okx-approval.yaml, line 41",
        "bot@example.com", "https://login.example.com", "trading-agent", "5f1c9e20",
        "daily spend in USD: 8052 of 10000 a day", "order rate: 8 of 20 an hour",
        "The agent asked for this very call 2 times.",
        "refused: a limit was reached", "The policy hides the values of args.px",
    ):  # fmt: skip
        expect(page.locator("main")).to_contain_text(text)
    expect(page.locator(".chips")).to_have_text(re.compile(r"Financial\s+critical"))
    left = page.get_by_role("progressbar", name="Time left to answer")
    expect(left).to_have_attribute("max", "1800")
    page.get_by_text("The raw JSON").click()
    expect(page.get_by_role("group", name="Arguments as JSON")).to_have_text(ORDER)


def test_time_runs_out_on_an_open_page(serving: Serving, desk: Desk) -> None:
    record = serving.ask(asked(timeout=8))
    page = desk.sign_in(ALICE, f"/approvals/{record.id}")
    page.get_by_label("Reason").fill("I am still")
    stands(page, "Expired")
    expect(page.get_by_role("status")).to_contain_text("Nobody answered in time. The call did not run.")
    # What was typed stays, and where it was typed keeps the focus; but nothing can be sent.
    expect(page.get_by_label("Reason")).to_have_value("I am still")
    expect(page.get_by_label("Reason")).to_be_focused()
    expect(page.get_by_role("button", name="Approve")).to_be_disabled()
    page.get_by_role("link", name="Show it as it is now").click()
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)


def test_an_answer_after_the_time_is_refused(serving: Serving, desk: Desk, browser: Browser) -> None:
    # Without scripts nothing disables the buttons.
    plain = Desk(browser, serving.url, java_script_enabled=False)
    record = serving.ask(asked(timeout=8))  # a busy machine takes its time to show the page
    page = plain.sign_in(ALICE, f"/approvals/{record.id}")
    follower = desk.sign_in(ALICE, f"/approvals/{record.id}")
    stands(follower, "Expired")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("alert")).to_contain_text("Your answer was not taken: it")
    stands(page, "Expired")
    assert serving.find(record.id).state == "expired"
    plain.close()


def test_two_tabs_race_and_one_answer_counts(serving: Serving, desk: Desk, browser: Browser) -> None:
    other = Desk(browser, serving.url, java_script_enabled=False)
    record = serving.ask(asked())
    loser = other.sign_in(BOB, f"/approvals/{record.id}")
    winner = desk.sign_in(ALICE, f"/approvals/{record.id}")
    second = desk.context.new_page()
    second.goto(winner.url)
    winner.get_by_role("button", name="Deny").click()
    stands(winner, "Denied")
    # The other tab of the same person learns of it by itself.
    stands(second, "Denied")
    expect(second.get_by_role("button", name="Approve")).to_be_disabled()
    # The tab that does not is told what happened meanwhile.
    loser.get_by_role("button", name="Approve").click()
    expect(loser.get_by_role("alert")).to_contain_text("Your answer was not taken: it is denied already.")
    expect(loser.locator(".said")).to_contain_text("alice denied it")
    assert [one.verdict for one in serving.find(record.id).answers] == ["deny"]
    assert [(one.who, one.status) for one in serving.tries] == [("bob", 409)]
    other.close()


def test_two_people_have_to_agree(serving: Serving, desk: Desk, browser: Browser) -> None:
    record = serving.ask(asked(approvers=2))
    page = desk.sign_in(ALICE, f"/approvals/{record.id}")
    expect(page.locator("#live")).to_contain_text("2 different people have to agree.")
    page.get_by_role("button", name="Approve").click()
    stands(page, "Waiting for another answer")
    expect(page.locator("main")).to_contain_text("You agreed. Somebody else has to agree too")
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)
    second = Desk(browser, serving.url)
    theirs = second.sign_in(BOB, f"/approvals/{record.id}")
    expect(theirs.locator("#live")).to_contain_text("alice agreed. It needs one more person.")
    theirs.get_by_role("button", name="Approve").click()
    stands(theirs, "Approved")
    stands(page, "Approved")
    second.close()


def test_who_asked_cannot_approve_under_four_eyes(serving: Serving, desk: Desk) -> None:
    record = serving.ask(asked(four_eyes=True, asker="alice"))
    page = desk.sign_in(ALICE, f"/approvals/{record.id}")
    expect(page.locator("main")).to_contain_text("You asked for this call yourself")
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)


def test_calls_like_it_are_approved_and_taken_back(serving: Serving, desk: Desk) -> None:
    record = serving.ask(order(time.time()))
    page = desk.sign_in(ALICE, f"/approvals/{record.id}")
    expect(page.get_by_role("radio", name="This call")).to_be_checked()
    expect(page.locator(".terms")).to_be_hidden()
    page.get_by_role("radio", name="Calls like this").check()
    terms = page.locator(".terms")
    expect(terms).to_contain_text("args.instId is equal to SOL-USDT")
    expect(terms).to_contain_text("args.sz is at most 12.50")
    expect(terms).to_contain_text("Every other argument may differ: args.tdMode, args.side, args.ordType, args.px, and")
    page.get_by_role("button", name="Approve").click()
    stands(page, "Approved")
    expect(page.locator(".said")).to_contain_text("alice approved it for calls like this one")
    page.get_by_role("link", name="Standing").click()
    standing = page.locator(".card")
    expect(standing).to_contain_text("9 of 10 calls left")
    # Another call like it uses it, and the list follows.
    serving.use(order(time.time(), ORDER.replace("148.20", "150"), grant=GRANT))
    expect(standing).to_contain_text("8 of 10 calls left")
    page.get_by_role("link", name="Take it back…").click()
    page.get_by_role("button", name="Take it back").click()
    expect(page.locator(".said")).to_contain_text("alice took it back")
    page.get_by_role("link", name="Standing").click()
    expect(page.get_by_text("There are none.")).to_be_visible()


def test_a_person_says_what_became_of_a_call(serving: Serving, desk: Desk) -> None:
    record = serving.lost(asked())
    page = desk.sign_in(ALICE)
    expect(page.get_by_role("heading", name="Nobody knows whether these ran")).to_be_visible()
    page.get_by_role("link", name="cancel_order").click()
    stands(page, "Nobody knows whether it ran")
    page.get_by_role("radio", name="It did not happen").check()
    page.get_by_label("How you know").fill("The order still stands")
    page.get_by_role("button", name="Say so").click()
    stands(page, "Done")
    expect(page.locator("#live")).to_contain_text("A person said that the call did not happen.")
    assert serving.find(record.id).answers[-1].verdict == "failed"


def test_enter_decides_nothing(serving: Serving, desk: Desk) -> None:
    record = serving.ask(order(time.time()))
    page = desk.sign_in(ALICE, f"/approvals/{record.id}")
    page.get_by_role("radio", name="This call").press("Enter")
    page.get_by_role("radio", name="Calls like this").press("Enter")
    page.get_by_label("Reason").press("Enter")
    stands(page, "Waiting for an answer")
    assert serving.find(record.id).state == "pending"


def test_all_of_it_works_by_keyboard(serving: Serving, desk: Desk) -> None:
    record = serving.ask(asked())
    page = desk.tab(f"/approvals/{record.id}")
    page.get_by_label("Your token").focus()
    page.keyboard.type(ALICE)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    seen = []
    for _ in range(12):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.textContent.trim() || document.activeElement.id"))
        if seen[-1] == "Approve":
            break
    # From the content it goes on without a detour, and past Deny: both are there, and far from each other.
    assert seen == ["All that waits", "The raw JSON", "reason", "Deny", "Approve"]
    page.keyboard.press("Enter")
    stands(page, "Approved")


def test_what_is_focused_in_a_list_stays_focused_when_the_list_changes(serving: Serving, desk: Desk) -> None:
    serving.ask(asked())
    page = desk.sign_in(ALICE)
    link = page.get_by_role("link", name="cancel_order")
    link.focus()
    serving.ask(order(time.time()))
    expect(page.get_by_role("link", name="place_order")).to_be_visible()
    expect(link).to_be_focused()


def test_it_works_without_scripts(serving: Serving, browser: Browser) -> None:
    plain = Desk(browser, serving.url, java_script_enabled=False)
    record = serving.ask(asked())
    page = plain.sign_in(ALICE)
    page.get_by_role("link", name="cancel_order").click()
    page.get_by_role("button", name="Approve").click()
    stands(page, "Approved")
    assert serving.find(record.id).state == "approved"
    plain.close()


def test_a_store_that_is_gone_is_said(serving: Serving, desk: Desk) -> None:
    desk.excuse("503")
    serving.ask(asked(arguments=CANCEL))
    page = desk.sign_in(ALICE)
    serving.lose_store()
    page.reload()
    expect(page.get_by_role("heading", name="The store cannot be used now")).to_be_visible()
