"""What one person has open: tabs of one browser profile, and what they complained of."""

from __future__ import annotations

import re
from typing import Any, Final

from playwright.sync_api import Browser, ConsoleMessage, Page, expect

PATIENT: Final = 15_000
"""Milliseconds until a condition must hold."""

expect.set_options(timeout=PATIENT)

_TELL_VIOLATIONS: Final = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.effectiveDirective} ${event.blockedURI} ${event.sample}`));
"""


class Desk:
    """A browser profile. `complaints` are errors on the console, in scripts, and reports of the security policy."""

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        self.url = url
        self.complaints: list[str] = []
        usual: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", "timezone_id": "UTC"}
        self.context = browser.new_context(**{**usual, **options})
        self.context.set_default_timeout(PATIENT)
        self.context.add_init_script(_TELL_VIOLATIONS)
        self._excused: list[re.Pattern[str]] = []

    def tab(self, path: str = "/") -> Page:
        """A new tab on a path."""
        page = self.context.new_page()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(path if "://" in path else self.url + path)
        return page

    def sign_in(self, token: str, path: str = "/") -> Page:
        """A new tab of somebody who signed in there."""
        page = self.tab(path)
        page.get_by_label("Your token").fill(token)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("button", name="Sign out")).to_be_visible()
        return page

    def excuse(self, pattern: str) -> None:
        """A complaint that belongs to the test."""
        self._excused.append(re.compile(pattern))

    def close(self) -> None:
        """Close all tabs."""
        self.context.close()

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(one.search(message.text) for one in self._excused):
            self.complaints.append(message.text)
