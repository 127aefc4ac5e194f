"""Everything from outside is text: it is shown, it does nothing, and none of it is left out."""

from __future__ import annotations

import json
import time

import pytest
from playwright.sync_api import Browser, Page, expect

from sidecar.ledger.approvals import MAX_BRIEF
from tests.browser.calls import asked, order
from tests.browser.desk import Desk
from tests.browser.serving import ALICE, Serving

pytestmark = pytest.mark.slow

HTML = """"><img src=x onerror="window.hit=1"><script>window.hit=1</script><svg onload=window.hit=1>{{7*7}}<!--'"""
TURNED = "USDT\u202eTDSU-LOS\u202c"
ESCAPES = "\x1b[2J\x1b]0;owned\x07 ok\r\n\ttail"
INVISIBLE = "a\u200bb\u00adc\ufeffd\u2028e\U000e0041f\u3164"
STACKED = "Z" + "\u0300" * 60
HOSTILE = (HTML, TURNED, ESCAPES, INVISIBLE, STACKED)


def harmless(page: Page) -> None:
    """Nothing of it ran or became an element."""
    assert page.evaluate("window.hit") is None
    assert page.locator("main img, main script, main iframe").count() == 0


@pytest.mark.parametrize("width", [360, 1280])
def test_hostile_texts_are_shown_as_text_everywhere(serving: Serving, browser: Browser, width: int) -> None:
    desk = Desk(browser, serving.url, viewport={"width": width, "height": 800})
    arguments = {f"key {number}": text for number, text in enumerate(HOSTILE)} | {
        text: number for number, text in enumerate(HOSTILE)
    }
    for number, text in enumerate(HOSTILE):
        serving.ask(
            order(
                time.time(),
                json.dumps({**arguments, "number": number}, ensure_ascii=number % 2 == 0),
                rule=text,
                reason=text,
                file=text,
                asker=text,
                issuer=text,
                client=text,
                session=text,
                risk_class=text,
                severity=text,
                masked=(),
                limits=(text, text),
                holder=f"session {number}",
            )
        )
        serving.ask(asked(text, json.dumps(arguments), server=text, holder=text))
    page = desk.sign_in(ALICE)
    expect(page.locator(".card")).to_have_count(2 * len(HOSTILE))
    harmless(page)
    fits(page)
    paths = page.locator(".card h3 a").evaluate_all("links => links.map(link => link.href)")
    for path in paths:
        page.goto(path)
        harmless(page)
        fits(page)
        expect(page.locator(".values").first).to_contain_text("<script>window.hit=1</script>")
        signs = page.locator(".values").first.locator(".sign").all_text_contents()
        assert {
            "U+202E",
            "U+202C",
            "U+001B",
            "U+0007",
            "CR",
            "↵",
            "TAB",
            "U+200B",
            "U+00AD",
            "U+FEFF",
            "U+2028",
            "U+E0041",
            "U+3164",
        } <= set(signs)
        text = page.locator("main").inner_text()
        assert not {"\u202e", "\x1b", "\u200b", "\u2028"} & set(text)
        assert "49" not in page.locator(".values").first.inner_text()
    page.get_by_label("Reason").fill(HTML)
    page.get_by_role("button", name="Deny").click()
    expect(page.locator("#live .now")).to_have_text("Denied")
    expect(page.locator(".said .why")).to_contain_text("<script>")
    harmless(page)
    page.get_by_role("link", name="History").click()
    expect(page.locator(".card")).to_have_count(2 * len(HOSTILE))
    page.get_by_label("Text").fill(HTML)
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_label("Text")).to_have_value(HTML)
    harmless(page)
    fits(page)
    assert desk.complaints == []
    desk.close()


def fits(page: Page) -> None:
    """Nobody has to scroll sideways."""
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_a_text_cannot_look_like_a_sign_of_ours(serving: Serving, desk: Desk) -> None:
    record = serving.ask(asked(arguments=json.dumps({"a": '<span class="sign">U+202E</span>', "b": "U+202E \\u202e"})))
    page = desk.sign_in(ALICE, f"/approvals/{record.id}")
    expect(page.locator(".values")).to_contain_text('<span class="sign">U+202E</span>')
    expect(page.locator(".values .sign")).to_have_count(0)


