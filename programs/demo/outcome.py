"""Whether the demo went as it must: compares what was played, received and counted with the script. Prints nothing.

Under a policy of somebody's own nobody knows what must become of a call; but what was refused must not be received.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from programs.demo.exchange import BALANCE, CANCEL_ORDER, CLOSE_POSITION, PLACE_ORDER, TICKERS, Received
from programs.demo.metrics import Change
from programs.demo.script import READS, WRITES, Call

REQUESTS: Final = {
    ("GET", TICKERS): 1, ("GET", BALANCE): 1,
    ("POST", PLACE_ORDER): 10, ("POST", CANCEL_ORDER): 1, ("POST", CLOSE_POSITION): 0,
}  # fmt: skip
"""How often the exchange must have been asked what."""
WORTH: Final = Decimal(10_000)
"""What the orders that reach the exchange must be worth together, in USD: all that the policy allows in a day."""
_PLACE_OF_TOOL: Final = {"place_order": PLACE_ORDER, "cancel_order": CANCEL_ORDER, "close_positions": CLOSE_POSITION}
"""Where the calls of a tool that writes reach the exchange."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that the demo saw."""

    tools: tuple[str, ...]
    calls: tuple[Call, ...]
    received: tuple[Received, ...]
    shown: tuple[Change, ...]
    also: tuple[Change, ...]


def differences(outcome: Outcome) -> list[str]:
    """What is not as it must be, a sentence each."""
    return [
        *_tools(outcome.tools),
        *_calls(outcome.calls),
        *_requests(outcome.received),
        *_metrics(outcome.shown + outcome.also),
    ]


def unexplained(outcome: Outcome) -> list[str]:
    """Requests that came to the exchange though no call was let through for them, a sentence each."""
    times = requests(outcome.received)
    found = []
    for tool, path in _PLACE_OF_TOOL.items():
        passed = sum(call.step.tool == tool and call.verdict in ("allowed", "failed") for call in outcome.calls)
        if times["POST", path] > passed:
            found.append(f"the exchange received {times['POST', path]} x POST {path}; {passed} calls were let through")
    return found


def requests(received: Iterable[Received]) -> dict[tuple[str, str], int]:
    """How often each endpoint was asked; the expected ones first, be it never."""
    return dict.fromkeys(REQUESTS, 0) | Counter((request.method, request.path) for request in received)


def worth(received: Iterable[Received]) -> Decimal:
    """What all orders that the exchange received are worth."""
    orders = (request.body for request in received if request.path == PLACE_ORDER)
    return sum((Decimal(order["sz"]) * Decimal(order["px"] or 0) for order in orders), Decimal(0))


def _tools(tools: Sequence[str]) -> Iterator[str]:
    for tool in dict.fromkeys(step.tool for step in READS + WRITES):
        if tool not in tools:
            yield f"the list of tools lacks {tool}"


def _calls(calls: Sequence[Call]) -> Iterator[str]:
    script = READS + WRITES
    if tuple(call.step for call in calls) != script:
        yield f"{len(calls)} calls were made, not the {len(script)} of the script"
    for number, call in enumerate(calls, 1):
        step = call.step
        expected = _words("refused", step.rule, step.reason) if step.rule else "allowed"
        seen = call.verdict if call.verdict == "allowed" else _words(call.verdict, call.rule, call.reason)
        if seen != expected:
            yield f"call {number}, {step.tool}, was {seen}; it must be {expected}"


def _words(verdict: str, rule: str, message: str) -> str:
    by = f" by {rule!r}" if rule else ""
    return f"{verdict}{by} ({message})"


def _requests(received: Sequence[Received]) -> Iterator[str]:
    for (method, path), times in requests(received).items():
        expected = REQUESTS.get((method, path), 0)
        if times != expected:
            yield f"the exchange received {times} x {method} {path}, not {expected}"
    if worth(received) != WORTH:
        yield f"the orders at the exchange are worth {worth(received)} USD, not {WORTH}"


def _metrics(changes: Iterable[Change]) -> Iterator[str]:
    for change in changes:
        if change.after - change.before != change.expected:
            yield f"{change.line} went from {change.before:g} to {change.after:g}, not up by {change.expected:g}"
