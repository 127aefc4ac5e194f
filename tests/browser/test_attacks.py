"""What pages of others, and who serves them beside us, can do with somebody who is signed in: nothing."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import Page, expect

from sidecar.approvals.document import digest_of
from tests.browser.calls import asked
from tests.browser.desk import Desk
from tests.browser.elsewhere import page_of
from tests.browser.serving import ALICE, Serving

pytestmark = pytest.mark.slow


def session_of(page: Page, desk: Desk) -> dict[str, str]:
    """The cookie of a tab, as somebody has it who got hold of it."""
    (cookie,) = desk.context.cookies(page.url)
    return {"cookie": f"{cookie['name']}={cookie['value']}"}


def csrf_of(page: Page) -> str:
    """The token in the page's own forms."""
    return page.locator("[name=csrf]").first.input_value()


def test_a_form_of_another_page_decides_nothing(serving: Serving, desk: Desk) -> None:
    desk.excuse("403")
    wants = asked()
    record = serving.ask(wants)
    page = desk.sign_in(ALICE)
    # The attacker knows all but the session: where the page is, what is shown, and even the token of its forms.
    form = f"""<form method=post action="{page.url}approvals/{record.id}/approve">
      <input name=csrf value="{csrf_of(page)}"><input name=shown value="{digest_of(wants)}"><button>Win</button>
      </form>"""
    with page_of(form) as (elsewhere, _):
        theirs = desk.tab(elsewhere)
        with theirs.expect_response(lambda one: one.request.method == "POST") as answered:
            theirs.get_by_role("button", name="Win").click()
        assert answered.value.status == 403
    assert serving.find(record.id).state == "pending"


def test_a_form_of_another_site_comes_without_the_cookie(serving: Serving, desk: Desk) -> None:
    desk.excuse("40[13]")
    record = serving.ask(asked())
    page = desk.sign_in(ALICE)
    form = f'<form method=post action="{page.url}approvals/{record.id}/deny"><button>Win</button></form>'
    with page_of(form) as (elsewhere, _):
        theirs = desk.tab(elsewhere.replace("127.0.0.1", "localhost"))
        with theirs.expect_request(lambda one: one.method == "POST") as asked_for:
            theirs.get_by_role("button", name="Win").click()
        assert "cookie" not in asked_for.value.all_headers()
    assert serving.find(record.id).state == "pending"


def test_scripts_of_another_page_read_and_decide_nothing(serving: Serving, desk: Desk) -> None:
    desk.excuse("CORS|blocked|Failed to load resource")
    wants = asked()
    record = serving.ask(wants)
    page = desk.sign_in(ALICE)
    csrf, shown = csrf_of(page), digest_of(wants)
    with page_of("<p>Hello</p>") as (elsewhere, cookies):
        theirs = desk.tab(elsewhere)
        fetched = theirs.evaluate(
            """async ([base, id, csrf, shown]) => {
              const seen = [];
              const body = new URLSearchParams({ csrf, shown });
              for (const [path, options] of [
                ["", {}], [`approvals/${id}`, {}], ["events", {}],
                [`approvals/${id}/approve`, { method: "POST", body }],
                [`approvals/${id}/approve`, { method: "POST", body, mode: "no-cors" }],
              ]) {
                try {
                  const answer = await fetch(base + path, { credentials: "include", ...options });
                  seen.push(answer.type === "opaque" ? "opaque" : await answer.text());
                } catch {
                  seen.push("refused");
                }
              }
              return seen;
            }""",
            [page.url, record.id, csrf, shown],
        )
        assert fetched[:4] == ["refused"] * 4
        # A cookie goes to every port of a host, but this one belongs to a path that the other port is not asked for.
        assert cookies == [""] * len(cookies)
        assert cookies
    assert serving.find(record.id).state == "pending"


def test_a_stolen_cookie_is_worth_nothing_by_itself(serving: Serving, desk: Desk) -> None:
    wants = asked()
    record = serving.ask(wants)
    page = desk.sign_in(ALICE, f"/approvals/{record.id}")
    stolen = session_of(page, desk)
    base = page.url.partition("/approvals/")[0]
    fields = {"csrf": csrf_of(page), "shown": digest_of(wants)}
    with httpx.Client() as client:
        # Without the path that it belongs to.
        answer = client.post(f"{serving.url}/approvals/{record.id}/approve", headers=stolen, data=fields)
        assert answer.status_code == 401
        # From another origin.
        for origin in ("https://evil.example", "http://127.0.0.1:1", "null"):
            headers = {**stolen, "origin": origin}
            answer = client.post(f"{base}/approvals/{record.id}/approve", headers=headers, data=fields)
            assert answer.status_code == 403, origin
        for site in ("cross-site", "same-site"):
            headers = {**stolen, "sec-fetch-site": site}
            answer = client.post(f"{base}/approvals/{record.id}/approve", headers=headers, data=fields)
            assert answer.status_code == 403, site
        # Without the token of the form, or with another's.
        for csrf in ("", "guess", "é" * 43):
            data = {**fields, "csrf": csrf}
            answer = client.post(f"{base}/approvals/{record.id}/approve", headers=stolen, data=data)
            assert answer.status_code == 403, csrf
        # Not at the API, which takes tokens only.
        assert client.get(f"{serving.url}/api/approvals", headers=stolen).status_code == 401
        assert serving.find(record.id).state == "pending"
        # It was none of these alone that made the right request right.
        answer = client.post(f"{base}/approvals/{record.id}/approve", headers=stolen, data=fields)
        assert answer.status_code == 303
    assert serving.find(record.id).state == "approved"
    assert {one.status for one in serving.tries} == {403, 401}


