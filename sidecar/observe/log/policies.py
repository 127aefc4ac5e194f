"""What is said of policies: reloads, bundles, a candidate, and names and patterns that no tool of the server has."""

from __future__ import annotations

from typing import Final, assert_never

from sidecar.events import (
    BundleFetched,
    BundleJudged,
    CandidateBegan,
    CandidateCompared,
    CandidateFailed,
    EngineReady,
    Handlers,
    Reloaded,
    Unchanged,
)
from sidecar.observe.comparison import Comparison, Unmet
from sidecar.policy.nothing import NO_SERIAL
from sidecar.system.operator_log import fields, log
from sidecar.text import shown, visible

MOST_DIFFERENCES: Final = 200
"""Kinds of differences to a candidate of which the first is logged."""


class PolicyLog:
    """Says which policy is in force, and why another one is not."""

    def __init__(self, comparison: Comparison) -> None:
        comparison.told.append(self._compared)
        self._said: frozenset[Unmet] = frozenset()
        self._source_failing = ""
        self._in_force = False
        self._revision = ""
        self._differences: set[tuple[str, ...]] = set()
        self.handlers: Handlers = {
            EngineReady: self._engine_ready, Reloaded: self._reloaded, Unchanged: self._unchanged,
            BundleFetched: self._bundle_fetched, BundleJudged: self._bundle_judged,
            CandidateBegan: self._candidate_began, CandidateFailed: self._candidate_failed,
            CandidateCompared: self._candidate_compared,
        }  # fmt: skip

    def _engine_ready(self, event: EngineReady) -> None:
        if event.revision != self._revision:
            self._differences.clear()
        self._revision = event.revision
        self._in_force = event.serial != NO_SERIAL

    def _reloaded(self, event: Reloaded) -> None:
        if event.accepted:
            log.warning(
                "the changed policy is in force%s", f"; {event.text}" if event.text else "",
                extra=fields("policy_changed", revision=self._revision),
            )  # fmt: skip
        else:
            log.error(
                "the changed policy is refused, the old one stays in force: %s", event.text,
                extra=fields("policy_refused", cause=event.text),
            )  # fmt: skip

    def _unchanged(self, _: Unchanged) -> None:
        log.info("the policy files say again what is in force", extra=fields("policy_unchanged"))

    def _bundle_fetched(self, event: BundleFetched) -> None:
        if event.trouble and event.trouble != self._source_failing:
            stays = "no bundle can be fetched, the policy in force stays: %s"
            log.error(
                stays if self._in_force else "no bundle can be fetched: %s", visible(event.trouble),
                extra=fields("bundle_source_failed", cause=event.trouble),
            )  # fmt: skip
        elif self._source_failing and not event.trouble:
            log.warning("bundles can be fetched again", extra=fields("bundle_source_recovered"))
        self._source_failing = event.trouble

    def _bundle_judged(self, event: BundleJudged) -> None:
        which = named_bundle(event)
        if event.refused:
            log.error(
                "%s is refused (%s), the old policy stays in force: %s", which, event.refused, visible(event.text),
                extra=fields(
                    "bundle_refused", kind=event.refused, cause=event.text, serial=event.serial or None,
                    commit=shown(event.commit),
                ),
            )  # fmt: skip
        else:
            log.warning(
                "%s is in force", which,
                extra=fields("policy_changed", serial=event.serial or None, commit=shown(event.commit)),
            )  # fmt: skip

    def _compared(self, unmet: tuple[Unmet, ...]) -> None:
        """Warn once about names and patterns for which the server has no tool: most are misspelt."""
        for one in unmet:
            if one in self._said:
                continue
            match one.about:
                case "names":
                    log.warning("%s", one.text, extra=fields("tools_missing"))
                case "patterns":
                    log.warning("%s", one.text, extra=fields("patterns_unmatched"))
                case "arguments":
                    log.warning("%s", one.text, extra=fields("arguments_missing"))
                case "not_compared":
                    log.warning("%s", one.text, extra=fields("tools_not_compared"))
                case _:
                    assert_never(one.about)
        self._said = frozenset(unmet)

    def _candidate_began(self, event: CandidateBegan) -> None:
        self._differences.clear()
        log.warning(
            "a candidate policy is asked about every call, and decides nothing: its revision %s, beside %s in force",
            event.revision, self._revision or "none",
            extra=fields("candidate_began", candidate=event.revision, revision=self._revision),
        )  # fmt: skip

    def _candidate_failed(self, event: CandidateFailed) -> None:
        log.error(
            "the candidate policy (--shadow): %s; live calls do not wait for it", visible(event.text),
            extra=fields("candidate_failed", cause=event.text),
        )  # fmt: skip

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
            extra=fields(
                "candidate_differs", decision_id=event.decision_id, tool=shown(event.tool), decision=event.live,
                rule=event.live_rule, candidate_decision=event.candidate, candidate_rule=event.rule,
            ),
        )  # fmt: skip
        if len(self._differences) == MOST_DIFFERENCES:
            log.warning(
                "more kinds of differences are not logged; mcp_policy_candidate_total counts all calls",
                extra=fields("candidate_differs"),
            )  # fmt: skip


def named_bundle(event: BundleJudged) -> str:
    """A bundle as messages call it, by what it says of itself."""
    if not event.serial:
        return "a bundle"
    return f"the bundle with serial {event.serial}" + (f" (commit {shown(event.commit)})" if event.commit else "")


def _by(rule: str, place: str) -> str:
    """The rule that says so, and its line."""
    where = f" at {visible(place)}" if place else ""
    return f" by {visible(rule)}{where}" if rule else ""


_SAYS: Final = {"allow": "yes", "deny": "no", "approval": "ask a person"}
