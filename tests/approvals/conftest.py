"""Fixtures of the tests of approvals."""

from __future__ import annotations

from tests.approvals.kept import place

__all__ = ["place"]
