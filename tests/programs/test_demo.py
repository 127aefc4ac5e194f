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
from programs.demo.exchange import BALANCE, CANCEL_ORDER, CLOSE_POSITION, PLACE_ORDER, TICKERS, Received
from programs.demo.metrics import Change, Line
from programs.demo.outcome import Outcome, differences
from programs.demo.report import Paint
from programs.demo.script import READS, WRITES, Call, Step, seconds_to_wait
from sidecar.enforce.denial import DECISION_META, DENIED
from tests.support import ROOT
from tests.support.peer import until
from tests.support.signals import with_default_signals

PLAIN = Paint(on=False)
COUNTER = Line("calls_total", (("tool", "a"),))


def as_it_must_be() -> Outcome:
    """What a demo sees in which nothing is wrong."""
    calls = (Call(step, "refused" if step.rule else "allowed", step.rule, step.reason, 0.01) for step in READS + WRITES)
    order = Received("POST", PLACE_ORDER, {"sz": "2", "px": "500"})
    return Outcome(
        tools=("market_tickers", "account_balance", "place_order", "cancel_order", "close_positions"),
        calls=tuple(calls),
        received=(
            Received("GET", TICKERS, {}), Received("GET", BALANCE, {}),
            *[order] * 10, Received("POST", CANCEL_ORDER, {}),
        ),
        shown=(Change(COUNTER, 1, 3, 2),),
        also=(),
    )  # fmt: skip


# What is judged.


def test_nothing_differs_when_all_is_as_it_must_be() -> None:
    assert differences(as_it_must_be()) == []


def test_a_position_that_is_closed_at_the_exchange_is_told() -> None:
    good = as_it_must_be()
    seen = replace(good, received=(*good.received, Received("POST", CLOSE_POSITION, {})))
    assert differences(seen) == [f"the exchange received 1 x POST {CLOSE_POSITION}, not 0"]


def test_orders_that_are_worth_something_else_are_told() -> None:
    good = as_it_must_be()
    order, at_the_market = ({"sz": "2", "px": price} for price in ("500.01", ""))
    seen = replace(good, received=(*good.received[:2], *[Received("POST", PLACE_ORDER, order)] * 10, good.received[-1]))
    assert differences(seen) == ["the orders at the exchange are worth 10000.20 USD, not 10000"]
    seen = replace(good, received=(*good.received[:-1], Received("POST", PLACE_ORDER, at_the_market)))
    assert f"the exchange received 11 x POST {PLACE_ORDER}, not 10" in differences(seen)


def test_a_call_that_was_let_through_is_told() -> None:
    good = as_it_must_be()
    seen = replace(good, calls=(*good.calls[:-1], replace(good.calls[-1], verdict="allowed", rule="", message="")))
    assert differences(seen) == [
        "call 17, close_positions, was allowed; it must be refused by 'close_positions#1' (Requires human approval)"
    ]


def test_missing_calls_tools_and_counts_are_told() -> None:
    good = as_it_must_be()
    seen = replace(good, tools=good.tools[1:], calls=good.calls[:-1], shown=(Change(COUNTER, 1, 2, 2),))
    assert differences(seen) == [
        "the list of tools lacks market_tickers",
        "16 calls were made, not the 17 of the script",
        'calls_total{tool="a"} went from 1 to 2, not up by 2',
    ]


@pytest.mark.parametrize(("now", "wait"), [(0, 0), (86385, 0), (86385.5, 14.5), (2 * 86400 - 1, 1), (2 * 86400, 0)])
def test_it_waits_when_the_day_is_nearly_over(now: float, wait: float) -> None:
    assert seconds_to_wait(now) == wait


def test_an_answer_that_is_neither_a_refusal_nor_data_is_a_failure() -> None:
    broken = CallToolResult(content=[TextContent(type="text", text="no route")], is_error=True)
    unwilling = CallToolResult(content=[], structured_content={"code": "51001", "msg": "no such pair", "data": []})
    step = Step("place_order", {})
    assert judged(step, broken, 0) == Call(step, "failed", "", "no route", 0)
    assert judged(step, unwilling, 0) == Call(step, "failed", "", "no such pair", 0)


def test_a_refusal_is_its_rule_its_message_and_what_the_agent_should_do_next() -> None:
    text = TextContent(type="text", text=f"{DENIED} Too much\nTry again in 5 s.")
    refused = CallToolResult(content=[text], is_error=True, _meta={DECISION_META: {"rule": "worth"}})
    step = Step("place_order", {})
    assert judged(step, refused, 0) == Call(step, "refused", "worth", "Too much", 0, ("Try again in 5 s.",))


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
    step = Step("market_tickers", {"instId": "BTC-USDT", "note": "x" * 40})
    line = report.call_lines(Call(step, "allowed", "", "two\nlines " * 9, 0.0042), PLAIN)
    assert line.split("  ")[0] == "market_tickers"
    assert "xx.." in line
    assert line.endswith(" 4.2")
    assert len(line) == len(report.call_header(PLAIN)) <= report.WIDTH


def test_below_a_refusal_stands_what_the_agent_is_told() -> None:
    step = Step("place_order", {"instId": "SOL-USDT", "sz": "2", "px": "500.01"})
    call = Call(step, "refused", "worth", "At most 1000", 0.0042, ("a" * 99, "Do not repeat this call unchanged."))
    first, *told = report.call_lines(call, PLAIN).split("\n")
    assert first.split() == ["place_order", "2", "SOL-USDT", "at", "500.01", "refused", "by", "worth", "4.2"]
    assert [line.strip()[:12] for line in told] == ["At most 1000", "a" * 12, "Do not repea"]
    assert max(map(len, [first, *told])) == report.WIDTH


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
    assert sum("place_order" in line and "refused" in line for line in words) == 3
    assert "At most 1000 USD an order: sz times px" in output
    assert "The day's 10000 USD are used up" in output
    assert ["10", "x", "POST", PLACE_ORDER] in words
    assert ["1", "x", "POST", CANCEL_ORDER] in words
    assert ["0", "x", "POST", CLOSE_POSITION] in words
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
