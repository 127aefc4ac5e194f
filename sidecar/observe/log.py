"""The operator's log on standard error: denials, failures, recoveries, reloads."""

from __future__ import annotations

import json
import logging
import time
import traceback
from collections.abc import Callable
from typing import Final

from sidecar.events import (
    AnswerSeen,
    ApprovalChanged,
    ApprovalTried,
    BundleFetched,
    BundleJudged,
    CandidateBegan,
    CandidateCompared,
    CandidateFailed,
    Decided,
    Defect,
    Dropped,
    EngineFailed,
    EngineReady,
    Handlers,
    Listed,
    MethodDenied,
    NoticeSent,
    RecordingFailed,
    Refused,
    Reloaded,
    SpansSent,
    StoreFailed,
    UpstreamFailed,
)
from sidecar.ledger.approvals import Answer, Record
from sidecar.text import shown, visible

log = logging.getLogger("sidecar")


PERIOD: Final = 60.0
"""Seconds of one period, in which only a few dropped messages and defects are logged; metrics count all of them."""
MOST: Final = 50
MOST_DEFECTS: Final = 10
MOST_TROUBLES: Final = 100
"""Different troubles of the server that are remembered: some hold words of the server's."""
MOST_DIFFERENCES: Final = 200
"""Kinds of differences to a candidate of which the first is logged."""


class _Sparing:
    """Counts what happens in each period, so that whoever causes it cannot fill a disk with log lines."""

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        self.most = most
        self._clock = clock
        self._period = clock()
        self._count = 0

    def count(self) -> tuple[int, int]:
        """The position of this occurrence in its period, and how many of the last period were not logged."""
        now, unsaid = self._clock(), 0
        if now - self._period >= PERIOD:
            unsaid = max(0, self._count - self.most)
            self._period, self._count = now, 0
        self._count += 1
        return self._count, unsaid


