"""Prometheus' programs, as `make prometheus` installs and builds them: Debian's of the line 2, and one of the line 3."""

from __future__ import annotations

from pathlib import Path
from typing import Final

PROMTOOLS: Final = (Path("/usr/bin/promtool"),)
"""The testers of rules of both lines."""
