"""Runs the demo and writes what it shows to `docs/images`, for a light page and a dark one."""

from __future__ import annotations

import functools
import io
import sys

from programs.checkout import ROOT
from programs.demo.__main__ import POLICY, STDIO, session
from programs.demo.running import run
from programs.demo.terminal import Paint, Screen
from programs.demo_picture.drawing import THEMES, draw, essential


def main() -> int:
    """Play and draw. A demo that did not go as it must is shown instead; the exit status is its."""
    written = io.StringIO()
    screen = Screen(written, Paint(on=True))
    status = run(screen, functools.partial(session, STDIO, POLICY, screen))
    if status:
        print(written.getvalue())
        return status
    lines = essential(written.getvalue())
    for name, theme in THEMES.items():
        path = ROOT / "docs" / "images" / name
        path.write_text(draw(lines, theme), encoding="utf-8")
        print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
