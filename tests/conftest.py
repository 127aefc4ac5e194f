"""Fixtures that tests in several folders use."""

from __future__ import annotations

from tests.support.redis_server import redis_server

__all__ = ["redis_server"]
