"""What each kind of line says, held against the schema that is documented."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.audit.forms.form import form_of
from sidecar.audit.records import OUTCOMES_WAIT, TOGETHER, Audit
from sidecar.audit.trail import Trail
from sidecar.audit.verify import LONGEST
from sidecar.auth.caller import Caller
from sidecar.auth.principal import Principal
from sidecar.decision.decision import Violation
from sidecar.events import (
    ApprovalTried,
    AuditFailed,
    BundleJudged,
    Decided,
    Event,
    HttpRefused,
    Judged,
    MethodDenied,
    Refused,
    Reloaded,
    Settled,
    Started,
    Stopped,
    fan_out,
)
from sidecar.mcp.tool_call import Outcome
from sidecar.mcp.trace_context import TraceContext
from sidecar.policy.risks import Risk
from sidecar.settings import AUDIT_FORMATS
from sidecar.text import is_plain
from tests.audit.readers import cef, rfc5424
from tests.audit.schema import LINES, definition, valid
from tests.engine.asking import bundle_of
from tests.observe.decided import BUNDLE, READY, answer, changed, decided, denied, record, tell
from tests.support.fuzzing import examples

STARTED = Started("stub", "1.0", "1.22.4", "http", "stdio", "jwt", "enforce", False, BUNDLE.revision, 1)
STOPPED = Stopped("stub", 143, "signal", "SIGTERM", 12.3456)
SIGN_IN = HttpRefused("stub", "clients", 401, "credentials", "no such token", "192.0.2.9:1234")


def test_a_line_is_never_longer_than_one_that_is_read_back() -> None:
    """Hand-written Rego can make a violation of every value that a client sent."""
    many = tuple(Violation(f"{number:0120d}", "No", "custom", monitor=False) for number in range(20_000))
    (line,) = written(denied(rule="r", kind="custom", violations=many))
    assert len(line) < LONGEST // 2
    assert [one["rule"] for one in json.loads(line)["violations"]] == [one.rule for one in many[:200]]


def written(*events: Event) -> list[bytes]:
    """The lines that events leave behind, as they are written."""
    stream = io.BytesIO()
    audit = Audit(Trail(stream), b"k" * 32, "abcd1234")
    for event in (*events, Judged()):
        tell(audit, event)
    return stream.getvalue().splitlines()


def lines(*events: Event) -> list[dict[str, Any]]:
    """The same, read; each is as the schema says."""
    found = [json.loads(line) for line in written(*events)]
    valid(found)
    return found


def settled(outcome: Outcome = Outcome.SUCCEEDED, cause: str = "", status: int = 0, tool: str = "t") -> Settled:
    return Settled("stub", "i-1", tool, outcome, 0, 0, 0.0125, cause, status)


def said(line: dict[str, Any]) -> dict[str, Any]:
    """What a line says beside what every line says."""
    return {
        key: value for key, value in line.items() if key not in ("schema", "time", "instance", "server", "seq", "chain")
    }


@pytest.mark.parametrize(("outcome", "word"), [
    (Outcome.SUCCEEDED, "answered"), (Outcome.FAILED, "is_error"), (Outcome.ERROR, "error"),
    (Outcome.NOT_RUN, "not_run"), (Outcome.UNKNOWN, "lost"),
])  # fmt: skip
def test_what_became_of_a_call_is_a_line_with_the_id_of_its_decision(outcome: Outcome, word: str) -> None:
    for _ in range(2):
        (line,) = lines(settled(outcome))
        assert said(line) == {
            "event": "outcome", "decision_id": "i-1", "tool": "t", "outcome": word, "milliseconds": 12.5,
        }  # fmt: skip


def test_calls_of_different_tools_have_different_outcomes() -> None:
    found = lines(settled(), settled(tool="u"), settled(Outcome.FAILED), settled(), settled(tool="u"))
    assert [(line["tool"], line["outcome"]) for line in found] == [
        ("t", "answered"), ("u", "answered"), ("t", "is_error"), ("t", "answered"), ("u", "answered"),
    ]  # fmt: skip


def test_the_line_of_an_outcome_says_why_the_server_did_not_answer() -> None:
    refused, status, gone = lines(
        settled(Outcome.NOT_RUN, "refused"),
        settled(Outcome.UNKNOWN, "status", 502),
        settled(Outcome.UNKNOWN, "given_up"),
    )
    assert (refused["cause"], "status" in refused) == ("refused", False)
    assert (status["cause"], status["status"]) == ("status", 502)
    assert (gone["outcome"], gone["cause"]) == ("lost", "given_up")


class Waiting:
    """What is to be called later."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, Callable[[], None]]] = []

    def __call__(self, seconds: float, call: Callable[[], None]) -> None:
        self.calls.append((seconds, call))


