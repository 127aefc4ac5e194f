"""The order of the pages on the site: who uses the sidecar first, who maintains it last.

A page is written from the folder of the page that it follows, without `.md`; a title where its heading is too long
for the side.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

_RUNBOOKS: Final = tuple(sorted(path.stem for path in (Path(__file__).parents[1] / "runbooks").glob("Mcp*.md")))

PAGES: Final = {
    "docs/index": {
        "Start": (
            "In short <../README>",
            "Install and first refusal <start>",
            "Tutorial <tutorial>",
            "Coming from Intercept <migrate>",
            "faq",
            "glossary",
        ),
        "Policies": ("policy", "cookbook", "risk-classes", "custom-rego", "policy-repo"),
        "Approvals": ("Ask a person <approvals>", "webhook"),
        "Running it": (
            "command-line",
            "http",
            "kubernetes",
            "observability",
            "metrics",
            "audit",
            "log",
            "tracing",
            "runbooks/README",
            "troubleshooting",
        ),
        "Security": ("Promises and threats <../SECURITY>", "OWASP, row by row <conformance>"),
        "For maintainers": (
            "architecture",
            "decisions",
            "performance",
            "Releases <release>",
            "../CONTRIBUTING",
            "../CHANGELOG",
        ),
    },
    "docs/policy-repo": {"": ("policy-tests", "policy-diff", "try-a-policy", "recording", "policy-sources")},
    "docs/runbooks/README": {"": _RUNBOOKS},
}
"""What follows a page, by the caption under which it stands."""


def contents(page: str) -> str:
    """What follows `page`, as MyST reads it; shown at the side alone."""
    return "\n".join(_tree(caption, pages) for caption, pages in PAGES[page].items())


def _tree(caption: str, pages: tuple[str, ...]) -> str:
    named = f":caption: {caption}\n" if caption else ""
    return "```{toctree}\n:hidden:\n" + named + "\n" + "\n".join(pages) + "\n```\n"
