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
import yaml
from mcp import MCPError
from mcp_types import CallToolResult, TextContent

from programs.demo import metrics, report, running
from programs.demo.__main__ import LONGEST
from programs.demo.agent import held, judged
from programs.demo.decided import Rule, line_of_rule, rule_at, rule_of
from programs.demo.exchange import BALANCE, CANCEL_ORDER, CLOSE_POSITION, PLACE_ORDER, TICKERS, Received
from programs.demo.metrics import Change, Line
from programs.demo.outcome import Outcome, differences, unexplained
from programs.demo.script import READS, WRITES, Call, Step, seconds_to_wait
from programs.demo.terminal import Paint, Screen
from sidecar.enforce.denial import DECISION_META, DENIED
from sidecar.engine import binary
from sidecar.text import is_plain
from tests.support import ROOT
from tests.support.peer import until
from tests.support.signals import with_default_signals

PLAIN = Paint(on=False)
COUNTER = Line("calls_total", (("tool", "a"),))


def as_it_must_be() -> Outcome:
    """What a demo sees in which nothing is wrong."""
    calls = (Call(step, "refused" if step.rule else "allowed", step.rule, step.reason) for step in READS + WRITES)
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


def test_what_a_policy_and_a_server_say_does_nothing_to_the_terminal() -> None:
    hostile = "a\x1b]0;title\x07 b\x9b2J c\u202ed"
    call = Call(WRITES[0], "failed", "", hostile)
    lines = [
        *report.rule_lines(Rule(1, f"- name: {hostile}"), "policy.yaml", PLAIN),
        *report.agent_lines(hostile, PLAIN),
        report.call_line(replace(call, verdict="allowed"), 1, PLAIN),
        *report.difference_lines([hostile], PLAIN),
        *report.tail(hostile),
    ]
    assert all(is_plain(line) for line in lines)
    assert "\\u001b" in "".join(lines)


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
    refusal = "'close_positions#1' (Not open to agents. Ask a person to do it.)"
    assert differences(seen) == [f"call 17, close_positions, was allowed; it must be refused by {refusal}"]


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


def test_what_came_though_it_was_refused_is_told_under_any_policy() -> None:
    good = as_it_must_be()
    assert unexplained(good) == []
    assert unexplained(replace(good, calls=good.calls[:-3])) == [
        f"the exchange received 1 x POST {CANCEL_ORDER}; 0 calls were let through"
    ]
    failed = replace(good, calls=tuple(replace(call, verdict="failed") for call in good.calls))
    assert unexplained(failed) == []
    kept = replace(good, calls=tuple(replace(call, verdict="held") for call in good.calls))
    assert len(unexplained(kept)) == 2


def test_an_answer_that_is_neither_a_refusal_nor_data_is_a_failure() -> None:
    broken = CallToolResult(content=[TextContent(type="text", text="no route")], is_error=True)
    unwilling = CallToolResult(content=[], structured_content={"code": "51001", "msg": "no such pair", "data": []})
    step = Step("place_order", {})
    assert judged(step, broken) == Call(step, "failed", "", "no route")
    assert judged(step, unwilling) == Call(step, "failed", "", "no such pair")


def test_a_call_that_a_person_has_to_approve_is_held_and_another_error_is_a_failure() -> None:
    step = Step("cancel_order", {})
    needed = MCPError(-32003, "[INTERCEPT APPROVAL REQUIRED] why", {"rule": "every cancel", "id": "1-2"})
    assert held(step, needed) == Call(step, "held", "every cancel", "[INTERCEPT APPROVAL REQUIRED] why", "1-2")
    assert held(step, MCPError(-32603, "broken")) == Call(step, "failed", "", "error -32603: broken")


def test_a_refusal_is_its_rule_the_words_of_the_agent_and_its_place_in_the_audit_log() -> None:
    said = f"{DENIED} Too much\nTry again in 5 s."
    text = TextContent(type="text", text=said)
    refused = CallToolResult(content=[text], is_error=True, _meta={DECISION_META: {"rule": "worth", "id": "1-2"}})
    call = judged(Step("place_order", {}), refused)
    assert call == Call(Step("place_order", {}), "refused", "worth", said, "1-2")
    assert call.reason == "Too much"


# The rule that decided.

LOG = """\
{"event":"start"}
{"event":"decision","decision_id":"1-1","line":2}
{"event":"decision","decision_id":"1-2"}
{"event":"outcome","decision_id":"1-1"}
"""
POLICY = """\
    rules:
      # Why.
      - name: worth
        conditions:
          - {path: args.px, op: gte, value: 1}
        reason: "No"

      - action: deny
      - rate_limit: 5/hour
  other: {class: Read}
"""