def test_outcomes_are_written_soon_by_one_timer_and_no_decision_waits_for_them() -> None:
    stream, later = io.BytesIO(), Waiting()
    audit = Audit(Trail(stream), b"k" * 32, "i", later)
    for _ in range(3):
        tell(audit, settled())
    for event in (decided(), Judged()):
        tell(audit, event)
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["decision"]
    ((seconds, call),) = later.calls
    assert seconds == OUTCOMES_WAIT
    call()
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["decision", *["outcome"] * 3]
    tell(audit, settled())
    assert len(later.calls) == 2


def test_many_outcomes_are_written_in_portions_between_which_others_have_their_turn() -> None:
    stream, later = io.BytesIO(), Waiting()
    audit = Audit(Trail(stream), b"k" * 32, "i", later)
    for _ in range(2 * TOGETHER + 5):
        tell(audit, settled())
    for seconds, lines_then in ((OUTCOMES_WAIT, TOGETHER), (0, 2 * TOGETHER), (0, 2 * TOGETHER + 5)):
        ((after, call),), later.calls = later.calls, []
        assert after == seconds
        call()
        assert len(stream.getvalue().splitlines()) == lines_then
    assert later.calls == []


class BreaksOnce(Trail):
    """Raises at its first lines what nobody foresaw."""

    broke = False

    def write(self, lines: list[bytes]) -> None:
        if lines and not self.broke:
            self.broke = True
            raise ZeroDivisionError
        super().write(lines)


def test_outcomes_that_cannot_be_written_keep_no_others_from_being_written() -> None:
    stream, later = io.BytesIO(), Waiting()
    audit = Audit(BreaksOnce(stream), b"k" * 32, "i", later)
    for _ in range(TOGETHER + 5):
        tell(audit, settled())
    ((_, call),), later.calls = later.calls, []
    with pytest.raises(ZeroDivisionError):
        call()
    ((_, call),), later.calls = later.calls, []
    call()
    tell(audit, settled())
    assert (len(stream.getvalue().splitlines()), len(later.calls)) == (5, 1)


def test_decisions_that_cannot_be_written_are_not_told_with_those_of_other_calls() -> None:
    stream = io.BytesIO()
    audit = Audit(BreaksOnce(stream), b"k" * 32, "i")
    emit = fan_out([audit], needed=audit)
    emit(decided(decision_id="i-1"))
    with pytest.raises(ZeroDivisionError):
        emit(Judged())
    emit(decided(decision_id="i-2"))
    emit(Judged())
    assert [json.loads(line)["decision_id"] for line in stream.getvalue().splitlines()] == ["i-2"]


@pytest.mark.parametrize("after", [Refused("i-2", "stub", Caller("s"), -32700, "not JSON"), changed(), STOPPED])
def test_what_waits_is_written_before_what_follows(after: Event) -> None:
    stream = io.BytesIO()
    audit = Audit(Trail(stream), b"k" * 32, "i", Waiting())
    for event in (settled(), after):
        tell(audit, event)
    first, *_ = stream.getvalue().splitlines()
    assert json.loads(first)["event"] == "outcome"


def test_the_end_writes_what_waits() -> None:
    stream = io.BytesIO()
    audit = Audit(Trail(stream), b"k" * 32, "i", Waiting())
    tell(audit, settled())
    for _ in range(60):
        tell(audit, SIGN_IN)
    audit.close()
    found = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert found[0]["event"] == "outcome"
    assert sum(line["times"] for line in found[1:]) == 60


