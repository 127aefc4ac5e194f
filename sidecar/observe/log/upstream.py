"""What is said of the server behind us: that it fails, in which way, and that it answers again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from sidecar.events import Handlers, Settled, UpstreamAnswered, UpstreamFailed
from sidecar.system.operator_log import fields, log
from sidecar.system.sparing import PERIOD, Sparing
from sidecar.text import shown, visible

MOST_TROUBLES: Final = 100
"""Different troubles of the server that are remembered: some hold words of the server's."""


class UpstreamLog:
    """Says when the server begins to fail, when it fails in another way, again each minute, and when it answers again.

    Of each call that it did not answer it says the decision's id, within bounds. `clock` gives seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._is_down = False
        self._since = 0.0
        self._failures = 0
        self._said: dict[str, float] = {}
        """When each trouble was said last."""
        self._troubles = Sparing(
            "upstream_failed", "failures of the MCP server",
            "failures of the MCP server; mcp_policy_upstream_errors_total counts them", level=logging.ERROR,
            clock=clock,
        )  # fmt: skip
        self._unanswered = Sparing(
            "call_unanswered", "calls were not answered by the server",
            "calls are not answered by the server; mcp_policy_calls_settled_total counts them", clock=clock,
        )  # fmt: skip
        self.handlers: Handlers = {
            UpstreamFailed: self._failed, UpstreamAnswered: self._answered, Settled: self._settled,
        }  # fmt: skip

    def _failed(self, event: UpstreamFailed) -> None:
        if event.is_down and not self._is_down:
            self._is_down, self._since, self._failures = True, self._clock(), 0
            self._said.clear()
        self._failures += event.is_down
        if self._is_news(event.text) and self._troubles.admits():
            log.error(
                "%s", visible(event.text),
                extra=fields(
                    "upstream_failed", cause=event.cause, status=event.status or None,
                    failures=self._failures if self._failures > 1 else None,
                ),
            )  # fmt: skip

    def _is_news(self, text: str) -> bool:
        """True for a trouble that was not said within the last minute."""
        now = self._clock()
        if now - self._said.get(text, -PERIOD) < PERIOD:
            return False
        if len(self._said) >= MOST_TROUBLES:
            self._said.clear()
        self._said[text] = now
        return True

    def _answered(self, _: UpstreamAnswered) -> None:
        if not self._is_down:
            return
        self._is_down = False
        log.warning(
            "the MCP server answers again, after %.0f s and %d failures", self._clock() - self._since, self._failures,
            extra=fields(
                "upstream_recovered", seconds=round(self._clock() - self._since, 3), failures=self._failures
            ),
        )  # fmt: skip

    def _settled(self, event: Settled) -> None:
        if not event.cause:
            if self._is_down:
                self._answered(UpstreamAnswered(event.server))
        elif self._unanswered.admits():
            # Whoever gave up need not be told.
            log.log(
                logging.INFO if event.cause == "given_up" else logging.WARNING,
                "the call of %s was not answered (%s): %s [%s]", shown(event.tool), event.cause,
                "it may have run" if event.outcome.value == "unknown" else "it did not run", event.decision_id,
                extra=fields(
                    "call_unanswered", decision_id=event.decision_id, tool=shown(event.tool), cause=event.cause,
                    status=event.status or None, outcome=event.outcome.value,
                ),
            )  # fmt: skip
