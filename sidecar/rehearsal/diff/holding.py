"""What the engine says of single conditions: for each, whether it holds of what could stand at its places.

It serves to find calls that are worth judging. What becomes of a call is never read from here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec

from sidecar.decision.question import question
from sidecar.engine import binary
from sidecar.policy.bundle import Bundle
from sidecar.policy.compile import each_condition
from sidecar.policy.model import Policy
from sidecar.rehearsal.diff import places
from sidecar.rehearsal.diff.places import Put

PORTION: Final = 20_000
"""Questions in one run of the engine."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question: what is shown of a condition of a rule, by its position, by what stands at its places."""

    rule: str
    at: int
    put: Put


def shown(opa: Path, bundle: Bundle, policy: Policy, asked: Sequence[Asked]) -> list[bool]:
    """Whether the engine shows the condition: that it holds, or, of a rule that denies or asks, that it does not."""
    files = {**bundle.files, **each_condition(policy)}
    # The question is a variable of its own: `with input as one.question` gives nothing.
    query = (
        "[n | some one in input; question := one.question; "
        "n := count([1 | data.intercept.policy.shows[one.rule][one.at] with input as question])]"
    )
    found = _answers(opa, query, files, asked)
    return [count > 0 for answers in found for count in msgspec.json.decode(answers, type=list[int])]


def amounts(opa: Path, bundle: Bundle, asked: Sequence[Asked]) -> list[Decimal | None]:
    """The amounts that rules count; None where there is none that can be counted."""
    query = (
        "[found | some one in input; question := one.question; "
        "found := [amount | amount := data.intercept.policy.amounts[one.rule] with input as question]]"
    )
    found = _answers(opa, query, bundle.files, asked)
    every = [each for answers in found for each in msgspec.json.decode(answers, type=list[list[Decimal]])]
    return [each[0] if each else None for each in every]


def _answers(opa: Path, query: str, files: Mapping[str, str], asked: Sequence[Asked]) -> Iterator[str]:
    for first in range(0, len(asked), PORTION):
        document = "[" + ",".join(map(_document, asked[first : first + PORTION])) + "]"
        yield binary.evaluate(opa, query, document, dict(files))


def _document(one: Asked) -> str:
    arguments = places.arguments(one.put)
    caller = places.caller(one.put)
    about = {**caller.document, "workload": places.workload(one.put)}
    body = question("rehearsal", "x", arguments, places.totals(one.put), keys=sorted(arguments), caller=about)
    asked = bytes(msgspec.json.decode(body, type=dict[str, msgspec.Raw])["input"]).decode()
    return f'{{"rule":{msgspec.json.encode(one.rule).decode()},"at":{one.at},"question":{asked}}}'
