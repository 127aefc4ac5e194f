"""What a traceparent says: exactly what the recommendation reads in it, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.mcp.trace_context import TraceContext, trace_of

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{PARENT}-01"

HEX = "0123456789abcdef"
ids = {width: st.text(HEX, min_size=width, max_size=width) for width in (2, 16, 32)}


@pytest.mark.parametrize(("flags", "sampled"), [("01", True), ("00", False), ("02", False), ("03", True), ("ff", True)])
def test_the_lowest_bit_of_the_flags_says_whether_the_sender_records(flags: str, sampled: bool) -> None:
    assert trace_of(f"00-{TRACE}-{PARENT}-{flags}") == TraceContext(TRACE, PARENT, sampled)


@pytest.mark.parametrize("more", ["", "-", "-what-comes-later", "-\u0000"])
def test_of_a_later_version_the_four_known_fields_are_read(more: str) -> None:
    assert trace_of(f"cc-{TRACE}-{PARENT}-01{more}") == TraceContext(TRACE, PARENT, True)


@pytest.mark.parametrize(
    "bad",
    [
        "", "00", f"ff-{TRACE}-{PARENT}-01", f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{'0' * 16}-01",
        GOOD + "-", GOOD + "-more", GOOD + ".", f"cc-{TRACE}-{PARENT}-01.", GOOD.upper(), " " + GOOD, GOOD + " ",
        GOOD + "\n", GOOD.replace("-", "_"), GOOD[:-1], GOOD[1:], f"00-{TRACE}-{PARENT}", GOOD.replace("4bf9", "４bf9"),
        f"00-{TRACE[:-1]}g-{PARENT}-01", None, 7, ["00"], {"traceparent": GOOD}, True, GOOD.encode(),
    ],
)  # fmt: skip
def test_what_has_not_exactly_the_form_says_nothing(bad: Any) -> None:
    assert trace_of(bad) is None


@given(ids[2], ids[32], ids[16], ids[2])
@example("00", "0" * 32, "1" * 16, "00")
def test_what_is_well_formed_is_read_unless_it_is_forbidden(version: str, trace: str, parent: str, flags: str) -> None:
    found = trace_of(f"{version}-{trace}-{parent}-{flags}")
    if version == "ff" or set(trace) == {"0"} or set(parent) == {"0"}:
        assert found is None
    else:
        assert found == TraceContext(trace, parent, int(flags, 16) % 2 == 1)


@given(st.text())
def test_any_other_text_is_no_trace_and_no_error(text: str) -> None:
    assert trace_of(text) is None
