"""The picture of the demo: what it says is what the demo says now, and it asks nobody for anything."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.terminal_theme import TerminalTheme

from programs.demo_picture.drawing import THEMES, draw, essential
from tests.support import ROOT

SVG = "{http://www.w3.org/2000/svg}"
PICTURES = pytest.mark.parametrize("picture", [ROOT / "docs" / "images" / name for name in THEMES], ids=list(THEMES))
OUTPUT = """\
Words.

\x1b[2m$\x1b[0m \x1b[1msidecar run\x1b[0m
ready after 3.1 s; the agent sees 11 tools

\x1b[33mrefused\x1b[0m  place_order  <one> & "two"
  the agent reads:
    Try again in 12 s.

allowed  cancel_order     order 1
"""


def lines_of(svg: str) -> list[str]:
    """The lines of text in a picture. Each of its texts says in which line it is, and where that is cut off."""
    rows: dict[int, str] = defaultdict(str)
    for text in ElementTree.fromstring(svg).iter(f"{SVG}text"):
        if (line := re.search(r"line-(\d+)\)", text.get("clip-path", ""))) and text.text:
            width = float(text.attrib["textLength"]) / len(text.text)
            column = round(float(text.attrib["x"]) / width)
            rows[int(line[1])] = rows[int(line[1])].ljust(column) + text.text.replace("\xa0", " ")
    return [rows[row].rstrip() for row in range(max(rows) + 1)]


def test_a_picture_has_the_command_and_the_calls_and_nothing_that_differs_each_time() -> None:
    assert [line.plain for line in essential(OUTPUT)] == [
        "$ sidecar run",
        "",
        'refused  place_order  <one> & "two"',
        "  the agent reads:",
        "    Try again in 21600 s.",
    ]


def test_output_without_these_parts_makes_no_picture() -> None:
    with pytest.raises(ValueError, match="the demo did not show its command"):
        essential("Not as it must be:\n")


@pytest.mark.parametrize("theme", THEMES.values(), ids=list(THEMES))
def test_a_picture_says_what_the_terminal_said(theme: TerminalTheme) -> None:
    lines = essential(OUTPUT)
    assert lines_of(draw(lines, theme)) == [line.plain for line in lines]


@PICTURES
def test_a_picture_asks_nobody_for_anything(picture: Path) -> None:
    svg = picture.read_text(encoding="utf-8")
    assert re.findall(r"\w+://[^\"' ]+", svg) == ["http://www.w3.org/2000/svg"]
    assert "@import" not in svg
    assert set(re.findall(r"url\((.)", svg)) == {"#"}


@pytest.mark.slow
def test_the_pictures_say_what_the_demo_says_now() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "programs.demo"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=110
    )
    assert done.returncode == 0, done.stdout
    now = [line.plain for line in essential(done.stdout)]
    for name in THEMES:
        svg = (ROOT / "docs" / "images" / name).read_text(encoding="utf-8")
        assert lines_of(svg) == now, f"docs/images/{name} is out of date: make demo-picture"
