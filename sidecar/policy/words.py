"""Conditions in plain words, for a model that was refused and decides what to do. No value of a call is in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from sidecar.policy.model import CallerPath, Condition, CounterName, Rule, Value
from sidecar.policy.operators import OPERATORS
from sidecar.policy.paths import EACH, shown
from sidecar.policy.rego import plain_number
from sidecar.text import quoted, visible

MOST: Final = 5
"""The most values of a list that are named."""
LONGEST: Final = 80
"""Characters of a value that are shown."""
_TYPES: Final[Mapping[str, str]] = {"number": "number", "pattern": "string"}
"""The type of value, as OPA names it, that operators compare with such an operand."""


def says(rule: Rule) -> list[dict[str, Any]]:
    """What a rule without words of its own says when it refuses, for each condition in the order of its proof.

    `words` is what the value must be, `way` the path of an argument that may be missing, and `type` the one type that
    its value can have, where the operator compares no other; `only` are the arguments
    that may be there. Of a rule that denies it is the first condition alone: all of them hold when it refuses.
    """
    if rule.reason is not None:
        return []
    if rule.action == "deny":
        return [_said(condition, banned=True) for condition in rule.asked[:1]]
    return list(_demands(rule))


def _demands(rule: Rule) -> Iterator[dict[str, Any]]:
    if rule.action == "evaluate":
        yield from (_said(condition, banned=False) for condition in rule.asked)
    if rule.only is not None:
        yield {"only": rule.only}
    limit = rule.spend_limit
    if limit and limit.per_call is not None:
        yield {"words": f"{limit.amount} must be at most {plain_number(limit.per_call)} in one call"}


def _said(condition: Condition, *, banned: bool) -> dict[str, Any]:
    operator = OPERATORS[condition.op]
    if condition.op == "exists":
        banned = banned is (condition.value is True)
    bare = operator.operand in ("folders", "hosts")
    said = (operator.ban if banned else operator.demand).format(_operand(condition.value, bare=bare))
    subject = condition.subject
    match subject:
        case CounterName() | CallerPath():
            return {"words": f"{subject} {said}"}
    path = shown("args", subject)
    if condition.times is not None:
        return {"words": f"{path} times {shown('args', condition.times)} {said}"}
    if EACH in subject or condition.op == "exists":
        return {"words": f"{path} {said}"}
    about = {"words": f"{path} {said}", "way": subject}
    wanted = None if condition.decimal_text else _TYPES.get(operator.operand)
    return about if wanted is None else {**about, "type": wanted}


def _operand(value: Value, *, bare: bool) -> str:
    """What a value is compared with; `bare` texts, which hold no blanks, are not quoted."""
    items = value if isinstance(value, tuple) else (value,)
    named = [_value(item, bare=bare) for item in items[:MOST]]
    if len(items) > MOST:
        named.append(f"one of {len(items) - MOST} others")
    *head, last = named or ["nothing"]
    return f"{', '.join(head)} or {last}" if head else last


def _value(value: Value, *, bare: bool) -> str:
    match value:
        case str():
            text = visible(value) if bare else quoted(value)
        case Decimal():
            text = plain_number(value)
        case _:
            text = visible(_encode(value).decode())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


_encode: Final = msgspec.json.Encoder(decimal_format="number").encode