def test_a_megabyte_is_folded_and_whole(serving: Serving, desk: Desk) -> None:
    long = "".join(f"{number}: Ж <b>ж</b> " for number in range(1_000_000 // 16))[:1_000_000] + "\u202e the end"
    assert len(long) == 1_000_009
    record = serving.ask(asked("write_file", json.dumps({"path": "/tmp/x", "content": long}, ensure_ascii=False)))
    page = desk.sign_in(ALICE)
    expect(page.locator(".card")).to_contain_text(f"more than {MAX_BRIEF:,} characters of arguments")
    page.goto(f"{page.url}approvals/{record.id}")
    expect(page.get_by_text("show all 1,000,009 characters")).to_be_visible()
    whole = page.get_by_role("group", name="The whole value")
    expect(whole).to_be_hidden()
    page.get_by_text("show all 1,000,009 characters").click()
    expect(whole).to_be_visible()
    text = whole.evaluate("element => element.textContent")
    assert text == long.replace("\u202e", "U+202E")
    fits(page)
    page.get_by_text("The raw JSON").click()
    raw = page.get_by_role("group", name="Arguments as JSON").evaluate("element => element.textContent")
    assert json.loads(raw) == {"path": "/tmp/x", "content": long}
    page.get_by_role("button", name="Deny").click()
    expect(page.locator("#live .now")).to_have_text("Denied")


def test_a_text_with_more_signs_than_a_browser_can_draw_is_whole(serving: Serving, desk: Desk) -> None:
    long = "a\u202e" * 400_000
    record = serving.ask(asked("write_file", json.dumps({"content": long}, ensure_ascii=False)))
    page = desk.sign_in(ALICE, f"/approvals/{record.id}")
    page.get_by_text("show all 800,000 characters").click()
    whole = page.get_by_role("group", name="The whole value").evaluate("element => element.textContent")
    assert whole == "written as in JSON" + "a\\u202e" * 400_000


def test_many_values_are_folded_and_whole(serving: Serving, desk: Desk) -> None:
    record = serving.ask(asked("bulk", json.dumps({"orders": [{"id": number, "sz": "1"} for number in range(1500)]})))
    page = desk.sign_in(ALICE, f"/approvals/{record.id}")
    expect(page.get_by_text("2,960 more values")).to_be_visible()
    page.get_by_text("2,960 more values").click()
    expect(page.get_by_role("row", name="orders[1499].id")).to_be_visible()
    assert page.locator(".values tbody tr").count() == 3000


def test_numbers_stand_as_they_were_written(serving: Serving, desk: Desk) -> None:
    arguments = (
        '{"a":1.10,"b":1e400,"c":123456789012345678901234567890,"d":-0.0,"e":0.1000000000000000055511151231257827}'
    )
    record = serving.ask(asked(arguments=arguments))
    page = desk.sign_in(ALICE, f"/approvals/{record.id}")
    cells = page.locator(".values td").all_inner_texts()
    assert cells == ["1.10", "1e400", "123456789012345678901234567890", "-0.0", "0.1000000000000000055511151231257827"]
    page.get_by_text("The raw JSON").click()
    expect(page.get_by_role("group", name="Arguments as JSON")).to_have_text(arguments)
    with page.expect_download() as saved:
        page.get_by_role("link", name="Save as a file").click()
    assert saved.value.suggested_filename == f"{record.id}.json"
    assert saved.value.path().read_text(encoding="utf-8") == arguments


def test_what_is_masked_is_named_and_not_shown(serving: Serving, desk: Desk) -> None:
    record = serving.ask(
        asked(
            arguments='{"key":"[masked]","note":"[masked]","list":[{"key":"[masked]"}]}',
            masked=("args.key", "args.list[*].key"),
        )
    )
    page = desk.sign_in(ALICE, f"/approvals/{record.id}")
    assert page.locator(".values td").all_inner_texts() == ["hidden by the policy", "[masked]", "hidden by the policy"]
    expect(page.locator("main")).to_contain_text("The policy hides the values of args.key, args.list[*].key")


def test_a_call_without_arguments_says_so(serving: Serving, desk: Desk) -> None:
    record = serving.ask(asked("close_all", "{}", other='{"task":{"ttl":60000}}'))
    page = desk.sign_in(ALICE, f"/approvals/{record.id}")
    expect(page.get_by_text("The call has no arguments.")).to_be_visible()
    expect(page.get_by_role("row", name="task.ttl")).to_contain_text("60000")
