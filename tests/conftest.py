"""Fixtures that tests in several folders use, and how properties are tried: by what holds, never by the clock."""

from __future__ import annotations

import hypothesis

from tests.support.redis_server import redis_server

__all__ = ["redis_server"]

hypothesis.settings.register_profile("project", deadline=None)
hypothesis.settings.load_profile("project")
