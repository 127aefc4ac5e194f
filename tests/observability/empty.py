"""Queries that rightly find nothing after the script, and why. All others have to have data."""

from __future__ import annotations

from typing import Final

QUERIES: Final[dict[str, str]] = {}
"""By where they stand, or the beginning of it: `dashboard: panel`. The script brings about something for each."""
