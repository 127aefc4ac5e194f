"""The audit trail: one line a decision, found again by a keyed hash, without any value that a client sent."""

from __future__ import annotations

import io
import json
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecar.audit.key import installation_key
from sidecar.audit.records import Audit
from sidecar.audit.trail import Trail
from sidecar.auth.caller import Caller
from sidecar.auth.principal import Principal
from sidecar.decision.decision import Violation
from sidecar.enforce.call_cache import CachedCall, Memo
from sidecar.events import AnswerSeen, ApprovalTried, Event, Judged, MethodDenied, Passed, Refused, StoreFailed
from sidecar.mcp.jsonrpc import Request
from sidecar.mcp.tool_call import PreparedCall, ToolCall, read_call
from sidecar.policy.risks import UNKNOWN, Risk
from tests.observe.decided import BUNDLE, SECRET, answer, changed, decided, denied, record, tell


def lines(*events: Event, key: bytes = b"k" * 32) -> list[dict[str, Any]]:
    """The lines that events leave behind."""
    stream = io.BytesIO()
    audit = Audit(Trail(stream), key, "i")
    for event in (*events, Judged()):
        tell(audit, event)
    written = stream.getvalue()
    assert written.endswith(b"\n") or not written
    found = [json.loads(line) for line in written.splitlines()]
    for line in found:
        del line["seq"], line["chain"]  # they are the trail's
    return found


