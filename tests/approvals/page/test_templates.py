"""What every template keeps: nothing inline, nothing from elsewhere, and no text that counts as HTML."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError

import sidecar.approvals.page
from sidecar.approvals.page.templates import Templates

HERE = Path(sidecar.approvals.page.__file__).parent
FILES = sorted((HERE / "templates").glob("*.html"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_template_has_nothing_that_the_policy_of_the_page_would_block(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert not re.search(r"\sstyle\s*=|\son\w+\s*=|<style|javascript:|<script>|<base|<iframe", text)
    assert not re.search(r"https?:", text)
    # Autoescape is what keeps texts from outside texts.
    assert not re.search(r"\|\s*safe|autoescape|Markup", text)


def test_the_script_makes_no_html_of_texts() -> None:
    script = (HERE / "static" / "page.js").read_text(encoding="utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(|https?:", script)


def test_what_a_template_does_not_get_is_a_mistake_and_not_a_blank() -> None:
    with pytest.raises(UndefinedError):
        Templates().render("error", title="x")


def test_what_a_template_gets_is_text() -> None:
    values = {"base": "", "csrf": "", "name": "", "now": "", "here": ""}
    html = Templates().render("error", title="<b>\"'", explanation="<i>\u202e", **values).decode()
    assert "&lt;b&gt;&#34;&#39;" in html
    assert "&lt;i&gt;<span" in html
    assert "\u202e" not in html


def test_an_asset_is_named_by_its_content() -> None:
    templates = Templates()
    assert len(templates.assets) == 3
    for path, asset in templates.assets.items():
        assert re.fullmatch(r"/static/[0-9a-f]{12}/(page\.css|page\.js|icon\.svg)", path)
        assert asset.body
