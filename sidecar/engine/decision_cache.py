"""The decision cache: answers of the engine, kept for questions that are the very same bytes.

It decides nothing: every answer was OPA's. An answer may be kept because the question holds all that the policy reads
(`decision/arguments.Projection`): no clock, no counter.
"""

from __future__ import annotations

from typing import Final

import msgspec

from sidecar.decision.decision import Answer
from sidecar.system.lru import LRU

MAX_BYTES: Final = 8 << 20
MAX_QUESTION: Final = 8 << 10
"""Bytes of a question above which its answer is not cached; this also bounds what one caller can push out."""
_OVERHEAD: Final = 600
"""Bytes that an answer takes beside its question, estimated."""


class DecisionCache(LRU[Answer]):
    """A bounded map from question to answer, which it marks as recalled."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        super().__init__(max_bytes, _OVERHEAD)

    def keep(self, key: bytes, value: Answer) -> None:
        """Keep an answer of the engine, unless its question is too long."""
        if len(key) <= MAX_QUESTION:
            super().keep(key, msgspec.structs.replace(value, remembered=True, recalled=True))