class Log:
    """Logs events; a lasting state is logged when it begins and when it ends. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._dropped = _Sparing(MOST, clock)
        self._defects = _Sparing(MOST_DEFECTS, clock)
        self._tries = _Sparing(MOST, clock)
        self._given_up = _Sparing(MOST, clock)
        self._webhook_failing = False
        self._source_failing = ""
        self._engine_failing = False
        self._recording_failing = False
        self._spans = _Sparing(1, clock)
        self._spans_failing = False
        self._spans_lost = 0
        self._said: set[str] = set()
        self._policy_tools: frozenset[str] = frozenset()
        self._compared: frozenset[str] = frozenset()
        self._revision = ""
        self._differences: set[tuple[str, ...]] = set()
        self._clock = clock
        self._upstream_said: dict[str, float] = {}
        self.handlers: Handlers = {
            Decided: self._decided, Refused: self._refused, Dropped: self._dropped_one, StoreFailed: self._store_failed,
            EngineFailed: self._engine_failed, EngineReady: self._engine_ready, Reloaded: self._reloaded,
            Listed: self._listed, MethodDenied: self._method_denied, Defect: self._defect,
            ApprovalChanged: self._approval_changed, AnswerSeen: self._answer_seen, ApprovalTried: self._approval_tried,
            NoticeSent: self._notice_sent, BundleFetched: self._bundle_fetched, BundleJudged: self._bundle_judged,
            CandidateBegan: self._candidate_began, CandidateFailed: self._candidate_failed,
            CandidateCompared: self._candidate_compared, RecordingFailed: self._recording_failed,
            UpstreamFailed: self._upstream_failed,
            SpansSent: self._spans_sent,
        }  # fmt: skip

    def _decided(self, event: Decided) -> None:
        ruling = event.ruling
        if ruling.allowed:
            return
        by = f" by {ruling.rule}" if ruling.rule else ""
        done, would = ("held back", "hold back") if ruling.kind == "approval_required" else ("denied", "deny")
        log.info(
            "%s %s%s (%s): %s [%s]", done if ruling.mode == "enforce" else f"would {would}", shown(event.call.tool),
            visible(by), ruling.kind, visible(ruling.reason), event.decision_id,
        )  # fmt: skip

    def _refused(self, event: Refused) -> None:
        log.warning("refused a message of the client: %s [%s]", event.reason, event.decision_id)

    def _method_denied(self, event: MethodDenied) -> None:
        denied = "denied" if event.mode == "enforce" else "would deny"
        log.info("%s the method %s [%s]", denied, shown(event.method), event.decision_id)

    def _store_failed(self, event: StoreFailed) -> None:
        log.error("%s", event.text)

    def _upstream_failed(self, event: UpstreamFailed) -> None:
        now = self._clock()
        if now - self._upstream_said.get(event.text, -PERIOD) >= PERIOD:
            if len(self._upstream_said) >= MOST_TROUBLES:
                self._upstream_said.clear()
            self._upstream_said[event.text] = now
            log.error("%s", visible(event.text))

    def _recording_failed(self, event: RecordingFailed) -> None:
        if event.text and not self._recording_failing:
            log.error("%s; calls are decided all the same, and not recorded until it can be written again", event.text)
        elif not event.text:
            log.warning("calls are recorded again; %d are missing", event.lost)
        self._recording_failing = bool(event.text)

    def _engine_failed(self, event: EngineFailed) -> None:
        if not self._engine_failing or event.kind == "exit" or self._is_news(event.kind):
            self._engine_failing = True
            self._said.add(event.kind)
            log.error("%s; calls are denied until it answers again", event.text)

    def _engine_ready(self, event: EngineReady) -> None:
        if event.revision != self._revision:
            self._differences.clear()
        self._policy_tools, self._revision = event.terms.tools, event.revision
        if self._engine_failing:
            self._engine_failing = False
            self._said.clear()
            log.warning("the policy engine answers again, by revision %s", event.revision)

    def _reloaded(self, event: Reloaded) -> None:
        if event.accepted:
            log.warning("the changed policy is in force%s", f"; {event.text}" if event.text else "")
        else:
            log.error("the changed policy is refused, the old one stays in force: %s", event.text)

    def _bundle_fetched(self, event: BundleFetched) -> None:
        if event.trouble and event.trouble != self._source_failing:
            log.error("no bundle can be fetched, the policy in force stays: %s", visible(event.trouble))
        elif self._source_failing and not event.trouble:
            log.warning("bundles can be fetched again")
        self._source_failing = event.trouble

    def _bundle_judged(self, event: BundleJudged) -> None:
        which = named_bundle(event)
        if event.refused:
            log.error(
                "%s is refused (%s), the old policy stays in force: %s", which, event.refused, visible(event.text)
            )
        else:
            log.warning("%s is in force", which)

    def _listed(self, event: Listed) -> None:
        """Warn once about tools that the policy names and the server does not list: most are misspelt."""
        if not event.whole:
            return
        missing = self._policy_tools.difference(event.tools)
        if missing and missing != self._compared:
            log.warning("the policy names tools that the server lacks: %s", ", ".join(map(shown, sorted(missing))))
        self._compared = missing

    def _dropped_one(self, event: Dropped) -> None:
        number, unsaid = self._dropped.count()
        if unsaid:
            log.warning("%d more messages were dropped", unsaid)
        if number <= MOST:
            log.warning("dropped a message of the %s: %s", event.sender, event.reason)
        elif number == MOST + 1:
            log.warning("more messages are dropped; mcp_policy_dropped_messages_total counts them")

    def _defect(self, event: Defect) -> None:
        number, unsaid = self._defects.count()
        if unsaid:
            log.critical("%d more internal errors", unsaid)
        if number <= MOST_DEFECTS:
            log.critical("internal error, %s [%s]%s", event.what, event.trace, _place(event.error))
        elif number == MOST_DEFECTS + 1:
            log.critical("more internal errors; mcp_policy_internal_errors_total counts them")

    def _approval_changed(self, event: ApprovalChanged) -> None:
        record = event.record
        if record.state == "unknown":
            log.warning(
                "nobody knows whether %s ran: the same call is refused until a person looks and says "
                "`sidecar approvals resolve %s --committed` or `--failed`", shown(record.asked.tool), record.id,
            )  # fmt: skip
            return
        _say_approval(record, event.by)

    def _answer_seen(self, event: AnswerSeen) -> None:
        _say_approval(event.record, event.by)

    def _approval_tried(self, event: ApprovalTried) -> None:
        number, unsaid = self._tries.count()
        if unsaid:
            log.warning("%d more tries at approvals were refused", unsaid)
        if number <= MOST:
            of = f" of {shown(event.approval)}" if event.approval else ""
            log.warning(
                "refused a try at approvals: %s%s by %s (%s, from %s): %s", shown(event.what), of,
                shown(event.who) or "nobody known", event.via, shown(event.origin), visible(event.why),
            )  # fmt: skip
        elif number == MOST + 1:
            log.warning("more tries at approvals are refused; the audit log has all of them")

    def _notice_sent(self, event: NoticeSent) -> None:
        if not event.why:
            if self._webhook_failing:
                self._webhook_failing = False
                log.warning("the webhook takes messages again")
            return
        if not self._webhook_failing:
            self._webhook_failing = True
            log.warning(
                "the webhook did not take approval.%s of %s: %s; what is not taken is sent again, for a day at most",
                event.event, event.approval, visible(event.why),
            )  # fmt: skip
        if event.given_up:
            self._say_given_up(event)

    def _say_given_up(self, event: NoticeSent) -> None:
        number, unsaid = self._given_up.count()
        if unsaid:
            log.error("%d more messages to the webhook were given up", unsaid)
        if number <= MOST:
            log.error(
                "approval.%s of %s is not sent any more, after %d attempts: %s", event.event, event.approval,
                event.attempts, visible(event.why),
            )  # fmt: skip
        elif number == MOST + 1:
            log.error("more messages to the webhook are given up; mcp_policy_webhook_deliveries_total counts them")

    def _spans_sent(self, event: SpansSent) -> None:
        if not event.text:
            if self._spans_failing:
                self._spans_failing = False
                log.warning("the collector (--otlp) takes spans again; %d were lost", self._spans_lost)
                self._spans_lost = 0
            return
        self._spans_lost += event.lost
        if not self._spans_failing and self._spans.count()[0] <= 1:
            self._spans_failing = True
            log.warning("spans are not taken by the collector (--otlp): %s; no call waits for that", event.text)

    def _candidate_began(self, event: CandidateBegan) -> None:
        self._differences.clear()
        log.warning(
            "a candidate policy is asked about every call, and decides nothing: its revision %s, beside %s in force",
            event.revision, self._revision or "none",
        )  # fmt: skip

    def _candidate_failed(self, event: CandidateFailed) -> None:
        log.error("the candidate policy (--shadow): %s; live calls do not wait for it", visible(event.text))

    def _candidate_compared(self, event: CandidateCompared) -> None:
        """Say the first difference of each kind: what both say, by which rules."""
        kind = (event.live, event.candidate, event.live_rule, event.live_place, event.rule, event.place)
        if event.live == event.candidate or kind in self._differences:
            return
        if len(self._differences) >= MOST_DIFFERENCES:
            return
        self._differences.add(kind)
        log.warning(
            "the candidate policy says %s to %s%s, the policy in force %s%s [%s]", _SAYS[event.candidate],
            shown(event.tool), _by(event.rule, event.place), _SAYS[event.live], _by(event.live_rule, event.live_place),
            event.decision_id,
        )  # fmt: skip
        if len(self._differences) == MOST_DIFFERENCES:
            log.warning("more kinds of differences are not logged; mcp_policy_candidate_total counts all calls")

    def _is_news(self, kind: str) -> bool:
        """True for a failure that has to be logged again after others, because only the operator can mend it."""
        return kind in ("version", "no_policy") and kind not in self._said


def named_bundle(event: BundleJudged) -> str:
    """A bundle as messages call it, by what it says of itself."""
    if not event.serial:
        return "a bundle"
    return f"the bundle with serial {event.serial}" + (f" (commit {shown(event.commit)})" if event.commit else "")


def _say_approval(record: Record, by: Answer | None) -> None:
    """Say what became of an approval; `by` is the answer that did it."""
    name = shown(record.asked.tool)
    if by is not None:
        log.info("approval %s for %s: %s by %s (%s)", record.id, name, _VERDICTS[by.verdict], shown(by.by), by.via)
    elif record.state == "pending":
        who = shown(record.asked.shown.asker or record.asked.shown.client)
        log.info("approval %s for %s: asked for%s", record.id, name, f" by {who}" if who else "")
    else:
        log.info("approval %s for %s: %s", record.id, name, record.state.replace("_", " "))


def _by(rule: str, place: str) -> str:
    """The rule that says so, and its line."""
    where = f" at {visible(place)}" if place else ""
    return f" by {visible(rule)}{where}" if rule else ""


_SAYS: Final = {"allow": "yes", "deny": "no", "approval": "ask a person"}
_VERDICTS: Final = {
    "approve": "approved", "deny": "denied", "committed": "resolved as committed", "failed": "resolved as failed",
    "revoke": "revoked",
}  # fmt: skip


def _place(error: BaseException | None) -> str:
    """The kind of an error, and where in the program it was raised. Its text may hold what a caller sent."""
    if error is None:
        return ""
    return f": {type(error).__name__}\n{''.join(traceback.format_tb(error.__traceback__))}".rstrip()


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line for one record."""
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
