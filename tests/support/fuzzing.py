"""How often a property is tried: a little in every run of the tests, many times as often in `make fuzz`."""

from __future__ import annotations

import os
from typing import Final

import hypothesis

TIMES: Final = int(os.environ.get("FUZZ_TIMES", "1"))
"""How many times as many examples as usual."""


def examples(count: int) -> hypothesis.settings:
    """Settings of a property that is tried with `count` examples, and with more in `make fuzz`."""
    return hypothesis.settings(
        max_examples=count * TIMES,
        deadline=None,
        suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large],
    )
