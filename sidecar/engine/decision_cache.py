"""Answers of the engine, kept for questions that are the very same bytes. It decides nothing: every answer was OPA's.

An answer may be kept because the question holds all that the policy reads (`decision.project`): no clock, no counter.
"""

from __future__ import annotations

from typing import Final

import msgspec

from sidecar.decision.decision import Answer
from sidecar.system.lru import Recent

MAX_BYTES: Final = 8 << 20
MAX_QUESTION: Final = 8 << 10
"""Bytes of a question above which its answer is not worth the room; also bounds what one caller can push out."""
_OVERHEAD: Final = 600
"""Bytes that an answer takes beside its question, estimated."""


class Memory:
    """A bounded map from question to answer."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._answers: Recent[Answer] = Recent(max_bytes, _OVERHEAD)
        self.recall = self._answers.get
        """The answer to this very question, marked as remembered, or None."""
        self.forget = self._answers.clear
        """Forget everything."""

    def keep(self, question: bytes, answer: Answer) -> None:
        """Keep an answer of the engine."""
        if len(question) <= MAX_QUESTION:
            self._answers.keep(question, msgspec.structs.replace(answer, remembered=True))
