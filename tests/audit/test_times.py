"""The time of a line is kept for a millisecond: each line has its own all the same, even where clocks jump."""

from __future__ import annotations

import io
import json
import math
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.audit.records import Audit
from sidecar.audit.stamp import stamp
from sidecar.audit.trail import Trail
from sidecar.mcp.tool_call import Outcome
from tests.audit.test_lines import settled
from tests.observe.decided import tell
from tests.support.fuzzing import examples

NOW = 1_764_500_000
# Few milliseconds, before and after a second ends, and the floats right beside each of them.
MOMENTS = st.tuples(st.integers(NOW * 1000 - 3, NOW * 1000 + 3), st.sampled_from((-1, 0, 1, 0.5)))


def seconds(moment: tuple[int, float]) -> float:
    millisecond, part = moment
    if part in (-1, 1):
        return math.nextafter(millisecond / 1000, part * math.inf)
    return (millisecond + part) / 1000


@pytest.mark.fuzz
@examples(100)
@given(st.lists(MOMENTS, min_size=1, max_size=20))
def test_every_line_says_the_millisecond_in_which_it_happened(moments: list[tuple[int, float]]) -> None:
    stream, times = io.BytesIO(), [seconds(moment) for moment in moments]
    audit = Audit(Trail(stream), b"k" * 32, "abcd1234")
    with mock.patch("sidecar.audit.records.time", side_effect=times):
        for _ in times:
            tell(audit, settled(Outcome.SUCCEEDED))
    assert [json.loads(line)["time"] for line in stream.getvalue().splitlines()] == [stamp(one) for one in times]
