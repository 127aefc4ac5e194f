"""Prometheus metrics of policies: the one in force, how others came or did not, a candidate in shadow, recordings."""

from __future__ import annotations

import time
from typing import Final

from sidecar.events import (
    BUNDLE_REFUSALS,
    CANDIDATE_GAPS,
    BundleFetched,
    BundleJudged,
    CandidateBegan,
    CandidateCompared,
    CandidateNotAsked,
    EngineReady,
    Handlers,
    RecordingFailed,
    Reloaded,
)
from sidecar.observe.metrics.instruments import GaugeMetric, Instruments
from sidecar.observe.metrics.rules import MAX_RULES
from sidecar.text import shown

ACTIONS: Final = ("allow", "deny", "approval")
"""What a policy says of a call."""


class PolicyMetrics:
    """The policies of `server`."""

    def __init__(self, made: Instruments, server: str) -> None:
        self._server = server
        self._info: list[tuple[GaugeMetric, tuple[str, ...]]] = []
        self._candidate_revision = ""
        counter, gauge = made.counter, made.gauge
        self._bundle = gauge(
            "bundle_info",
            "1 for the policy in force: its revision, and of a bundle the commit and the serial.",
            "revision",
            "commit",
            "serial",
        )
        self._activated = gauge(
            "bundle_activated_timestamp_seconds", "When the policy in force came into force here, in Unix seconds."
        )
        self._rules = gauge(
            "rule_info",
            "1 for each rule of the policy in force: its entry (tool), where it stands, and the risk of its entry.",
            "tool",
            "rule",
            "file",
            "line",
            "kind",
            "class",
            "severity",
        )
        self._reloads = counter(
            "reloads_total",
            "Changes of the policy files, by whether the changed policy was put in force or refused.",
            "result",
        )
        self._fetches = counter(
            "bundle_fetches_total", "Looks at the source of bundles (--bundle), by what was found.", "result"
        )
        self._fetched = gauge(
            "bundle_last_fetch_timestamp_seconds",
            "When the source of bundles was last reached, in Unix seconds; 0 before, or without --bundle.",
        )
        self._refusals = counter(
            "bundle_refusals_total", "Bundles that were fetched and not put in force, by why.", "reason"
        )
        self._candidate = counter(
            "candidate_total",
            "Calls that a candidate policy (--shadow) was asked about, by what the policy in force and it said.",
            "live",
            "candidate",
        )
        self._candidate_gaps = counter(
            "candidate_not_compared_total",
            "Calls of which nothing could be compared with what a candidate (--shadow) says, by why.",
            "reason",
        )
        self._candidate_info = gauge(
            "candidate_info", "1 for the candidate policy (--shadow) that is asked.", "revision"
        )
        self._unrecorded = counter(
            "unrecorded_calls_total", "Decided calls that are missing in the recording (--record)."
        )
        self._begin_at_zero()
        self.handlers: Handlers = {
            Reloaded: self._reloaded, BundleFetched: self._bundle_fetched, BundleJudged: self._bundle_judged,
            CandidateBegan: self._candidate_began, CandidateCompared: self._candidate_compared,
            CandidateNotAsked: self._candidate_not_asked, RecordingFailed: self._recording_failed,
        }  # fmt: skip

    def _begin_at_zero(self) -> None:
        for metric, values in (
            (self._reloads, ("accepted", "refused")),
            (self._fetches, ("news", "unchanged", "failed")),
            (self._refusals, BUNDLE_REFUSALS),
        ):
            for value in values:
                metric.labels(self._server, value)
        self._fetched.labels(self._server)
        self._unrecorded.labels(self._server)

    def activate(self, event: EngineReady) -> None:
        """Another policy is in force."""
        for gauge, labels in self._info:
            gauge.remove(*labels)
        self._info = [(self._bundle, (self._server, event.revision, event.commit, str(event.serial)))]
        for rule in event.terms.rules[:MAX_RULES]:
            risk = (rule.risk.risk_class or "", rule.risk.severity or "")
            named = (self._server, shown(rule.tool), rule.rule, rule.file, str(rule.line), rule.kind, *risk)
            self._info.append((self._rules, named))
        for gauge, labels in self._info:
            gauge.labels(*labels).set(1)
        self._activated.labels(self._server).set(time.time())

    def _reloaded(self, event: Reloaded) -> None:
        self._reloads.labels(self._server, "accepted" if event.accepted else "refused").inc()

    def _bundle_fetched(self, event: BundleFetched) -> None:
        result = "failed" if event.trouble else "news" if event.news else "unchanged"
        self._fetches.labels(self._server, result).inc()
        if not event.trouble:
            self._fetched.labels(self._server).set(time.time())

    def _bundle_judged(self, event: BundleJudged) -> None:
        if event.refused:
            self._refusals.labels(self._server, event.refused).inc()

    def _candidate_began(self, event: CandidateBegan) -> None:
        if self._candidate_revision:
            self._candidate_info.remove(self._server, self._candidate_revision)
        self._candidate_revision = event.revision
        self._candidate_info.labels(self._server, event.revision).set(1)
        for live in ACTIONS:
            for candidate in ACTIONS:
                self._candidate.labels(self._server, live, candidate)
        for reason in CANDIDATE_GAPS:
            self._candidate_gaps.labels(self._server, reason)

    def _candidate_compared(self, event: CandidateCompared) -> None:
        self._candidate.labels(self._server, event.live, event.candidate).inc(event.count)

    def _candidate_not_asked(self, event: CandidateNotAsked) -> None:
        self._candidate_gaps.labels(self._server, event.reason).inc(event.count)

    def _recording_failed(self, event: RecordingFailed) -> None:
        if event.text:
            self._unrecorded.labels(self._server).inc(event.lost)
