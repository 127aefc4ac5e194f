"""Takes the pictures: `python -m programs.screenshots` writes `docs/images/approvals-*.png`."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from shutil import which
from typing import Any, Final

from PIL import Image
from playwright.sync_api import Browser, expect, sync_playwright

from sidecar.ledger.approvals import Record
from tests.browser.calls import asked, order, takes
from tests.browser.desk import Desk
from tests.browser.serving import ALICE, Serving
from tests.support import ROOT

FOLDER: Final = ROOT / "docs" / "images"
SIZES: Final[dict[str, dict[str, Any]]] = {
    "desktop": {"viewport": {"width": 1280, "height": 800}},
    "phone": {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True},
}
COLOURS: Final = 128
"""Colours of a picture: as many as the page has, with the edges of its letters."""


def main() -> None:
    """Write every picture."""
    path = which("chromium")
    if path is None:
        raise SystemExit("this needs chromium: make chromium")
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for size in SIZES:
            for scheme in ("light", "dark"):
                with _a_busy_morning() as (serving, record):
                    _take(browser, serving, record, size, scheme)
        browser.close()


@contextmanager
def _a_busy_morning() -> Iterator[tuple[Serving, Record]]:
    """A listener with calls that wait, and the one that is looked at."""
    with tempfile.TemporaryDirectory() as folder:
        serving = Serving(Path(folder))
        serving.behind = 740.0
        serving.lost(asked("close_positions", '{"instId":"ETH-USDT-SWAP","mgnMode":"cross"}', line=33))
        serving.ask(asked(timeout=900, asker="desk-agent@example.com"))
        serving.behind = 400.0
        serving.takes(takes("okx/place_order.usd", 6200, 10000), takes("okx/place_order.count", 7, 20, 3600))
        now = time.time()
        record = serving.ask(order(now, asker="desk-agent@example.com", issuer="https://login.example.com"))
        serving.behind = 0.0
        try:
            yield serving, record
        finally:
            serving.close()


def _take(browser: Browser, serving: Serving, record: Record, size: str, scheme: str) -> None:
    desk = Desk(browser, serving.url, color_scheme=scheme, reduced_motion="reduce", **SIZES[size])
    page = desk.sign_in(ALICE)
    expect(page.locator(".card")).to_have_count(3)
    _save(page.screenshot(), f"approvals-waiting-{size}-{scheme}")
    page.goto(f"{page.url}approvals/{record.id}")
    expect(page.get_by_role("button", name="Approve")).to_be_visible()
    _save(page.screenshot(), f"approvals-call-{size}-{scheme}")
    page.get_by_role("radio", name="Calls like this").check()
    page.get_by_label("Reason").scroll_into_view_if_needed()
    page.mouse.wheel(0, 4000)
    page.evaluate("document.activeElement.blur()")
    _save(page.screenshot(), f"approvals-answer-{size}-{scheme}")
    desk.close()


def _save(picture: bytes, name: str) -> None:
    """Write a picture with few colours: flat areas and letters look the same, at a fraction of the bytes."""
    image = Image.open(BytesIO(picture)).convert("RGB")
    image.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        FOLDER / f"{name}.png", optimize=True
    )


main()
