"""Requests that a listener of ours refuses, as events: whoever sends them, the metrics and the audit log hear of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from sidecar.events import Emit, HttpRefused
from sidecar.http.values import TurnedAway


def refusals(
    server: str, listener: Literal["clients", "telemetry"], emit: Emit
) -> Callable[[TurnedAway, str], None]:  # fmt: skip
    """What hears of each refusal of a listener, and of the address that the request came from."""

    def tell(refusal: TurnedAway, peer: str) -> None:
        emit(HttpRefused(server, listener, refusal.status, refusal.reason, refusal.text, peer))

    return tell
