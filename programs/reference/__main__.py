"""`make reference`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from programs.reference.commands import commands
from programs.reference.page import page

PAGE: Final = Path(__file__).parents[2] / "docs" / "command-line.md"

if __name__ == "__main__":
    PAGE.write_text(page(commands()), encoding="utf-8")
