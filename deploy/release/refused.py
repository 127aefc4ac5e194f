"""The one error of releases: something does not hold, so nothing is built, believed or published."""

from __future__ import annotations


class Refused(Exception):
    """The text says what does not hold, by its name, and what to do instead. It holds no secret."""
