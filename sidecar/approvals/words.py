"""Approvals in words, the same for the page, the command line and webhooks: what undoes a call, spans, who asks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from sidecar.ledger.approvals import GrantTerms, Record, Shown

_UNDOING: Final[Mapping[str, str]] = {
    "Financial": "moves money, or decides what money does: it cannot be undone",
    "Destructive": "removes what cannot be restored: it cannot be undone",
    "Execute": "runs code or commands elsewhere: count on it that it cannot be undone",
    "Write": "changes what can be changed back",
    "Read": "changes nothing",
}
"""What each class says of a call (docs/risk-classes.md)."""
_UNKNOWN: Final = "the policy does not say what it can do: count on it that it cannot be undone"

_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def undoing(risk_class: str) -> str:
    """What a call of this class does, and whether it can be undone; the class is empty where policy names none."""
    return _UNDOING.get(risk_class, _UNKNOWN)


def span(seconds: float) -> str:
    """A length of time in its two greatest units: `1 h 5 min`, `9 min`, `0 s`."""
    rest = max(0, int(seconds))
    parts: list[str] = []
    for length, unit in _UNITS:
        number, rest = divmod(rest, length)
        if number:
            parts.append(f"{number} {unit}")
        elif parts:
            break  # `1 d 3 s` is no better than `1 d`
    return " ".join(parts[:2]) or "0 s"


def asker(shown: Shown) -> str:
    """Who asks: the subject of a principal, else a session."""
    if shown.asker:
        return shown.asker
    return f"session {shown.session}" if shown.session else "a client that nobody knows"


def agreed(record: Record) -> int:
    """How many people agreed to a call so far."""
    return len({one.by for one in record.answers if one.verdict == "approve"})


def like_this(terms: GrantTerms) -> str:
    """Which calls count as like the one that is asked about, as its rule says. The values are the agent's."""
    parts = [f"{path} {_same(text)}" for path, text in terms.same]
    parts += [
        f"{path} {'at most ' + most if most is not None else 'a number, which it is not'}"
        for path, most in terms.at_most
    ]
    return f"{', '.join(parts)}; free: {', '.join(terms.free) or 'nothing'}"


def _same(text: str) -> str:
    """What must be equal, from the form in which `GrantTerms` keeps it."""
    kind, _, value = text.partition(" ")
    match kind:
        case "value":
            return f"equal to {json.dumps(value, ensure_ascii=False)}"
        case "json":
            return f"equal to {value}"
        case "absent" | "null":
            return kind
    return "as it is here"
