"""The answers of authentication besides a principal: a refused request, a rejected token, and nothing yet."""

from __future__ import annotations

import enum
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """The HTTP answer to a request that is not admitted; `text` may be shown to anyone. Policy never answers so.

    `reason` says in a word what was wrong: `host`, `origin`, `credentials`, or `keys` where they cannot be checked.
    """

    status: int
    text: str
    headers: tuple[tuple[str, str], ...] = ()
    reason: str = "credentials"


@dataclass(frozen=True, slots=True)
class Rejected:
    """A token that is not accepted. `reason` is a sentence of ours and holds nothing of the token."""

    reason: str


NO_KEYS = Rejected("the keys to verify tokens by cannot be had")
"""The token may be good: there are no keys to tell by."""


class NotYet(enum.Enum):
    """The answer has to be waited for."""

    NOT_YET = enum.auto()
