"""The demo: its judgement of what it saw, its words, and a whole run."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from mcp_types import CallToolResult, TextContent

from programs.demo import metrics, report
from programs.demo.__main__ import LONGEST
from programs.demo.agent import judged
from programs.demo.exchange import BALANCE, CANCEL_ORDER, PLACE_ORDER, TICKERS, Received
from programs.demo.metrics import Change, Line
from programs.demo.outcome import Outcome, differences
from programs.demo.report import Paint
from programs.demo.script import READS, WRITES, Call, Step, seconds_to_wait
from tests.support import ROOT
from tests.support.peer import until
from tests.support.signals import with_default_signals

PLAIN = Paint(on=False)
COUNTER = Line("calls_total", (("tool", "a"),))


def as_it_must_be() -> Outcome:
    """What a demo sees in which nothing is wrong."""
    calls = (Call(step, "refused" if step.rule else "allowed", step.rule, step.reason, 0.01) for step in READS + WRITES)
    order = Received("POST", PLACE_ORDER, {})
    return Outcome(
        tools=("market_tickers", "account_balance", "place_order", "cancel_order"),
        calls=tuple(calls),
        received=(Received("GET", TICKERS, {}), Received("GET", BALANCE, {}), *[order] * 10),
        shown=(Change(COUNTER, 1, 3, 2),),
        also=(),
    )


# What is judged.


def test_nothing_differs_when_all_is_as_it_must_be() -> None:
    assert differences(as_it_must_be()) == []


def test_a_cancellation_at_the_exchange_is_told() -> None:
    good = as_it_must_be()
    seen = replace(good, received=(*good.received, Received("POST", CANCEL_ORDER, {})))
    assert differences(seen) == [f"the exchange received 1 x POST {CANCEL_ORDER}, not 0"]


def test_a_call_that_was_let_through_is_told() -> None:
    good = as_it_must_be()
    seen = replace(good, calls=(*good.calls[:-1], replace(good.calls[-1], verdict="allowed", rule="", message="")))
    assert differences(seen) == [
        "call 14, cancel_order, was allowed; it must be refused by 'cancel_order#1' (Requires human approval)"
    ]


def test_missing_calls_tools_and_counts_are_told() -> None:
    good = as_it_must_be()
    seen = replace(good, tools=good.tools[1:], calls=good.calls[:-1], shown=(Change(COUNTER, 1, 2, 2),))
    assert differences(seen) == [
        "the list of tools lacks market_tickers",
        "13 calls were made, not the 14 of the script",
        'calls_total{tool="a"} went from 1 to 2, not up by 2',
    ]


@pytest.mark.parametrize(("now", "wait"), [(0, 0), (45, 0), (45.5, 14.5), (119, 1), (120, 0)])
def test_it_waits_when_the_minute_is_nearly_over(now: float, wait: float) -> None:
    assert seconds_to_wait(now) == wait


def test_an_answer_that_is_neither_a_refusal_nor_data_is_a_failure() -> None:
    broken = CallToolResult(content=[TextContent(type="text", text="no route")], is_error=True)
    unwilling = CallToolResult(content=[], structured_content={"code": "51001", "msg": "no such pair", "data": []})
    step = Step("place_order", {})
    assert judged(step, broken, 0) == Call(step, "failed", "", "no route", 0)
    assert judged(step, unwilling, 0) == Call(step, "failed", "", "no such pair", 0)


# Metrics.


def test_a_line_adds_up_the_samples_that_differ_in_other_labels() -> None:
    before = metrics.parse('calls_total{tool="a",cache="hit"} 1\n')
    after = metrics.parse(
        'calls_total{tool="a",cache="hit"} 2\ncalls_total{tool="a",cache="miss"} 3\ncalls_total{tool="b"} 9\n'
    )
    assert metrics.changes(before, after, [(COUNTER, 4)]) == (Change(COUNTER, 1, 5, 4),)
    assert metrics.changes((), after, [(COUNTER, 4)]) == (Change(COUNTER, 0, 5, 4),)


# Words.


def test_a_call_is_one_line_that_fits() -> None:
    step = Step("place_order", {"instId": "BTC-USDT", "note": "x" * 40})
    line = report.call_line(Call(step, "refused", "order rate", "two\nlines " * 9, 0.0042), PLAIN)
    assert line.split("  ")[0] == "place_order"
    assert "xx.." in line
    assert line.endswith(" 4.2")
    assert len(line) == len(report.call_header(PLAIN)) <= report.WIDTH


def test_colours_are_for_terminals_without_no_color() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert Paint.for_stream(Terminal(), {}).on
    assert not Paint.for_stream(Terminal(), {"NO_COLOR": "1"}).on
    assert not Paint.for_stream(io.StringIO(), {}).on
    assert Paint(on=True)("red", "no") == "\x1b[31mno\x1b[0m"


# Whole runs.


WAYS = pytest.mark.parametrize("options", [(), ("--http",)], ids=["stdio", "http"])


def start(home: Path, *options: str) -> subprocess.Popen[str]:
    """Start the demo as `make demo` does; whatever it starts has `home` in its environment."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home)}
    command = with_default_signals([sys.executable, "-m", "programs.demo", *options])
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def processes_of(home: Path) -> list[str]:
    """Process ids of all that has `home` in its environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            environment = path.read_bytes()
        except OSError:  # gone, or not ours
            continue
        if f"HOME={home}".encode() in environment.split(b"\0"):
            found.append(path.parent.name)
    return found


@WAYS
def test_the_demo_ends_as_it_must(tmp_path: Path, options: Sequence[str]) -> None:
    with start(tmp_path, *options) as demo:
        output, _ = demo.communicate(timeout=110)
    assert demo.returncode == 0, output
    words = [line.split() for line in output.splitlines()]
    assert sum("place_order" in line and "allowed" in line for line in words) == 10
    assert sum("place_order" in line and "refused" in line for line in words) == 1
    assert ["10", "x", "POST", PLACE_ORDER] in words
    assert ["0", "x", "POST", CANCEL_ORDER] in words
    assert ['mcp_policy_decisions_total{tool="place_order",decision="allow"}', "0", "->", "10"] in words
    assert "As it must be: " in output
    assert max(map(len, output.splitlines())) <= report.WIDTH
    assert "\x1b" not in output
    until(lambda: not processes_of(tmp_path), what="the end of all that it started")


@WAYS
def test_an_interrupted_demo_leaves_nothing_behind(tmp_path: Path, options: Sequence[str]) -> None:
    with start(tmp_path, *options) as demo:
        until(lambda: len(processes_of(tmp_path)) > 2, LONGEST, "the sidecar's start")
        demo.send_signal(signal.SIGINT)
        output, _ = demo.communicate(timeout=30)
    assert demo.returncode == 130, output
    assert "Stopped." in output
    until(lambda: not processes_of(tmp_path), what="the end of all that it started")
    assert list(tmp_path.glob("sidecar-demo-*")) == []
