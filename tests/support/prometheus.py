"""Prometheus' programs: Debian's of the line 2, and those of the line 3 that are built here."""

from __future__ import annotations

from pathlib import Path
from typing import Final

PROMTOOLS: Final = (Path("/usr/bin/promtool"),)
"""The testers of rules of both lines."""
