"""The profile shows the functions of the sidecar that a call goes through, and how often."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from programs.bench.contenders import Contender, contenders
from programs.profile.run import Function, Profile, cpu_seconds, profile
from programs.profile.table import table

WAYS = {one.name: one for one in contenders([]) if one.role == "sidecar"}
CALLS = 50


@pytest.mark.parametrize("name", ["sidecar, repeated", "http sidecar, counted"])
def test_a_call_goes_through_the_gate_once(tmp_path: Path, name: str) -> None:
    found = profile(WAYS[name], CALLS, tmp_path / "way", in_flight=name.startswith("http"))
    (judge,) = [function for function in found.functions if function.name.endswith(" Gate.judge")]
    assert judge.name.startswith("sidecar/enforce/gate.py:")
    assert judge.calls == 1
    assert found.plain > 0
    assert not [function for function in found.functions if "profiled.py" in function.name]


def test_the_table_is_aligned_and_says_how_much_the_profiler_adds() -> None:
    functions = (Function("a", 12.345, 1.0), Function("b", 2.0, 10.5), Function("c", 1.0, 1.0))
    text = table(Profile(Contender("ours", "sidecar", ""), 1000, 50.0, 125.0, functions), top=1)
    assert text.splitlines() == [
        "ours: 1,000 calls, 50 µs of processor time each, and 125 µs under the profiler, which inflates it 2.5 times.",
        "  own µs   calls  function",
        "   12.35    1.00  a",
        "    3.00   11.50  (2 more)",
        "   15.35   12.50  (all)",
    ]


def test_the_processor_time_of_a_process_is_read() -> None:
    before = time.process_time()
    assert before <= cpu_seconds(os.getpid()) <= time.process_time()
