"""A terminal's text as an SVG: which lines of the demo are worth a picture, and how they look. Text in, text out."""

from __future__ import annotations

import io
import re
from typing import Final

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

TITLE: Final = "make demo"


def _rgb(value: int) -> tuple[int, int, int]:
    red, green, blue = value.to_bytes(3, "big")
    return red, green, blue


def _theme(ground: int, text: int, *, red: int, green: int, yellow: int, cyan: int) -> TerminalTheme:
    """A theme for the colours that the demo uses, each as 0xRRGGBB; the others of a terminal are as text."""
    return TerminalTheme(
        _rgb(ground), _rgb(text), [_rgb(colour) for colour in (text, red, green, yellow, text, text, cyan, text)]
    )


THEMES: Final = {
    "demo.svg": _theme(0xFFFFFF, 0x1F2328, red=0xCF222E, green=0x1A7F37, yellow=0x9A6700, cyan=0x0550AE),
    "demo-dark.svg": _theme(0x0D1117, 0xE6EDF3, red=0xFF7B72, green=0x3FB950, yellow=0xD29922, cyan=0x79C0FF),
}
"""The pictures, and the colours of each: all have a contrast of at least 4.5 on their ground."""

# As rich's own, with the fonts that are there instead of one to download.
_FORMAT: Final = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img">
<title>A terminal: what make demo shows</title>
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace;
  font-size: {char_height}px;
  line-height: {line_height}px;
  white-space: pre;
}}
.{unique_id}-title {{ font-size: 16px; font-family: system-ui, sans-serif; }}
svg > rect {{ stroke: #8c959f; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def essential(output: str) -> list[Text]:
    """What is worth a picture of all that the demo wrote: its command and the calls until the day's limit is used up.

    What is different at each run is left out or always the same. Raises `ValueError` if there is no such part.
    """
    # The time until midnight.
    output = re.sub(r"Try again in \d+ s\.", "Try again in 21600 s.", output)
    lines = list(Text.from_ansi(output).split("\n", allow_blank=True))
    begin = next((at for at, line in enumerate(lines) if line.plain.startswith("$ ")), None)
    end = next((at for at, line in enumerate(lines) if line.plain.startswith("allowed  cancel_order")), None)
    if begin is None or end is None:
        raise ValueError("the demo did not show its command, and an order that was cancelled")
    kept = [line for line in lines[begin:end] if not line.plain.startswith("ready after")]
    while not kept[-1].plain:
        kept.pop()
    return kept


def draw(lines: list[Text], theme: TerminalTheme) -> str:
    """The picture of a terminal that is as wide as the longest line. The same lines give the same picture."""
    width = max(line.cell_len for line in lines)
    console = Console(width=width, file=io.StringIO(), record=True, force_terminal=True, color_system="truecolor")
    for line in lines:
        console.print(line, no_wrap=True)
    return console.export_svg(title=TITLE, theme=theme, code_format=_FORMAT, unique_id="demo")
