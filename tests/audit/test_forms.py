"""The forms of audit lines, read by readers that were written from the specifications."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.audit.forms.cef import KEYS, LABELLED, Cef, key_of
from sidecar.audit.forms.form import Form, form_of
from sidecar.audit.forms.rfc5424 import Rfc5424
from sidecar.settings import AUDIT_FORMATS
from sidecar.text import is_plain, visible
from tests.audit.readers import KEY, NAME, cef, rfc5424
from tests.audit.schema import SCHEMA
from tests.support.fuzzing import examples

CHAIN = b"0123456789abcdef" * 2
HOSTILE = st.text(max_size=40) | st.text(st.sampled_from('\\|=]["\n\r \u202e\u2028\x00\x1b\ufeffaé'), max_size=30)
SEALS = ("json", "cef", "rfc5424")


def line(**members: Any) -> bytes:
    """The line of a decision with these members."""
    record = {"schema": 1, "time": "2026-11-30T12:00:00.123Z", "event": "decision", "decision_id": "i-1", "tool": "t",
              "decision": "deny", "kind": "rule", "rule": "r", "reason": "no"}  # fmt: skip
    return json.dumps(record | members, ensure_ascii=False).encode("utf-8", "backslashreplace")


@pytest.mark.parametrize("form", [*map(form_of, AUDIT_FORMATS), Rfc5424("host", 1)])
def test_a_sealed_line_gives_back_what_was_sealed(form: Form) -> None:
    converted = form.convert(line())
    sealed = form.seal(converted, 12, CHAIN)
    assert form.unseal(sealed) == (converted, 12, CHAIN)
    assert form.unseal(converted) is None
    assert form.unseal(sealed[:-1]) is None or form.unseal(sealed[:-1]) != (converted, 12, CHAIN)


@pytest.mark.fuzz
@examples(150)
@given(st.sampled_from(SEALS), HOSTILE, HOSTILE, st.integers(1, 10**17))
def test_no_name_or_reason_can_pass_for_a_seal(name: Any, tool: str, reason: str, seq: int) -> None:
    form = form_of(name)
    for text in (tool, reason, forged(name)):
        converted = form.convert(line(tool=text, reason=f"{reason}{text}"))
        assert form.unseal(converted) is None
        assert form.unseal(form.seal(converted, seq, CHAIN)) == (converted, seq, CHAIN)


def forged(name: str) -> str:
    """What a seal of this form looks like, as a text of an attacker's."""
    form = form_of(name)  # type: ignore[arg-type]
    return form.seal(form.convert(line()), 7, CHAIN).decode()


@pytest.mark.fuzz
@examples(200)
@given(st.dictionaries(st.sampled_from(sorted(set(KEYS) - {"by", "state", "text"} | set(LABELLED))), HOSTILE))
def test_every_value_is_read_back_from_cef_and_no_value_can_pass_for_a_key(members: dict[str, str]) -> None:
    told = {"decision": "deny", "kind": "rule"}
    converted = Cef().convert(line(**members | told))
    head, extension = cef(converted)
    assert head[:3] == ["CEF:0", "Intercept", "intercept-sidecar"]
    assert head[4] == "decision"
    for member, value in (members | told).items():
        key = key_of(member)
        assert extension.get(key, "") == as_read(value)
        if value and member in LABELLED:
            assert extension[f"{key}Label"] == member


def as_read(value: str) -> str:
    """A text as CEF has it: line ends are kept, what is hidden is written as an escape, and so are outer blanks."""
    parts = [part if part in "\r\n" else visible(part) for part in split(value)]
    text = "".join(parts)
    if text.startswith(" "):
        text = r"\u0020" + text[1:]
    return text[:-1] + r"\u0020" if text.endswith(" ") else text


def split(value: str) -> list[str]:
    """The text in parts: line ends by themselves."""
    parts = [""]
    for char in value:
        parts += [char, ""] if char in "\r\n" else []
        parts[-1] += "" if char in "\r\n" else char
    return [part for part in parts if part]


@pytest.mark.fuzz
@examples(200)
@given(HOSTILE, HOSTILE, HOSTILE)
def test_every_value_is_read_back_from_rfc_5424(tool: str, rule: str, reason: str) -> None:
    message = rfc5424(Rfc5424("a host", 7).convert(line(tool=tool, rule=rule, reason=reason)))
    params = message.data["audit@32473"]
    assert (params["tool"], params["rule"], params["reason"]) == (visible(tool), visible(rule), visible(reason))
    assert (message.host, message.app, message.process, message.id) == (
        "ahost", "intercept-sidecar", "7", "decision",
    )  # fmt: skip
    assert is_plain(message.text)
    assert message.text.startswith("tool call denied")


def test_the_time_of_an_event_in_cef_is_in_milliseconds() -> None:
    _, extension = cef(Cef().convert(line()))
    assert datetime.fromtimestamp(int(extension["rt"]) / 1000, UTC).isoformat() == "2026-11-30T12:00:00.123000+00:00"


def test_what_is_no_text_is_json_and_what_is_empty_is_left_out_of_cef() -> None:
    _, extension = cef(Cef().convert(line(rule="", violations=[{"rule": "a=b"}], remembered=False, serial=0)))
    assert "cs2" not in extension
    assert extension["InterceptSidecarViolations"] == '[{"rule":"a=b"}]'
    assert (extension["InterceptSidecarRemembered"], extension["cn2"]) == ("false", "0")


def test_no_two_members_of_one_event_have_the_same_key_in_cef() -> None:
    members = [
        set(definition["properties"])
        for definition in SCHEMA["$defs"].values()
        if "event" in definition.get("properties", {})
    ]
    assert len(members) >= 9
    for names in members:
        keys = [key_of(name) for name in names]
        assert len(set(keys)) == len(keys), names
        assert all(map(KEY.fullmatch, keys))
        assert all(map(NAME.fullmatch, names))


@pytest.mark.parametrize(("members", "severity", "of_syslog"), [
    ({"decision": "allow"}, 1, 6), ({"kind": "rule"}, 5, 4), ({"severity": "critical"}, 7, 4),
    ({"kind": "engine_unavailable"}, 8, 3), ({"event": "start"}, 2, 6), ({"event": "sign_in_failed"}, 6, 4),
    ({"event": "policy", "accepted": False}, 7, 4), ({"event": "policy", "accepted": True}, 3, 5),
    ({"event": "outcome", "outcome": "lost"}, 5, 4), ({"event": "stop", "status": 0}, 2, 6),
    ({"event": "lost"}, 9, 3),
])  # fmt: skip
def test_what_matters_more_has_a_higher_severity(members: dict[str, Any], severity: int, of_syslog: int) -> None:
    assert cef(Cef().convert(line(**members)))[0][6] == str(severity)
    assert rfc5424(Rfc5424().convert(line(**members))).priority == 13 * 8 + of_syslog


@pytest.mark.parametrize("host", ["", "ü ", "x" * 300, "a b\nc"])
def test_a_host_that_has_no_proper_name_breaks_no_message(host: str) -> None:
    assert rfc5424(Rfc5424(host, 1).convert(line())).host in ("-", "x" * 255, "abc")
