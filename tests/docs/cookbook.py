"""The recipes of docs/cookbook.md, taken out of the document."""

from __future__ import annotations

import re
from typing import Final

from tests.support import ROOT

TEXT: Final = (ROOT / "docs" / "cookbook.md").read_text(encoding="utf-8")
SECTIONS: Final = dict(section.split("\n", 1) for section in TEXT.split("\n## ")[1:])
"""The text below each heading."""
RECIPES: Final = {name: re.findall(r"^```yaml\n(.*?)^```$", text, re.M | re.S)[0] for name, text in SECTIONS.items()}
"""The policy of each recipe."""