def test_a_decision_names_the_place_of_its_rule_the_trace_and_a_hash_of_the_id() -> None:
    one = denied()
    traced = msgspec.structs.replace(one.call, trace=TraceContext("a" * 32, "b" * 16, True))
    (line,) = lines(READY, msgspec.structs.replace(one, call=traced, approval="apr_1"))
    info = next(info for info in BUNDLE.terms.rules if info.rule == "per day")
    assert (line["file"], line["line"]) == (info.file, info.line)
    assert (line["trace_id"], line["approval"]) == ("a" * 32, "apr_1")
    other = msgspec.structs.replace(one.call, id=99)
    first, same, another = lines(one, one, msgspec.structs.replace(one, call=other))
    assert first["rpc_id_hash"] == same["rpc_id_hash"] != another["rpc_id_hash"]
    assert "trace_id" not in first


def test_a_rule_for_any_tool_has_a_place_and_what_no_rule_decided_has_none() -> None:
    anybody, nobody, unknown = lines(
        READY, denied("u", "any", "rule"), denied("u", "", "default_deny"), denied("u", "gone", "rule")
    )
    assert anybody["line"] == next(info.line for info in BUNDLE.terms.rules if info.rule == "any")
    assert all("line" not in line and "file" not in line for line in (nobody, unknown))


def test_a_call_that_another_policy_decided_has_no_place_of_the_one_in_force() -> None:
    (line,) = lines(READY, denied(revision="older"))
    assert "file" not in line


def test_the_start_says_who_serves_what_and_how() -> None:
    first, *_ = lines(READY, STARTED)
    assert said(first) == {
        "event": "start", "version": "1.0", "opa": "1.22.4", "client_transport": "http",
        "upstream_transport": "stdio", "authentication": "jwt", "mode": "enforce", "fail_mode": "closed",
        "revision": BUNDLE.revision, "serial": 1,
    }  # fmt: skip


def test_the_stop_says_why() -> None:
    signal, left = lines(STOPPED, Stopped("stub", 0, "client_left", "", 1))
    assert said(signal) == {"event": "stop", "status": 143, "why": "signal", "signal": "SIGTERM", "seconds": 12.346}
    assert "signal" not in left


def test_another_policy_is_a_line_and_the_same_one_again_is_none() -> None:
    other = bundle_of("mode: monitor\ntools: {t: {rules: [{action: deny, reason: no}]}}")
    newer = msgspec.structs.replace(READY, revision=other.revision, serial=2, terms=other.terms, commit="c0ffee")
    found = lines(READY, READY, newer, newer)
    assert [said(line) for line in found] == [{
        "event": "policy", "accepted": True, "revision": other.revision, "serial": 2, "commit": "c0ffee",
        "mode": "monitor",
    }]  # fmt: skip


def test_a_policy_that_is_refused_is_a_line_with_the_reason() -> None:
    files, bundle = lines(
        Reloaded("stub", accepted=False, text="p.yaml:3: no such key"), Reloaded("stub", accepted=True, text=""),
        BundleJudged("stub", 7, "c0ffee", "signature", "nobody of ours signed it"), BundleJudged("stub", 8, ""),
    )  # fmt: skip
    assert said(files) == {"event": "policy", "accepted": False, "reason": "p.yaml:3: no such key"}
    assert said(bundle) == {
        "event": "policy", "accepted": False, "serial": 7, "commit": "c0ffee", "refused": "signature",
        "reason": "nobody of ours signed it",
    }  # fmt: skip


def test_a_sign_in_that_fails_is_a_line_and_other_refusals_of_http_are_none() -> None:
    (line,) = lines(SIGN_IN, msgspec.structs.replace(SIGN_IN, reason="host", status=421))
    assert said(line) == {
        "event": "sign_in_failed", "listener": "clients", "status": 401, "reason": "credentials",
        "text": "no such token", "peer": "192.0.2.9:1234", "times": 1,
    }  # fmt: skip


def named(event: Decided, tool: str) -> Decided:
    """The same decision about a tool with another name, whatever it holds."""
    return msgspec.structs.replace(event, call=msgspec.structs.replace(event.call, tool=tool))