def test_the_audit_log_says_which_line_decided(tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "1.jsonl").write_text(LOG)
    policy = tmp_path / "policy.yaml"
    policy.write_text("rules:\n  - action: deny\n")
    assert rule_of("1-1", tmp_path, policy) == Rule(2, "- action: deny")
    assert rule_of("1-2", tmp_path, policy) is None
    with pytest.raises(OSError, match="no line on decision 1-3"):
        line_of_rule("1-3", tmp_path)


def test_a_rule_is_all_of_its_item_and_nothing_else() -> None:
    assert rule_at(3, POLICY).splitlines() == [
        "- name: worth",
        "  conditions:",
        "    - {path: args.px, op: gte, value: 1}",
        '  reason: "No"',
    ]
    assert rule_at(8, POLICY) == "- action: deny"
    assert rule_at(9, POLICY) == "- rate_limit: 5/hour"


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
    line = report.call_line(Call(step, "allowed", "", "two words " * 9), 1, PLAIN)
    assert line.split()[:3] == ["allowed", "market_tickers", "BTC-USDT"]
    assert line.endswith("..")
    assert len(line) == report.WIDTH
    order = Step("place_order", {"side": "buy", "instId": "SOL-USDT", "sz": "2", "px": "500.00"})
    line = report.call_line(Call(order, "allowed", "", "order 7"), 10, PLAIN)
    assert line.split()[:5] == ["allowed", "place_order", "buy", "2", "SOL-USDT"]
    assert line.endswith(" at 500.00 (1000 USD)  10 times")


def test_a_rule_that_is_too_long_goes_on_below_and_stays_the_same_yaml() -> None:
    rule = "- name: worth\n  spend_limit: {path: args.amount, " + ", ".join(f"k{n}: {n}" for n in range(20)) + "}"
    first, *lines = report.rule_lines(Rule(7, rule), "policy.yaml", PLAIN)
    assert first == "  policy.yaml, line 7:"
    assert len(lines) > 2
    assert max(map(len, lines)) <= report.WIDTH
    assert yaml.safe_load("\n".join(lines)) == yaml.safe_load(rule)
    assert report.rule_lines(None, "policy.yaml", PLAIN) == []


def test_the_words_of_the_agent_are_all_there_in_lines_that_fit() -> None:
    said = f"{DENIED} {'Only SOL-USDT and SOL-USDC ' * 5}\nDo not repeat this call unchanged."
    _, *lines = report.agent_lines(said, PLAIN)
    assert max(map(len, lines)) <= report.WIDTH
    assert " ".join(" ".join(lines).split()) == " ".join(said.split())
    assert lines[-1].strip() == "Do not repeat this call unchanged."


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Always."""
        return True


def test_colours_are_for_terminals_without_no_color() -> None:
    assert Paint.for_stream(Terminal(), {}).on
    assert not Paint.for_stream(Terminal(), {"NO_COLOR": "1"}).on
    assert not Paint.for_stream(io.StringIO(), {}).on
    assert Paint(on=True)("red", "no\n\nyes") == "\x1b[31mno\x1b[0m\n\n\x1b[31myes\x1b[0m"


def test_a_line_counts_up_in_place_on_a_terminal_and_is_one_line_elsewhere() -> None:
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        screen = Screen(stream, PLAIN)
        for times in (1, 2):
            screen.update(f"{times} times")
        screen.say("end")
    assert terminal.getvalue() == "\r\x1b[K1 times\r\x1b[K2 times\nend\n"
    assert pipe.getvalue() == "2 times\nend\n"


# Whole runs.


WAYS = pytest.mark.parametrize("options", [(), ("--http",)], ids=["stdio", "http"])


def start(home: Path, *options: str) -> subprocess.Popen[str]:
    """Start the demo as `make demo` does; whatever it starts has `home` in its environment."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home)}
    # Nobody answers there: what is on this machine must be asked directly.
    environment |= dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY"), "http://127.0.0.1:9")
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


