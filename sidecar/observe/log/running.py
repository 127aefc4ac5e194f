"""What is said of the sidecar itself and what it needs: its start and end, the engine, the store, the audit log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from sidecar.events import (
    AuditFailed,
    EngineFailed,
    EngineReady,
    Handlers,
    HttpRefused,
    RecordingFailed,
    SpansSent,
    Started,
    Stopped,
    StoreFailed,
)
from sidecar.policy.nothing import NO_SERIAL, WHY
from sidecar.system.operator_log import fields, log
from sidecar.system.sparing import PERIOD, Sparing
from sidecar.text import shown, visible

_OPERATORS: Final = ("version", "no_policy", "unverified", "foreign", "canary")
"""Kinds of failure of the engine that do not end by themselves: only the operator can mend them."""


class RunningLog:
    """A lasting state is said when it begins and when it ends. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._serves = False
        self._engine_failing = False
        self._said: set[str] = set()
        self._recording_failing = False
        self._clock = clock
        self._spans_failing = False
        self._spans_lost = 0
        self._spans_said = -PERIOD
        self._audit_failing = ""
        self._audit_lost = 0
        self._store = Sparing(
            "store_failed", "failures of the store", "failures of the store; mcp_policy_component_up shows its state",
            level=logging.ERROR, clock=clock,
        )  # fmt: skip
        self._http = Sparing(
            "http_refused", "requests were refused by their heads",
            "requests are refused by their heads; mcp_policy_http_refusals_total counts them", clock=clock,
        )  # fmt: skip
        self.handlers: Handlers = {
            Started: self._started, Stopped: self._stopped, EngineFailed: self._engine_failed,
            EngineReady: self._engine_ready, StoreFailed: self._store_failed, HttpRefused: self._http_refused,
            AuditFailed: self._audit_failed, RecordingFailed: self._recording_failed, SpansSent: self._spans_sent,
        }  # fmt: skip

    def _started(self, event: Started) -> None:
        self._serves = True
        only_report = f", and {event.reporting} of the rules only report" if event.reporting else ""
        log.info(
            "sidecar %s serves %s: clients over %s, the server over %s, opa %s, mode %s%s", event.version,
            shown(event.server), event.client, event.upstream, event.opa, event.mode, only_report,
            extra=fields(
                "started", server=shown(event.server), version=event.version, opa=event.opa,
                client_transport=event.client, upstream_transport=event.upstream, authentication=event.authentication,
                mode=event.mode, revision=event.revision, serial=event.serial, reporting=event.reporting or None,
            ),
        )  # fmt: skip
        if event.serial == NO_SERIAL:
            log.warning("%s, so every call is denied", WHY, extra=fields("no_policy"))

    def _stopped(self, event: Stopped) -> None:
        if not self._serves:
            return  # why it cannot start is said by the command itself
        log.log(
            logging.WARNING if event.why in ("server_ended", "error") and event.status else logging.INFO,
            "the sidecar ends with status %d: %s", event.status,
            _WHY[event.why] % {"signal": event.signal or "a signal"},
            extra=fields(
                "stopped", status=event.status, cause=event.why, signal=event.signal, seconds=round(event.seconds, 3)
            ),
        )  # fmt: skip

    def _engine_failed(self, event: EngineFailed) -> None:
        if not self._engine_failing or event.kind == "exit" or self._is_news(event.kind):
            self._engine_failing = True
            self._said.add(event.kind)
            log.error(
                "%s; calls are denied until it answers again", event.text,
                extra=fields("engine_failed", kind=event.kind, cause=event.text),
            )  # fmt: skip

    def _engine_ready(self, event: EngineReady) -> None:
        if self._engine_failing:
            self._engine_failing = False
            self._said.clear()
            log.warning(
                "the policy engine answers again, by revision %s", event.revision,
                extra=fields("engine_recovered", revision=event.revision, serial=event.serial),
            )  # fmt: skip

    def _is_news(self, kind: str) -> bool:
        """True for a failure that has to be logged although another one was, and for the first time."""
        return kind in _OPERATORS and kind not in self._said

    def _store_failed(self, event: StoreFailed) -> None:
        if self._store.admits():
            log.error("%s", event.text, extra=fields("store_failed", cause=event.text))

    def _http_refused(self, event: HttpRefused) -> None:
        if self._http.admits():
            log.warning(
                "refused a request with status %d (%s): %s%s", event.status, event.reason, visible(event.text),
                f"; it came from {shown(event.peer)}" if event.peer else "",
                extra=fields(
                    "http_refused", status=event.status, kind=event.reason, listener=event.listener, cause=event.text,
                    peer=event.peer,
                ),
            )  # fmt: skip

    def _audit_failed(self, event: AuditFailed) -> None:
        self._audit_lost += event.lost
        if event.text and not event.lost:
            log.error(
                "%s; it is written on as it is", visible(event.text), extra=fields("audit_kept", cause=event.text)
            )
        elif event.text:
            if event.text != self._audit_failing:
                log.error(
                    "cannot write the audit log: %s; calls are decided all the same, and lines are lost",
                    visible(event.text),
                    extra=fields("audit_failed", lost=self._audit_lost, cause=event.text),
                )  # fmt: skip
            self._audit_failing = event.text
        elif self._audit_failing:
            log.warning(
                "the audit log is written again; %d lines are missing", self._audit_lost,
                extra=fields("audit_recovered", lost=self._audit_lost),
            )  # fmt: skip
            self._audit_failing, self._audit_lost = "", 0

    def _recording_failed(self, event: RecordingFailed) -> None:
        if event.text and not self._recording_failing:
            log.error(
                "%s; calls are decided all the same, and not recorded until it can be written again", event.text,
                extra=fields("recording_failed", lost=event.lost, cause=event.text),
            )  # fmt: skip
        elif not event.text:
            log.warning(
                "calls are recorded again; %d are missing", event.lost,
                extra=fields("recording_recovered", lost=event.lost),
            )  # fmt: skip
        self._recording_failing = bool(event.text)

    def _spans_sent(self, event: SpansSent) -> None:
        if not event.text:
            if self._spans_failing:
                self._spans_failing = False
                log.warning(
                    "the collector (--otlp) takes spans again; %d were lost", self._spans_lost,
                    extra=fields("spans_recovered", lost=self._spans_lost),
                )  # fmt: skip
                self._spans_lost = 0
            return
        self._spans_lost += event.lost
        now = self._clock()
        # A collector that takes spans now and then is said once a minute.
        if not self._spans_failing and now - self._spans_said >= PERIOD:
            self._spans_failing, self._spans_said = True, now
            log.warning(
                "spans are not taken by the collector (--otlp): %s; no call waits for that", visible(event.text),
                extra=fields("spans_failed", lost=self._spans_lost, cause=event.text),
            )  # fmt: skip


_WHY: Final = {
    "signal": "%(signal)s asked for it", "client_left": "the client left", "server_ended": "the MCP server ended",
    "error": "it cannot go on",
}  # fmt: skip