def every_kind(hostile: str = "x") -> list[Event]:
    """Events of all kinds that are lines, with a text from outside wherever one stands."""
    caller = Caller(Principal(hostile).key, "agent", Principal(hostile))
    tried = ApprovalTried("stub", hostile, "api", hostile, hostile, hostile, 404, hostile)
    asked = record().asked
    told = msgspec.structs.replace(asked.shown, asker=hostile, client=hostile, session=Principal(hostile).key)
    approval = changed("denied", answer("deny", reason=hostile))
    approval = msgspec.structs.replace(
        approval,
        record=msgspec.structs.replace(approval.record, asked=msgspec.structs.replace(asked, tool=hostile, shown=told)),
    )
    return [
        READY, STARTED, named(decided(caller=caller), hostile),
        named(denied(caller=caller, risk=Risk("Write", "high")), hostile),
        denied(rule=hostile, kind="custom", violations=(Violation(hostile, "No", "custom", False),), reason=hostile),
        denied(violations=(Violation("a", "No", "rule", True), Violation("b", "No", "rule", True, shadow=True))),
        Refused("i-2", "stub", caller, -32700, hostile), MethodDenied("i-3", "stub", caller, hostile, "monitor"),
        settled(tool=hostile), settled(Outcome.UNKNOWN, "status", 502, hostile), approval, tried,
        msgspec.structs.replace(SIGN_IN, text=hostile, peer=hostile), Reloaded("stub", accepted=False, text=hostile),
        BundleJudged("stub", 7, hostile, "signature", hostile), STOPPED,
    ]  # fmt: skip


def test_there_is_an_event_for_every_definition_of_the_schema_but_those_of_the_chain() -> None:
    assert valid(lines(*every_kind())) == set(LINES) - {"lost", "continued"}


ODD = ["\u202eevil", "a\nb", "\x1b[2J", "x" * 10_000, "\u202e" * 2_000, "\u2028", '","a":"']
HOSTILE = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60) | st.sampled_from(ODD)


@pytest.mark.fuzz
@examples(60)
@given(HOSTILE, st.sampled_from(AUDIT_FORMATS))
def test_no_text_from_outside_breaks_a_line_or_hides_in_it_in_any_form(hostile: str, form: Any) -> None:
    for line in written(*every_kind(hostile)):
        told = json.loads(line)
        definition(told)
        assert all(is_plain(text) for text in texts(told))
        assert len(line) < 32_000
        converted = form_of(form).convert(line)
        assert is_plain(converted.decode("utf-8").replace("\ufeff", "", 1))
        if form == "cef":
            assert cef(converted)[1]["deviceExternalId"] == "abcd1234"
        elif form == "rfc5424":
            assert rfc5424(converted).data["audit@32473"]["instance"] == "abcd1234"


def texts(value: Any) -> list[str]:
    """All texts in a value."""
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in parts for text in texts(part)]


@pytest.mark.fuzz
@examples(60)
@given(
    st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=12, max_size=40),
    st.sampled_from(AUDIT_FORMATS),
)
def test_no_value_of_an_argument_and_no_id_stands_in_a_line(secret: str, form: Any) -> None:
    secret = f"S{secret}"
    arguments = json.dumps({secret: secret, "deep": [{"a": secret}]})
    one, other = decided(arguments=arguments), denied(arguments=arguments)
    events = [
        msgspec.structs.replace(event, call=msgspec.structs.replace(event.call, id=secret)) for event in (one, other)
    ]
    for line in written(READY, *events, changed()):
        assert secret.encode() not in line
        assert secret.encode() not in form_of(form).convert(line)


def test_lines_are_counted_by_what_they_are_about() -> None:
    audit = Audit(Trail(io.BytesIO()), b"k" * 32, "abcd1234")
    assert audit.written() == {"decision": 0, "outcome": 0}
    lost: list[Event] = [AuditFailed("stub", 2, "No space left on device"), AuditFailed("stub", 0, "")]
    for event in (*every_kind(), *lost):
        tell(audit, event)
    assert audit.written() == {
        "decision": 6, "outcome": 2, "approval": 1, "approval_refused": 1, "sign_in_failed": 1, "start": 1, "stop": 1,
        "policy": 2, "lost": 1,
    }  # fmt: skip
