"""Answers of the engine, kept for questions that are the very same bytes. It decides nothing: every answer was OPA's.

An answer may be kept because the question holds all that the policy reads (`decision.project`): no clock, no counter.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import msgspec

from sidecar.decision import Answer

MAX_BYTES: Final = 8 << 20
MAX_QUESTION: Final = 8 << 10
"""Bytes of a question above which its answer is not worth the room; also bounds what one caller can push out."""
_OVERHEAD: Final = 600
"""Bytes that an answer takes beside its question, estimated."""


class Memory:
    """A bounded map from question to answer, the least recently used forgotten first."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._answers: OrderedDict[bytes, Answer] = OrderedDict()
        self._bytes = 0
        self._max_bytes = max_bytes

    def recall(self, question: bytes) -> Answer | None:
        """The answer to this very question, marked as remembered."""
        answer = self._answers.get(question)
        if answer is not None:
            self._answers.move_to_end(question)
        return answer

    def keep(self, question: bytes, answer: Answer) -> None:
        """Keep an answer of the engine."""
        if len(question) > MAX_QUESTION or question in self._answers:
            return
        self._answers[question] = msgspec.structs.replace(answer, remembered=True)
        self._bytes += len(question) + _OVERHEAD
        while self._bytes > self._max_bytes:
            forgotten, _ = self._answers.popitem(last=False)
            self._bytes -= len(forgotten) + _OVERHEAD

    def forget(self) -> None:
        """Forget everything."""
        self._answers.clear()
        self._bytes = 0
