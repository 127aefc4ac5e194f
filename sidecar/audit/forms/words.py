"""What a line says in words, for forms that have a sentence and a severity: no other form's escapes."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import msgspec

from sidecar.text import visible

Record: TypeAlias = dict[str, Any]
"""The members of a JSON line."""

_encode: Final = msgspec.json.Encoder().encode

_HARD: Final = frozenset({"engine_unavailable", "store_unavailable"})
_OF_EVENTS: Final = {
    "outcome": 1, "approval": 3, "approval_refused": 6, "start": 2, "stop": 2, "policy": 3, "sign_in_failed": 6,
    "lost": 9,
}  # fmt: skip


def read(line: bytes) -> Record:
    """The members of a JSON line."""
    record: Record = msgspec.json.decode(line)
    return record


def severity(record: Record) -> int:
    """How much it matters, from 0 to 10 as in CEF: 5 is a refusal, 8 one that should not be."""
    event = record["event"]
    if event == "decision":
        if record["decision"] == "allow":
            return 1
        if record["kind"] in _HARD:
            return 8
        return 7 if record.get("severity") == "critical" else 5
    if event == "policy" and not record["accepted"]:
        return 7
    if (event == "stop" and record["status"] != 0) or (event == "outcome" and record["outcome"] == "lost"):
        return 5
    return _OF_EVENTS.get(event, 5)


def name(record: Record) -> str:
    """What happened, in a few words of ours."""
    match record["event"]:
        case "decision" if "method" in record:
            return "method denied"
        case "decision" if "tool" not in record:
            return "message refused"
        case "decision":
            return "tool call allowed" if record["decision"] == "allow" else "tool call denied"
        case "outcome":
            return f"tool call {record['outcome'].replace('_', ' ')}"
        case "approval":
            return f"approval {record['state'].replace('_', ' ')}"
        case "policy":
            return "policy in force" if record["accepted"] else "policy refused"
        case event:
            return str(event).replace("_", " ")


def sentence(record: Record) -> str:
    """The same with the tool or method, the rule and the reason, in one line."""
    said = name(record)
    if subject := record.get("tool") or record.get("method"):
        said += f": {subject}"
    if rule := record.get("rule"):
        said += f" by rule {rule}"
    if reason := record.get("reason"):
        said += f" ({reason})"
    return visible(said)


def text(value: Any) -> str:
    """A member's value as text: what is no text as JSON. Empty where there is nothing to say."""
    if isinstance(value, str):
        return value
    return "" if value is None or value == [] else _encode(value).decode()
