"""What admission answers besides a principal: a refused request, a rejected token, and nothing yet."""

from __future__ import annotations

import enum
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """The answer to a request that is not admitted; `text` may be shown to anyone. Policy never answers like this."""

    status: int
    text: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Rejected:
    """A token that proves nothing. `reason` is one of our own sentences: nothing of the token stands in it."""

    reason: str


NO_KEYS = Rejected("the keys to verify tokens by cannot be had")
"""Not the token's fault: nobody can tell what it proves."""


class NotYet(enum.Enum):
    """The answer has to be waited for."""

    NOT_YET = enum.auto()