def test_nobody_is_signed_in_by_a_page_of_others(serving: Serving, desk: Desk) -> None:
    desk.excuse("403")
    field = f'<input name=token value="{ALICE}"><button>Win</button>'
    with page_of(f'<form method=post action="{serving.url}/sign-in">{field}</form>') as (elsewhere, _):
        theirs = desk.tab(elsewhere)
        with theirs.expect_response(lambda one: one.request.method == "POST") as answered:
            theirs.get_by_role("button", name="Win").click()
        assert answered.value.status == 403
    assert desk.context.cookies() == []


def test_the_page_cannot_be_framed(serving: Serving, desk: Desk) -> None:
    desk.excuse("frame|ERR_BLOCKED_BY_RESPONSE|policy")
    record = serving.ask(asked())
    page = desk.sign_in(ALICE, f"/approvals/{record.id}")
    with page_of(f'<iframe src="{page.url}"></iframe>') as (elsewhere, _):
        theirs = desk.tab(elsewhere)
        theirs.wait_for_load_state("load")
        frame = theirs.frames[1]
        assert frame.get_by_role("button", name="Approve").count() == 0
        assert "cancel_order" not in frame.content()


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/sign-in",
        "/nothing",
        "/history?state=x",
        "/approvals/apr_1",
        "/events",
        "/static/x/page.js",
        "//evil.example",
    ],
)
def test_every_answer_has_the_headers_that_keep_others_out(serving: Serving, path: str) -> None:
    answer = httpx.get(serving.url + path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "base-uri 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "after", ["//evil.example", "https://evil.example", "/\\evil.example", "/approvals/../x", "/\r\nx: y"]
)
def test_signing_in_leads_to_pages_of_ours_only(serving: Serving, after: str) -> None:
    answer = httpx.post(f"{serving.url}/sign-in", data={"token": ALICE, "next": after})
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/s/")
    assert answer.headers["location"].endswith("/")
    assert answer.headers["location"].count("/") == 3


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_do_nothing(serving: Serving, method: str) -> None:
    answer = httpx.request(method, f"{serving.url}/")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, POST")


def test_looking_decides_nothing(serving: Serving, desk: Desk) -> None:
    desk.excuse("404")
    record = serving.ask(asked())
    page = desk.sign_in(ALICE)
    for what in ("approve", "deny", "revoke", "resolve"):
        page.goto(f"{page.url.partition('/approvals/')[0].rstrip('/')}/approvals/{record.id}/{what}")
        expect(page.get_by_role("heading", name="There is nothing here")).to_be_visible()
    assert serving.find(record.id).state == "pending"


def test_an_answer_to_something_else_than_what_was_shown_is_refused(serving: Serving, desk: Desk) -> None:
    desk.excuse("409")
    record = serving.ask(asked())
    page = desk.sign_in(ALICE, f"/approvals/{record.id}")
    page.evaluate("document.querySelector('[name=shown]').value = 'f'.repeat(64)")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("alert")).to_contain_text("what was shown to you is not what this approval is about")
    assert serving.find(record.id).state == "pending"


def test_forms_that_are_none_of_ours_are_refused(serving: Serving, desk: Desk) -> None:
    record = serving.ask(asked())
    page = desk.sign_in(ALICE, f"/approvals/{record.id}")
    base, headers = page.url.partition("/approvals/")[0], session_of(page, desk)
    target, csrf = f"{base}/approvals/{record.id}", csrf_of(page)
    form = {**headers, "content-type": "application/x-www-form-urlencoded"}
    with httpx.Client() as client:
        for body, kind in [
            (b"csrf=a&csrf=b", form),
            (b"csrf=%ff", form),
            ("csrf=é".encode(), form),
            (b"&".join([b"a%d=1" % at for at in range(30)]), form),
            (b'{"csrf": "x"}', {**headers, "content-type": "application/json"}),
        ]:
            answer = client.post(f"{target}/approve", content=body, headers=kind)
            assert answer.status_code == 400, body
            assert "Nothing was decided" in answer.text
        for what in ("approve", "deny", "resolve"):
            answer = client.post(f"{target}/{what}", data={"csrf": csrf}, headers=headers)
            assert answer.status_code == 400, what
        answer = client.post(f"{target}/resolve", data={"csrf": csrf, "outcome": "maybe"}, headers=headers)
        assert answer.status_code == 400
        answer = client.post(f"{target}/approve", content=b"a" * 70_000, headers=form)
        assert answer.status_code == 413
    assert serving.find(record.id).state == "pending"
