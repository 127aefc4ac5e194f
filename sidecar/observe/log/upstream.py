"""What is said of the server behind us: that it fails, in which way, and that it answers again."""

from __future__ import annotations

import logging
from collections.abc import Callable

from sidecar.events import Handlers, Settled, UpstreamAnswered, UpstreamFailed
from sidecar.system.operator_log import fields, log
from sidecar.system.sparing import PERIOD, Sparing
from sidecar.text import shown, visible


class UpstreamLog:
    """Says when the server begins to fail, when it fails in another way, again each minute, and when it answers again.

    Of each call that it did not answer it says the decision's id, within bounds. `clock` gives seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failing: tuple[str, int] | None = None
        self._said = 0.0
        self._since = 0.0
        self._failures = 0
        self._unanswered = Sparing(
            "call_unanswered", "calls were not answered by the server",
            "calls are not answered by the server; mcp_policy_calls_settled_total counts them", clock=clock,
        )  # fmt: skip
        self.handlers: Handlers = {
            UpstreamFailed: self._failed, UpstreamAnswered: self._answered, Settled: self._settled,
        }  # fmt: skip

    def _failed(self, event: UpstreamFailed) -> None:
        now, how = self._clock(), (event.cause, event.status)
        if self._failing is None:
            self._since, self._failures = now, 0
        self._failures += 1
        if how == self._failing and now - self._said < PERIOD:
            return
        self._failing, self._said = how, now
        log.error(
            "%s", visible(event.text),
            extra=fields("upstream_failed", cause=event.cause, status=event.status or None, failures=self._failures),
        )  # fmt: skip

    def _answered(self, _: UpstreamAnswered) -> None:
        if self._failing is None:
            return
        self._failing = None
        log.warning(
            "the MCP server answers again, after %.0f s and %d failures", self._clock() - self._since, self._failures,
            extra=fields(
                "upstream_recovered", seconds=round(self._clock() - self._since, 3), failures=self._failures
            ),
        )  # fmt: skip

    def _settled(self, event: Settled) -> None:
        if not event.cause:
            if self._failing is not None:
                self._answered(UpstreamAnswered(event.server))
        elif log.isEnabledFor(logging.WARNING) and self._unanswered.admits():
            log.warning(
                "the call of %s was not answered (%s): %s [%s]", shown(event.tool), event.cause,
                "it may have run" if event.outcome.value == "unknown" else "it did not run", event.decision_id,
                extra=fields(
                    "call_unanswered", decision_id=event.decision_id, tool=shown(event.tool), cause=event.cause,
                    status=event.status or None, outcome=event.outcome.value,
                ),
            )  # fmt: skip