def test_a_decision_is_one_line_of_this_shape() -> None:
    violations = (Violation("per day", "No more", "rate_limit", False),)
    (line,) = lines(denied(violations=violations, engine_id="e-1", remembered=True))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert re.fullmatch(r"[0-9a-f]{32}", line.pop("arguments_hash"))
    assert re.fullmatch(r"[0-9a-f]{16}", line.pop("rpc_id_hash"))
    assert line == {
        "schema": 1, "event": "decision", "decision_id": "i-1", "instance": "i", "server": "stub", "session": "s1",
        "tool": "t", "decision": "deny", "kind": "rate_limit", "rule": "per day", "reason": "No more",
        "violations": [{"rule": "per day", "kind": "rate_limit", "monitor": False}], "mode": "enforce",
        "client": "agent", "revision": BUNDLE.revision, "serial": 1, "engine_decision_id": "e-1", "remembered": True,
        "milliseconds": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize(("risk", "members"), [
    (UNKNOWN, {}), (Risk(None, "high"), {"severity": "high"}),
    (Risk("Financial", "low"), {"class": "Financial", "severity": "low"}),
])  # fmt: skip
def test_class_and_severity_of_the_tool_are_told_where_it_has_them(risk: Risk, members: dict[str, str]) -> None:
    (line,) = lines(decided(risk=risk))
    assert {key: line[key] for key in ("class", "severity") if key in line} == members


def test_a_method_that_policy_denies_is_a_line_fit_to_show() -> None:
    (line,) = lines(MethodDenied("i-2", "stub", Caller("s1"), "x" * 200 + "\u202e", "monitor"))
    del line["time"]
    assert line == {
        "schema": 1, "event": "decision", "decision_id": "i-2", "instance": "i", "server": "stub", "session": "s1",
        "method": "x" * 128 + "…", "decision": "deny", "kind": "method", "mode": "monitor",
    }  # fmt: skip


def test_an_allowed_call_is_a_line_too() -> None:
    (line,) = lines(decided())
    assert (line["decision"], line["kind"], line["violations"], line["engine_decision_id"]) == (
        "allow",
        "allow",
        [],
        None,
    )


def test_a_line_says_the_mode_and_which_violations_were_only_reported() -> None:
    violations = (Violation("a", "No", "rule", True), Violation("b", "No", "rule", False))
    (line,) = lines(denied(mode="monitor", violations=violations))
    assert (line["decision"], line["mode"]) == ("deny", "monitor")
    assert [(item["rule"], item["monitor"]) for item in line["violations"]] == [("a", True), ("b", False)]


def test_a_refused_message_is_a_line_with_its_code() -> None:
    (line,) = lines(Refused("i-2", "stub", Caller("s1"), -32700, "not JSON"))
    assert (line["decision"], line["kind"], line["code"], line["reason"]) == (
        "deny",
        "invalid_request",
        -32700,
        "not JSON",
    )
    assert (line["decision_id"], line["event"]) == ("i-2", "decision")


def test_the_decision_on_a_call_names_the_approval_that_it_uses_or_waits_for() -> None:
    (line,) = lines(decided(approval="apr_1"))
    assert line["approval"] == "apr_1"
    (line,) = lines(decided())
    assert "approval" not in line


def test_a_call_that_asks_a_person_is_a_line_that_says_who_asks_for_what() -> None:
    (line,) = lines(changed())
    del line["time"]
    assert line == {
        "schema": 1, "event": "approval", "instance": "i", "server": "stub", "approval": "apr_1", "state": "pending",
        "tool": "cancel_order", "class": "Financial", "severity": "critical", "rule": "cancel_order#1",
        "session": "1.1", "client": "agent 1.0", "asked_times": 1,
    }  # fmt: skip


def test_what_a_person_decides_is_a_line_that_says_who_from_where_why_and_what_was_shown() -> None:
    (line,) = lines(changed("denied", answer("deny", reason="not today")))
    told = {"verdict", "by", "via", "origin", "reason", "standing", "shown"}
    assert {key: line[key] for key in told} == {
        "verdict": "deny", "by": "alice", "via": "page", "origin": "192.0.2.7", "reason": "not today",
        "standing": False, "shown": "d" * 64,
    }  # fmt: skip
    assert (line["state"], line["approval"]) == ("denied", "apr_1")


def test_a_reason_is_capped_and_cannot_fool_a_reader() -> None:
    (line,) = lines(changed("denied", answer("deny", reason="\u202e\x1b[2J" + "x" * 5_000)))
    assert line["reason"].isprintable()
    assert len(line["reason"]) < 1_100


def test_the_use_of_a_standing_approval_names_it() -> None:
    (line,) = lines(changed("in_use", grant="apr_0"))
    assert (line["state"], line["grant"]) == ("in_use", "apr_0")


def test_a_try_that_is_refused_is_a_line_fit_to_show() -> None:
    (line,) = lines(ApprovalTried("okx", "mallory\u202e", "api", "192.0.2.9", "approve", "apr_9", 404, "no such"))
    del line["time"]
    assert line == {
        "schema": 1, "event": "approval_refused", "instance": "i", "server": "okx", "approval": "apr_9",
        "what": "approve", "by": "mallory\\u202e", "via": "api", "origin": "192.0.2.9", "status": 404,
        "reason": "no such",
    }  # fmt: skip


def test_what_was_recorded_where_it_was_said_is_not_recorded_again() -> None:
    assert lines(AnswerSeen("okx", record("approved"), answer(via="cli"))) == []


def test_no_line_of_an_approval_holds_an_argument() -> None:
    events = [changed(), changed("approved", answer()), changed("in_use"), changed("unknown")]
    assert SECRET not in str(lines(*events))


def test_what_is_no_decision_leaves_no_line() -> None:
    assert lines(Passed("stub", "ping"), StoreFailed("stub", "gone")) == []


class Halting(io.BytesIO):
    """Takes a few bytes at a time, and notes how often it was written to."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.writes = 0

    def write(self, data: Any) -> int:
        self.writes += 1
        return super().write(data[: self.most])


def test_calls_that_say_the_same_have_a_line_each_with_their_own_id_caller_and_ruling() -> None:
    first = decided(remembered=True)
    first = msgspec.structs.replace(first, call=known(first.call))
    changes: list[dict[str, Any]] = [
        {}, {"decision_id": "i-2", "seconds": 0.5}, {"caller": Caller("s2", "other", Principal("me"))},
        {"ruling": msgspec.structs.replace(first.ruling, allowed=False, rule="r")}, {},
    ]  # fmt: skip
    events = [msgspec.structs.replace(first, **change) for change in changes]
    written = lines(*events)
    alone = [lines(msgspec.structs.replace(event, call=known(event.call)))[0] for event in events]
    for line in (*written, *alone):
        del line["time"]
    assert written == alone
    assert [line["decision_id"] for line in written] == ["i-1", "i-2", "i-1", "i-1", "i-1"]


def known(call: ToolCall) -> CachedCall:
    """The same call as one that came before, about which nothing is worked out yet."""
    return CachedCall(call.id, call.tool, call.arguments, call.stateless, call.raw, call.params, memo=Memo())


def test_decisions_that_are_made_together_are_written_together() -> None:
    stream = Halting(1 << 20)
    audit = Audit(Trail(stream), b"k" * 32, "i")
    for event in (decided(), denied(), decided()):
        tell(audit, event)
    assert stream.writes == 0
    tell(audit, Judged())
    tell(audit, Judged())
    assert (stream.writes, len(stream.getvalue().splitlines())) == (1, 3)


def test_a_refused_message_is_written_at_once_and_after_what_was_decided_before() -> None:
    stream = io.BytesIO()
    audit = Audit(Trail(stream), b"k" * 32, "i")
    tell(audit, decided())
    tell(audit, Refused("i-2", "stub", Caller("s1"), -32700, "not JSON"))
    assert [json.loads(line)["decision_id"] for line in stream.getvalue().splitlines()] == ["i-1", "i-2"]


def test_what_is_taken_in_parts_is_written_whole() -> None:
    stream = Halting(7)
    audit = Audit(Trail(stream), b"k" * 32, "i")
    for event in (decided(), denied(), Judged()):
        tell(audit, event)
    assert [json.loads(line)["decision"] for line in stream.getvalue().splitlines()] == ["allow", "deny"]


def test_no_argument_value_and_no_key_of_the_arguments_stands_in_a_line() -> None:
    for line in lines(decided(), denied()):
        assert SECRET not in json.dumps(line)
        assert "card" not in json.dumps(line)


def test_the_same_arguments_have_the_same_hash_and_others_another() -> None:
    one, same, other, typed = lines(
        *(decided(arguments=text) for text in ('{"a":1}', '{"a":1}', '{"a":2}', '{"a":"1"}'))
    )
    assert one["arguments_hash"] == same["arguments_hash"]
    assert len({line["arguments_hash"] for line in (one, other, typed)}) == 3


def test_the_hash_of_the_same_arguments_differs_between_installations() -> None:
    (here,), (there,) = lines(decided(), key=b"a" * 32), lines(decided(), key=b"b" * 32)
    assert here["arguments_hash"] != there["arguments_hash"]


@pytest.mark.parametrize("tool", ["line\\nbreak", "right\\u202eleft", "x" * 5000])
def test_a_name_from_outside_is_capped_and_escaped(tool: str) -> None:
    (line,) = lines(decided(tool))
    assert line["tool"].isprintable()
    assert len(line["tool"]) < 200


def test_the_key_of_an_installation_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    key = installation_key(tmp_path)
    assert len(key) == 32
    assert installation_key(tmp_path) == key
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("left", [b"", b"x" * 31, b"x" * 65])
def test_a_damaged_key_is_not_used(tmp_path: Path, left: bytes) -> None:
    """A file that a power failure emptied would be no secret at all."""
    installation_key(tmp_path)
    (tmp_path / "audit.key").write_bytes(left)
    with pytest.raises(OSError, match="damaged"):
        installation_key(tmp_path)


def test_installations_have_different_keys(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert installation_key(tmp_path) != installation_key(tmp_path / "other")


def test_sidecars_that_start_at_once_use_one_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pids = iter(range(1000, 2000))
    monkeypatch.setattr("os.getpid", lambda: next(pids))  # each thread stands for a process
    with ThreadPoolExecutor(16) as threads:
        keys = set(threads.map(lambda _: installation_key(tmp_path), range(64)))
    assert len(keys) == 1


def test_what_was_worked_out_beforehand_of_a_large_call_gives_the_same_line() -> None:
    event = decided()
    request = Request(1, "tools/call", {"name": "t", "arguments": event.call.arguments}, event.call.raw, {})
    call = read_call(Audit(Trail(io.BytesIO()), b"k" * 32, "i").prepare(request))
    assert isinstance(call, PreparedCall)
    prepared = msgspec.structs.replace(event, call=call)
    (one,), (other,) = lines(event), lines(prepared)
    assert one["arguments_hash"] == other["arguments_hash"]
