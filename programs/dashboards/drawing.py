"""Dashboards drawn by Grafana's own components in a real browser, from the answers of a real Prometheus."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import Any, Final, Literal

from playwright.sync_api import Browser, Error, Page, Route, ViewportSize, sync_playwright

from programs.dashboards.panels import Json
from programs.dashboards.queries import Span, questions
from programs.dashboards.types import GRAFANA, package
from tests.support.prometheus import Prometheus

Theme = Literal["dark", "light"]
THEMES: Final[tuple[Theme, ...]] = ("dark", "light")
WIDTH: Final = 1560
"""Pixels from the first column to the last."""
LINE: Final = 40
"""Pixels from one line of the grid to the next, at most."""
SECONDS: Final = 60.0


_ADDRESS: Final = "http://dashboards.test/"
_EMPTY: Final = '<!doctype html><html lang="en"><body style="margin: 0"><div id="page"></div></body></html>'
_FONTS: Final = {"Inter-Regular.woff2": "400", "Inter-Medium.woff2": "500"}
"""The weight of each font that Grafana's styles ask for."""
_SIGNS: Final = {
    "info-circle": "M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20Zm0 18a8 8 0 1 1 0-16 8 8 0 0 1 0 16Z"
    "m-1-9h2v6h-2Zm0-4h2v2h-2Z",
    "angle-down": "M17 9.2a1 1 0 0 0-1.4 0L12 12.7 8.5 9.2A1 1 0 0 0 7 10.6l4.2 4.2a1 1 0 0 0 1.5 0"
    "l4.3-4.2a1 1 0 0 0 0-1.4Z",
    "angle-up": "M17 13.4l-4.3-4.2a1 1 0 0 0-1.5 0L7 13.4a1 1 0 0 0 1.5 1.4L12 11.3l3.5 3.5a1 1 0 0 0 1.5-1.4Z",
    "arrow-down": "M17.7 11.3a1 1 0 0 0-1.4 0L13 14.6V5a1 1 0 0 0-2 0v9.6l-3.3-3.3a1 1 0 0 0-1.4 1.4l5 5"
    "a1 1 0 0 0 1.4 0l5-5a1 1 0 0 0 0-1.4Z",
    "arrow-up": "M17.7 11.3l-5-5a1 1 0 0 0-1.4 0l-5 5a1 1 0 0 0 1.4 1.4L11 9.4V19"
    "a1 1 0 0 0 2 0V9.4l3.3 3.3a1 1 0 0 0 1.4-1.4Z",
}  # fmt: skip
"""Paths of the signs that panels show. Grafana's server has the pictures, and its libraries have none."""
_BUNDLED: Final = (
    "--bundle", "--format=iife", '--define:process.env.NODE_ENV="production"', '--define:process.env.I18N=""',
    "--loader:.svg=dataurl", "--loader:.png=dataurl", "--loader:.ttf=dataurl", "--loader:.woff=empty",
    "--loader:.woff2=dataurl", "--jsx=automatic", "--alias:react-custom-scrollbars-2=./draw/scrollbars.cjs",
    "--log-level=warning",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Drawn:
    """A dashboard on the screen: its picture, and of each panel `id`, `title`, `empty`, `links`."""

    picture: bytes
    panels: tuple[Json, ...]
    marks: int


def answers(prometheus: Prometheus, dashboard: Json, span: Span) -> Json:
    """What Prometheus answers to every query of a dashboard: by panel and query, and the annotations' by name."""
    found: Json = {"answers": {}, "marks": {}}
    for question in questions(dashboard, span):
        if question.instant:
            data: Json = {"resultType": "vector", "result": prometheus.query(question.expr, span.end)}
        else:
            series = prometheus.query_range(question.expr, span.start, span.end, span.step)
            data = {"resultType": "matrix", "result": series}
        if question.panel:
            found["answers"].setdefault(question.panel, {})[question.ref] = data
        else:
            found["marks"][question.ref] = data
    return found


class Drawing:
    """Draws dashboards, each on a page of its own."""

    def __init__(self, browser: Browser, bundle: Path) -> None:
        self._browser = browser
        self._bundle = bundle

    def draw(self, dashboard: Json, answered: Mapping[str, Any], span: Span, theme: Theme) -> Drawn:
        """Draw it. Raises RuntimeError where the page complains, or something cannot be drawn."""
        # All of it is in view: a browser leaves out what is not.
        lines = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
        size: ViewportSize = {"width": WIDTH + 100, "height": lines * LINE + 200}
        page = self._browser.new_page(viewport=size, reduced_motion="reduce")
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("response", lambda answer: complaints.append(f"no {answer.url}") if answer.status == 404 else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        try:
            found = self._drawn(page, dashboard, answered, span, theme)
            picture = page.locator("#page > div").screenshot()
        except Error as error:
            complaints.append(error.message)
        finally:
            page.close()
        if complaints:
            raise RuntimeError(f"{dashboard['title']}, {theme}: {'; '.join(complaints)}")
        return Drawn(picture, tuple(found["panels"]), found["marks"])

    def _drawn(self, page: Page, dashboard: Json, answered: Mapping[str, Any], span: Span, theme: Theme) -> Json:
        page.set_default_timeout(SECONDS * 1000)
        page.route("**/*", _serve)
        page.goto(_ADDRESS)
        page.add_style_tag(path=self._bundle.with_suffix(".css"))
        page.add_script_tag(path=self._bundle)
        given = {
            "dashboard": dashboard, **answered, "from": span.start * 1000, "to": span.end * 1000, "step": span.step,
            "theme": theme, "width": WIDTH, "chosen": {"datasource": "Prometheus", "logs": "http://localhost:9428"},
        }  # fmt: skip
        found: Json = page.evaluate("given => window.draw(JSON.parse(given))", json.dumps(given))
        return found


def _serve(route: Route) -> None:
    """What the page and its components ask for; the rest is not there, and nothing is fetched from elsewhere."""
    name = route.request.url.rpartition("/")[2]
    if route.request.url == _ADDRESS:
        route.fulfill(body=_EMPTY, content_type="text/html")
    elif name in _FONTS:
        route.fulfill(path=package("@fontsource/inter") / "files" / f"inter-latin-{_FONTS[name]}-normal.woff2")
    elif sign := _SIGNS.get(name.removesuffix(".svg")):
        picture = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><path d="{sign}"/></svg>'
        route.fulfill(body=picture, content_type="image/svg+xml")
    else:
        route.fulfill(status=404)


@contextmanager
def drawing() -> Iterator[Drawing]:
    """The components put together for a browser, and the browser. Raises FileNotFoundError where a part is missing."""
    chromium = which("chromium")
    if chromium is None:
        raise FileNotFoundError("no chromium: run `make chromium`")
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "page.js"
        # The program itself: its wrapper for Node hides what it says.
        esbuild = next(iter(sorted(package("@esbuild").glob("*/bin/esbuild"))))
        done = subprocess.run(
            [esbuild, "draw/page.jsx", f"--outfile={bundle}", *_BUNDLED],
            cwd=GRAFANA, capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        if done.returncode or done.stderr:
            raise RuntimeError(f"Grafana's components cannot be put together: {done.stderr}")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage", "--force-color-profile=srgb"]
            )
            yield Drawing(browser, bundle)
            browser.close()
