"""Approvals in words, for the command line: who asks, and which calls are like one. What any page says too is there."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final

from sidecar.auth.caller import Caller
from sidecar.enforce.grant_terms import MASKED
from sidecar.enforce.recent import holder_of
from sidecar.ledger.approvals import Asked, GrantTerms, Shown
from sidecar.policy import paths
from sidecar.text import visible


def asker(shown: Shown) -> str:
    """Who asks: the subject of a principal, else a session."""
    if shown.asker:
        return shown.asker
    return f"session {shown.session}" if shown.session else "a client that nobody knows"


def only_in(asked: Asked) -> str:
    """Where alone an approval can be used: in the session that asked. Empty for a principal's, which outlives it."""
    session = asked.shown.session
    return f"only in session {visible(session)}" if asked.holder == holder_of(Caller(session)) else ""


def like_this(terms: GrantTerms, masked: Sequence[str] = ()) -> str:
    """Which calls count as like the one that is asked about, as its rule says. The values are the agent's.

    Those at the paths `masked` are not told.
    """
    parts = [f"{path} {_KEPT if _is_in(path, masked) else _same(text)}" for path, text in terms.same]
    parts += [f"{path} {_KEPT if _is_in(path, masked) else _at_most(text)}" for path, text in terms.at_most]
    return f"{', '.join(parts)}; free: {', '.join(terms.free) or 'nothing'}"


def written(value: str) -> str:
    """A value that must be equal, from the text that `same_text` makes of one that is no list and no object.

    A number or a boolean equals the text that is written the same way, so both are named; any other text has quotes.
    """
    text = json.dumps(value, ensure_ascii=False)
    return f"{value} or {text}" if _BOOLEAN_OR_NUMBER.fullmatch(value) else text


_BOOLEAN_OR_NUMBER: Final = re.compile(r"true|false|0|-?(0|[1-9][0-9]*)\.[0-9]*[1-9]|-?[1-9][0-9]*")
"""Booleans, and numbers as equal ones are written: no exponent, no sign of zero, no zeros at the end."""
_KEPT: Final = "as it is in this call (masked)"


def _is_in(path: str, masked: Sequence[str]) -> bool:
    steps = paths.read(path.removeprefix("args"))
    hidden = [paths.read(one.removeprefix("args")) for one in masked]
    return any(steps[: len(mask)] == mask for mask in hidden)


def _at_most(number: str | None) -> str:
    return "no number, so no call is like it" if number is None else f"at most {number}"


def _same(text: str) -> str:
    """What must be equal, from the form in which `GrantTerms` keeps it."""
    kind, _, value = text.partition(" ")
    match kind:
        case "value":
            return f"equal to {written(value)}"
        case "json":
            return f"equal to {value}"
        case "absent" | "null":
            return kind
    return _KEPT if kind == MASKED else "as it is here"
