"""`make help`: every verb of the Makefile with what it does, in lines that fit a terminal of 80 columns."""

from __future__ import annotations

import re
import subprocess
from typing import Final

from tests.support import ROOT

VERBS: Final = re.findall(r"^([a-z0-9-]+):.*## (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)


def test_the_help_has_every_verb_and_no_line_wider_than_80_columns() -> None:
    done = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, encoding="utf-8", check=True,
        timeout=60,
    )  # fmt: skip
    wide = [line for line in done.stdout.splitlines() if len(line) > 80]
    assert wide == []
    assert len(VERBS) > 40
    assert done.stdout.split() == [word for verb, does in VERBS for word in ("make", verb, *does.split())]
