"""Monitor mode on the wire: every call reaches the server, and what would have become of it is on record."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.peer import AS_A_USER, TELEMETRY, Sidecar, denied, kind, stopped

TOOLS = """
hide: [secret]
tools:
  t: {rules: [{name: never, action: deny, reason: Not this}]}
  limited: {rules: [{name: two, rate_limit: 2/day}]}
  asks: {rules: [{name: ask, action: require_approval}]}
  fine: {rules: []}
"""
CALLS = ("t", "limited", "limited", "limited", "secret", "asks", "fine")
RECORD = [
    ("deny", "rule", "never"), ("allow", "allow", ""), ("allow", "allow", ""), ("deny", "rate_limit", "two"),
    ("deny", "hidden", "(hidden)"), ("deny", "approval_required", "ask"), ("allow", "allow", ""),
]  # fmt: skip
SAID = "monitor mode: every call is forwarded, whatever policy says of it\n"


def record(sidecar: Sidecar) -> list[tuple[str, str, str]]:
    return [(line["decision"], line["kind"], line["rule"]) for line in sidecar.audit]


@pytest.mark.parametrize(
    ("policy", "options"),
    [("mode: monitor" + TOOLS, ()), (TOOLS, ("--mode", "monitor")), ("mode: enforce" + TOOLS, ("--mode", "monitor"))],
    ids=["policy", "option", "option over policy"],
)
def test_every_call_is_forwarded_and_what_would_be_refused_is_on_record(
    tmp_path: Path, policy: str, options: tuple[str, ...]
) -> None:
    with Sidecar(tmp_path, policy, *options, *TELEMETRY) as sidecar:
        assert sidecar.errors.count(SAID) == 1
        replies = [sidecar.call(tool, {"n": 1}) for tool in CALLS]
        assert [reply["result"]["content"][0]["text"] for reply in replies] == ['{"n": 1}'] * len(CALLS)
        assert len(sidecar.received) == len(CALLS)
        assert record(sidecar) == RECORD
        assert {line["mode"] for line in sidecar.audit} == {"monitor"}
        assert sidecar.metric("decisions_total", mode="monitor", decision="deny") == 4
        assert sidecar.metric("decisions_total", mode="monitor", decision="allow") == 3
        assert sidecar.metric("decisions_total", mode="enforce") == 0
        assert "would deny t by never (rule): Not this" in sidecar.errors
        assert "] denied" not in sidecar.errors


@pytest.mark.parametrize("options", [("--mode", "enforce"), ()], ids=["over the policy", "by default"])
def test_mode_enforce_refuses_and_says_nothing_of_monitoring(tmp_path: Path, options: tuple[str, ...]) -> None:
    with Sidecar(tmp_path, ("mode: monitor" if options else "") + TOOLS, *options) as sidecar:
        assert [kind(sidecar.call(tool)) for tool in ("t", "secret", "fine")] == ["rule", "hidden", None]
        assert len(sidecar.received) == 1
        assert {line["mode"] for line in sidecar.audit} == {"enforce"}
        assert "monitor" not in sidecar.errors


def test_without_an_engine_the_call_is_forwarded_and_on_record(tmp_path: Path) -> None:
    with Sidecar(tmp_path, TOOLS, "--mode", "monitor", *AS_A_USER) as sidecar:
        with stopped(sidecar.opa):
            assert denied(sidecar.call("t")) is None
        assert len(sidecar.received) == 1
        assert record(sidecar) == [("deny", "engine_unavailable", "")]


def locked(sidecar: Sidecar) -> Any:
    """The store of counters, held by somebody else until this is closed."""
    connection = sqlite3.connect(sidecar.state / "counters.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    return closing(connection)


@pytest.mark.parametrize(
    ("options", "decision", "passes"),
    [
        (("--mode", "monitor"), "deny", True), (("--state-fail-mode", "open"), "allow", True),
        ((), "deny", False),
    ],
    ids=["monitor", "fail open", "by default"],
)  # fmt: skip
def test_without_a_store_a_call_that_is_counted_fares_as_the_operator_chose(
    tmp_path: Path, options: tuple[str, ...], decision: str, passes: bool
) -> None:
    with Sidecar(tmp_path, TOOLS, *options) as sidecar:
        with locked(sidecar):
            assert kind(sidecar.call("limited")) == (None if passes else "store_unavailable")
            assert denied(sidecar.call("fine")) is None
        assert len(sidecar.received) == (2 if passes else 1)
        assert record(sidecar) == [(decision, "store_unavailable", ""), ("allow", "allow", "")]
        said = "--state-fail-mode open: calls pass uncounted while the store cannot be used\n"
        assert (said in sidecar.errors) is ("open" in options)


@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","Name":"u"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t "}}',
        b'{"jsonrpc":"2.0","id":1,"method":"Tools/Call","params":{"name":"t"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":[]}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"a":1,"a":2}}}',
        b'{"jsonrpc":"2.0","method":"tools/call","params":{"name":"t"}}',
    ],
)
def test_what_cannot_be_read_strictly_is_refused_all_the_same(tmp_path: Path, line: bytes) -> None:
    with Sidecar(tmp_path, TOOLS, "--mode", "monitor") as sidecar:
        sidecar.send_bytes(line + b"\n")
        assert "error" in sidecar.read()
        sidecar.call("fine")
        assert len(sidecar.received) == 1
        assert sidecar.audit[0]["kind"] == "invalid_request"


def test_a_rule_that_only_monitors_reports_beside_rules_that_are_enforced(tmp_path: Path) -> None:
    policy = """
tools:
  t:
    rules:
      - {name: watched, action: deny, reason: Not this, mode: monitor}
      - {name: one, rate_limit: 1/day, mode: monitor}
      - {name: three, rate_limit: 3/hour}
"""
    with Sidecar(tmp_path, policy, *TELEMETRY) as sidecar:
        assert [kind(sidecar.call("t")) for _ in range(4)] == [None, None, None, "rate_limit"]
        reported = [[item["rule"] for item in line["violations"] if item["monitor"]] for line in sidecar.audit]
        assert reported[:3] == [["watched"], ["watched", "one"], ["watched", "one"]]
        assert sidecar.metric("decisions_total", mode="enforce", decision="allow") == 3
        assert SAID not in sidecar.errors
