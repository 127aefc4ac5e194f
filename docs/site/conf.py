"""The documentation as a site: `make docs` builds it into `build/site`.

Sources are the Markdown files where they are, and the site has the layout of the repository: a link that leads
somewhere on a git host's page leads there on the site too. Nothing is loaded from another host.
"""

from __future__ import annotations

import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))

from navigation import PAGES, contents  # noqa: E402 - beside this file

project = "intercept-sidecar"
release = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
language = "en"
root_doc = "docs/index"
nitpicky = True

include_patterns = ["*.md", "docs/*.md", "docs/runbooks/*.md"]
# Not even looked into: environments and caches have Markdown files by the thousand.
exclude_patterns = [path.name for path in ROOT.iterdir() if path.is_dir() and path.name != "docs"]

extensions = ["myst_parser"]
myst_heading_anchors = 6
myst_heading_slug_func = "github"
smartquotes = False  # two hyphens begin an option

html_theme = "furo"
html_title = f"intercept-sidecar {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
# Its files lie beside all folders: the address of the whole leads to the front page, and hosts show 404.html.
html_extra_path = ["root"]
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_domain_indices = False
html_use_index = False


def _add_contents(app: Any, docname: str, source: list[str]) -> None:
    """Say what follows a page. It stands here and not in the page, where a git host would show it as text."""
    if docname in PAGES:
        source[0] += "\n" + contents(docname)


def _copy_pictures(app: Any, problem: Exception | None) -> None:
    """Pages name pictures in HTML too, one for light and one for dark; Sphinx copies those of Markdown alone."""
    if problem is None:
        shutil.copytree(ROOT / "docs" / "images", Path(app.outdir) / "docs" / "images", dirs_exist_ok=True)


def setup(app: Any) -> None:
    app.connect("source-read", _add_contents)
    app.connect("build-finished", _copy_pictures)
