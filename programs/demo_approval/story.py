"""What the agent does under policies/okx-approval.yaml, what the person answers, and what must come of it.

Plays nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from programs.demo.exchange import CANCEL_ORDER, FIRST_ORDER, Received

Verdict: TypeAlias = Literal["allowed", "asks a person", "refused", "failed"]
"""`failed` is an answer that neither the policy nor a healthy exchange gives."""

Command: TypeAlias = tuple[str, ...]
"""A `sidecar approvals` command; `ID` stands for the id that the agent was told last."""

LIST: Final = ("list",)
SHOW: Final = ("show", "ID")
APPROVE: Final = ("approve", "ID", "--reason", "a mistake")
DENY: Final = ("deny", "ID", "--reason", "cancelled already")


@dataclass(frozen=True, slots=True)
class Step:
    """One call of the agent, what must become of it, and what the person does after it, or while it `waits`.

    With `rule` the rule that decided and the whole message are shown, which were not shown before.
    """

    what: str
    tool: str
    arguments: dict[str, str]
    verdict: Verdict
    person: tuple[Command, ...] = ()
    waits: bool = False
    rule: bool = False


_ORDER: Final = {"instId": "SOL-USDT", "tdMode": "cash", "side": "buy", "ordType": "limit", "sz": "0.5", "px": "180"}
FIRST: Final = {"instId": "SOL-USDT", "ordId": str(FIRST_ORDER)}
SECOND: Final = FIRST | {"ordId": str(FIRST_ORDER + 1)}

TOLD: Final = (
    Step("The agent places an order of 90 USD, which needs nobody:", "place_order", _ORDER, "allowed"),
    Step("It asks to cancel the order:", "cancel_order", FIRST, "asks a person", (SHOW, APPROVE), rule=True),
    Step("It tries another order on that yes:", "cancel_order", SECOND, "asks a person"),
    Step("It repeats the call that was approved:", "cancel_order", FIRST, "allowed"),
    Step("It repeats the call once more:", "cancel_order", FIRST, "asks a person", (DENY,)),
    Step("It does not take no for an answer:", "cancel_order", FIRST, "refused"),
)
"""The agent is told at once that a person is asked, and comes again."""
HELD: Final = (
    Step("The agent places another order:", "place_order", _ORDER, "allowed"),
    Step("It asks to cancel that one, and the call waits:", "cancel_order", SECOND, "allowed", (LIST, APPROVE), True),
)
"""The call waits in place while a person is asked."""
STORY: Final = (*TOLD, *HELD)


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of a call: what the agent reads, and the ids of the approval and the decision, empty where none is.

    Of a call that was allowed the message is only what a person wants to know of the answer.
    """

    verdict: Verdict
    message: str
    approval: str = ""
    decision: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that the demo saw."""

    calls: tuple[Seen, ...]
    received: tuple[Received, ...]


def differences(outcome: Outcome) -> list[str]:
    """What is not as it must be, a sentence each."""
    return [*_calls(outcome.calls), *_cancels(outcome.received)]


def cancels(received: Sequence[Received]) -> list[dict[str, Any]]:
    """What the exchange was asked to cancel."""
    return [request.body for request in received if request.path == CANCEL_ORDER]


def _calls(calls: Sequence[Seen]) -> Iterator[str]:
    if len(calls) != len(STORY):
        yield f"{len(calls)} calls were made, not the {len(STORY)} of the story"
    for number, (step, seen) in enumerate(zip(STORY, calls, strict=False), 1):
        if seen.verdict != step.verdict:
            yield f"call {number}, {step.tool}: {seen.verdict} ({seen.message}); it must be: {step.verdict}"
    asked = [seen.approval for seen in calls if seen.approval]
    if len(set(asked)) != len(asked):
        yield "two different questions have one approval"


def _cancels(received: Sequence[Received]) -> Iterator[str]:
    found = [{key: body.get(key) for key in FIRST} for body in cancels(received)]
    if found != [FIRST, SECOND]:
        yield f"the exchange received {len(found)} cancels, not exactly the two that were approved, once each"
