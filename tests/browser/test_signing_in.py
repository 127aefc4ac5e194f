"""Who gets in, and who is out again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.calls import asked, order
from tests.browser.desk import Desk
from tests.browser.elsewhere import page_of
from tests.browser.serving import ALICE, BOB, TRADER, Serving
from tests.browser.tls_proxy import port_for_tls, tls_on

pytestmark = pytest.mark.slow


def test_a_wrong_token_gets_nowhere_and_is_told(serving: Serving, desk: Desk) -> None:
    desk.excuse("401")
    serving.ask(asked())
    page = desk.tab()
    page.get_by_label("Your token").fill("a guess")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("This token is not an approver's.")
    expect(page.get_by_role("button", name="Sign out")).to_have_count(0)
    assert desk.context.cookies() == []
    assert [(one.who, one.via, one.what, one.status) for one in serving.tries] == [("", "page", "sign in", 401)]
    page.get_by_label("Your token").fill(ALICE)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("Signed in as alice")).to_be_visible()


def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(serving: Serving, desk: Desk) -> None:
    page = desk.sign_in(ALICE)
    (cookie,) = desk.context.cookies(page.url)
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert cookie["path"] == page.url.removeprefix(serving.url)
    assert page.evaluate("document.cookie") == ""
    assert ALICE not in page.content()


def test_behind_https_the_cookie_is_bound_to_the_host(browser: Browser, tmp_path: Path) -> None:
    bound = port_for_tls()
    url = f"https://localhost:{bound.getsockname()[1]}"
    serving = Serving(tmp_path, url=url)
    proxy = tls_on(bound, int(serving.url.rpartition(":")[2]), tmp_path)
    serving.run(proxy.__aenter__())
    desk = Desk(browser, url, ignore_https_errors=True)
    page = desk.sign_in(ALICE)
    (cookie,) = desk.context.cookies()
    assert cookie["name"] == "__Host-approvals"
    assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, True, "Strict", "/")
    # A link from a chat comes without the strict cookie, and gets there all the same.
    record = serving.ask(asked())
    with page_of(f'<a href="{desk.url}/approvals/{record.id}">The approval</a>') as (elsewhere, _):
        page.goto(elsewhere)
        page.get_by_role("link").click()
        expect(page.get_by_role("button", name="Approve")).to_be_visible()
    # And whoever is not signed in sees where to.
    stranger = Desk(browser, desk.url, ignore_https_errors=True)
    with page_of(f'<a href="{desk.url}/approvals/{record.id}">The approval</a>') as (elsewhere, _):
        theirs = stranger.tab(elsewhere)
        theirs.get_by_role("link").click()
        expect(theirs.get_by_label("Your token")).to_be_visible()
    assert desk.complaints == []
    stranger.close()
    desk.close()
    serving.run(proxy.__aexit__(None, None, None))
    serving.close()


def test_who_comes_by_loopback_has_a_cookie_for_one_path_though_others_come_by_https(
    browser: Browser, tmp_path: Path
) -> None:
    serving = Serving(tmp_path, url="https://approvals.example.com")
    # A browser takes loopback for as safe as https, and would send a cookie with `Secure` to every port of it.
    for name in ("127.0.0.1", "localhost"):
        desk = Desk(browser, serving.url.replace("127.0.0.1", name))
        page = desk.sign_in(ALICE)
        (cookie,) = desk.context.cookies()
        assert (cookie["name"], cookie["path"]) == ("approvals", page.url.removeprefix(desk.url))
        desk.close()
    serving.close()


def test_a_link_leads_to_its_approval_whether_or_not_one_is_signed_in(serving: Serving, desk: Desk) -> None:
    record = serving.ask(asked())
    page = desk.sign_in(ALICE, f"/approvals/{record.id}")
    expect(page.get_by_role("heading", name="cancel_order", exact=True)).to_be_visible()
    # The link does not know the path under which the cookie counts; the browser does.
    again = desk.tab(f"/approvals/{record.id}")
    expect(again.get_by_text("Signed in as alice")).to_be_visible()
    expect(again.get_by_role("heading", name="cancel_order", exact=True)).to_be_visible()


def test_signing_out_ends_every_tab(serving: Serving, desk: Desk) -> None:
    record = serving.ask(asked())
    page = desk.sign_in(ALICE)
    other = desk.tab(f"/approvals/{record.id}")
    expect(other.get_by_role("button", name="Approve")).to_be_visible()
    before = other.url
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Your token")).to_be_visible()
    expect(other.get_by_label("Your token")).to_be_visible()
    assert desk.context.cookies() == []
    page.goto(before)
    expect(page.get_by_label("Your token")).to_be_visible()


def test_an_approver_who_is_taken_out_of_the_file_is_out(serving: Serving, desk: Desk, browser: Browser) -> None:
    record = serving.ask(asked())
    page = desk.sign_in(ALICE)
    plain = Desk(browser, serving.url, java_script_enabled=False)
    slow = plain.sign_in(ALICE, f"/approvals/{record.id}")
    serving.name_approvers(BOB)
    expect(page.get_by_label("Your token")).to_be_visible()
    slow.get_by_role("button", name="Approve").click()
    expect(slow.get_by_role("alert")).to_contain_text("You are signed out, so nothing was decided.")
    assert serving.find(record.id).state == "pending"
    # Whoever signs in again is back where that was.
    slow.get_by_label("Your token").fill(BOB)
    slow.get_by_role("button", name="Sign in").click()
    expect(slow.get_by_role("heading", name="cancel_order", exact=True)).to_be_visible()
    plain.close()


def test_one_sees_only_what_one_may_answer(serving: Serving, desk: Desk) -> None:
    desk.excuse("404")
    cancel = serving.ask(asked())
    serving.ask(order(0))
    page = desk.sign_in(TRADER)
    expect(page.locator(".card")).to_have_count(1)
    expect(page.get_by_role("link", name="place_order")).to_be_visible()
    page.goto(f"{page.url}approvals/{cancel.id}")
    expect(page.get_by_role("heading", name="There is no such approval")).to_be_visible()
    page.goto(re.sub("/approvals/.*", "/approvals/apr_00000000000000000000", page.url))
    expect(page.get_by_role("heading", name="There is no such approval")).to_be_visible()
    page.get_by_role("link", name="History").click()
    expect(page.locator(".card")).to_have_count(1)
