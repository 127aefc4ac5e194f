"""What is said of calls and other messages of clients: what was refused, denied, dropped, and what met a defect."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from sidecar.events import Decided, Defect, Dropped, EngineReady, Handlers, MethodDenied, Refused
from sidecar.observe.log.lines import error_place
from sidecar.policy.rule_index import RuleIndex
from sidecar.system.operator_log import fields, log
from sidecar.system.sparing import Sparing
from sidecar.text import shown, visible

MOST_REFUSED: Final = 1000
"""Refusals that are logged in a minute: they are what people look for, and the audit log has every one."""
MOST_DEFECTS: Final = 10
MAX_REASON: Final = 1_000
"""Characters of a reason that are said."""


class CallLog:
    """Says what was refused, and what went wrong with messages. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._denied = Sparing(
            "call_denied", "calls were refused",
            "calls are refused; the audit log has all of them, and mcp_policy_decisions_total counts them",
            most=MOST_REFUSED, level=logging.INFO, clock=clock,
        )  # fmt: skip
        self._refused = Sparing(
            "message_refused", "messages of the client were refused",
            "messages of the client are refused; the audit log has all of them", most=MOST_REFUSED, clock=clock,
        )  # fmt: skip
        self._methods = Sparing(
            "method_denied", "methods were denied", "methods are denied; the audit log has all of them",
            most=MOST_REFUSED, level=logging.INFO, clock=clock,
        )  # fmt: skip
        self._dropped = Sparing(
            "message_dropped", "messages were dropped",
            "messages are dropped; mcp_policy_dropped_messages_total counts them", clock=clock,
        )  # fmt: skip
        self._defects = Sparing(
            "internal_error", "internal errors", "internal errors; mcp_policy_internal_errors_total counts them",
            most=MOST_DEFECTS, level=logging.CRITICAL, clock=clock,
        )  # fmt: skip
        self._rules: RuleIndex | None = None
        self._revision = ""
        self.handlers: Handlers = {
            EngineReady: self._engine_ready, Decided: self._decided, Refused: self._message_refused,
            MethodDenied: self._method_denied, Dropped: self._message_dropped, Defect: self._defect,
        }  # fmt: skip

    def _engine_ready(self, event: EngineReady) -> None:
        if event.revision != self._revision:
            self._revision, self._rules = event.revision, RuleIndex(event.terms)

    def _decided(self, event: Decided) -> None:
        ruling = event.ruling
        if ruling.allowed or not log.isEnabledFor(logging.INFO) or not self._denied.admits():
            return
        # Hand-written Rego may make either of what a client sent, which may be long.
        by, reason = f" by {shown(ruling.rule)}" if ruling.rule else "", visible(ruling.reason[:MAX_REASON])
        info = self._rules.find(event.call.tool, ruling.rule) if self._rules is not None else None
        held = ruling.kind == "approval_required"
        done, would = ("held back", "hold back") if held else ("denied", "deny")
        log.info(
            "%s %s%s (%s): %s [%s]", done if ruling.mode == "enforce" else f"would {would}", shown(event.call.tool),
            by, ruling.kind, reason, event.decision_id,
            extra=fields(
                "call_held" if held else "call_denied", decision_id=event.decision_id, tool=shown(event.call.tool),
                rule=ruling.rule, file=info.file if info else None, line=info.line if info else None,
                kind=ruling.kind, mode=ruling.mode, client=event.caller.client, approval=event.approval,
                revision=ruling.revision,
            ),
        )  # fmt: skip

    def _message_refused(self, event: Refused) -> None:
        if self._refused.admits():
            log.warning(
                "refused a message of the client: %s [%s]", event.reason, event.decision_id,
                extra=fields(
                    "message_refused", decision_id=event.decision_id, code=event.code, cause=event.reason,
                    client=event.caller.client,
                ),
            )  # fmt: skip

    def _method_denied(self, event: MethodDenied) -> None:
        if self._methods.admits():
            log.info(
                "%s the method %s [%s]", "denied" if event.mode == "enforce" else "would deny", shown(event.method),
                event.decision_id,
                extra=fields(
                    "method_denied", decision_id=event.decision_id, method=shown(event.method), mode=event.mode,
                    client=event.caller.client,
                ),
            )  # fmt: skip

    def _message_dropped(self, event: Dropped) -> None:
        if self._dropped.admits():
            log.warning(
                "dropped a message of the %s: %s", event.sender, event.reason,
                extra=fields("message_dropped", sender=event.sender, cause=event.reason),
            )  # fmt: skip

    def _defect(self, event: Defect) -> None:
        if self._defects.admits():
            place = error_place(event.error) if event.error is not None else ""
            log.critical(
                "internal error, %s [%s]%s", event.what, event.trace, f": {place}" if place else "",
                extra=fields("internal_error", trace=event.trace, exception=place),
            )  # fmt: skip