@pytest.mark.slow
@WAYS
def test_the_demo_ends_as_it_must(tmp_path: Path, options: Sequence[str]) -> None:
    with start(tmp_path, *options) as demo:
        output, _ = demo.communicate(timeout=110)
    assert demo.returncode == 0, output
    lines = output.splitlines()
    words = [line.split() for line in lines]
    assert [line[1] for line in words if line[:1] == ["allowed"]] == [
        "market_tickers", "account_balance", "place_order", "cancel_order",
    ]  # fmt: skip
    assert any(line[:2] == ["allowed", "place_order"] and line[-2:] == ["10", "times"] for line in words)
    assert [line[1] for line in words if line[:1] == ["refused"]] == ["place_order"] * 3 + ["close_positions"]
    policy = (ROOT / "policies" / "okx-trading.yaml").read_text(encoding="utf-8").splitlines()
    decided = [int(line[-1].rstrip(":")) for line in words if line[:2] == ["policies/okx-trading.yaml,", "line"]]
    assert [policy[line - 1].strip() for line in decided] == [
        "- name: instruments", "- name: worth of an order", "- name: worth of a day", "- action: deny",
    ]  # fmt: skip
    assert f"    {DENIED} At most 1000 USD an order: sz times px" in lines
    assert f"    {DENIED} The day's 10000 USD are used up" in lines
    assert "    Do not repeat this call unchanged." in lines
    assert f"  10 x  POST {PLACE_ORDER}  orders of 10000 USD" in lines
    assert f"   1 x  POST {CANCEL_ORDER}" in lines
    assert f"   0 x  POST {CLOSE_POSITION}" in lines
    assert ['mcp_policy_decisions_total{tool="place_order",decision="allow"}', "10"] in words
    assert "As it must be: orders of 10000 USD arrived, and nothing that was refused." in lines
    assert max(map(len, lines)) <= report.WIDTH
    assert "\x1b" not in output
    until(lambda: not processes_of(tmp_path), what="the end of all that it started")


@pytest.mark.slow
def test_what_it_says_to_do_next_works_as_pasted(tmp_path: Path) -> None:
    explain, sed, again, init, install = pasted(tmp_path)
    done = run(explain, tmp_path)
    assert done.returncode == 3
    assert done.stdout.startswith("deny: Only SOL-USDT and SOL-USDC are traded here\n")
    assert "uv tool install ." in install
    for command in (sed, again, init):
        done = run(command, tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        if command == again:
            assert "  9 x  POST" in done.stdout
            assert "As it must be: nothing arrived that was refused." in done.stdout
    assert (tmp_path / "my-policy.yaml").is_file()


def pasted(folder: Path) -> list[str]:
    """The commands of `What to do next` as one pastes them, and in a folder what they need of a checkout."""
    for name in ("policies", "programs", "rego", "sidecar", ".tools", ".venv"):
        (folder / name).symlink_to(ROOT / name)
    lines = report.next_lines(".venv/bin/sidecar", ".venv/bin/python", "policies/okx-trading.yaml", PLAIN)
    commands = "\n".join(line.strip() for line in lines if line.startswith("    ")).replace("\\\n", "")
    return commands.split("\n")


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run what somebody typed into a shell."""
    return subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, check=False, timeout=110)


def test_the_demo_reads_nothing_of_the_tests() -> None:
    # A module that is None cannot be imported.
    code = "import sys; sys.modules['tests'] = None; import programs.demo.__main__, programs.demo_approval.__main__"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


@pytest.mark.parametrize("lacks", ["opa", "mcp-okx"])
def test_what_is_missing_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], lacks: str
) -> None:
    if lacks == "opa":
        monkeypatch.setattr(binary, "_PACKAGE", tmp_path / "sidecar")
        monkeypatch.setenv("PATH", str(tmp_path))
    else:
        monkeypatch.setattr(running, "MCP_OKX", tmp_path / "mcp-okx")
    assert running.run(Screen.standard(), nothing_differs) == 1
    said = capsys.readouterr().out
    assert said.startswith(f"no {lacks}")
    assert "`make demo`" in said


async def nothing_differs(folder: Path) -> list[str]:
    """A demo that would succeed."""
    return []


@pytest.mark.slow
def test_a_reader_who_has_seen_enough_does_not_break_the_demo(tmp_path: Path) -> None:
    with start(tmp_path) as demo:
        assert demo.stdout is not None
        demo.stdout.readline()
        demo.stdout.close()
        assert demo.wait(timeout=110) == 0
    until(lambda: not processes_of(tmp_path), what="the end of all that it started")


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
@WAYS
def test_an_interrupted_demo_leaves_nothing_behind(
    tmp_path: Path, options: Sequence[str], ending: signal.Signals
) -> None:
    with start(tmp_path, *options) as demo:
        until(lambda: len(processes_of(tmp_path)) > 2, LONGEST, "the sidecar's start")
        demo.send_signal(ending)
        output, _ = demo.communicate(timeout=30)
    assert demo.returncode == 130, output
    assert "Stopped." in output
    until(lambda: not processes_of(tmp_path), what="the end of all that it started")
    assert list(tmp_path.glob("sidecar-demo-*")) == []
