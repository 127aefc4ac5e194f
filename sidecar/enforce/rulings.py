"""Rulings: what was decided on each call is told, and the verdict that follows from it is given.

Each way in which a call can end has a method here. In monitor mode the ruling is told all the same, and the call is
forwarded.
"""

from __future__ import annotations

import time
from typing import Any, Final

from sidecar.decision.decision import Answer, Approval, Decision, Violation, safe_reason
from sidecar.enforce import denial
from sidecar.enforce.call_cache import CachedCall, CachedRuling
from sidecar.enforce.trial import Trial
from sidecar.enforce.verdict import Forward, Grounds, Reply, Verdict
from sidecar.events import Decided, Emit, Ruling
from sidecar.ledger.protocol import Claim
from sidecar.ledger.values import Amount, Entry, subtract
from sidecar.policy.bundle import Bundle
from sidecar.policy.model import Mode

_ALLOWED: Final = Grounds("allow", "", "")
_UNCOUNTED: Final = Grounds("store_unavailable", "", "Passed uncounted.")


def mode_of(bundle: Bundle, chosen: Mode | None) -> Mode:
    """The mode in which calls are judged under a bundle; one that the operator chose wins over the policy's."""
    return chosen or ("monitor" if bundle.terms.monitor else "enforce")


class Rulings:
    """Rules on the calls of one server; `mode` is the operator's, where one was chosen."""

    def __init__(self, server: str, emit: Emit, mode: Mode | None) -> None:
        self._server = server
        self._emit = emit
        self._mode = mode

    def allow(self, trial: Trial, answer: Answer, claim: Claim) -> Verdict:
        """The call may pass, with what it claimed."""
        decision, refunds = answer.decision, trial.bundle.terms.refunds
        if not decision.reserve:
            self._tell(trial, self._permission(trial, answer, decision.violations))
            return _forward(trial)
        violations, left = _counted(decision, claim.totals)
        self._tell(trial, self._permission(trial, answer, violations), left)
        refund = tuple([refunds.get(item.counter, "not_run") for item in decision.reserve])
        return _forward(trial, claim.entries, refund)

    def allow_uncounted(self, trial: Trial, answer: Answer) -> Verdict:
        """The call may pass although the store cannot be used: the operator chose so."""
        self._tell(trial, self._ruling(trial, answer, answer.decision.violations, _UNCOUNTED, allowed=True))
        return _forward(trial)

    def deny(self, trial: Trial, answer: Answer | None, grounds: Grounds) -> Verdict:
        """The call may not pass. Without an `answer` the engine never came to decide it."""
        facts = self._refuse(trial, answer, grounds)
        if facts is None:
            return _forward(trial)
        if grounds.retry_after is not None:
            facts["retry_after_seconds"] = grounds.retry_after
        others = [safe_reason(item) for item in _refusing(answer)]
        text = denial.told(grounds.reason, others, grounds.kind, grounds.retry_after)
        return Reply(denial.denial(trial.call, text, facts))

    def follow(self, trial: Trial, answer: Answer) -> Verdict:
        """The engine does not allow the call: it may pass once a person agreed, or not at all."""
        decision = answer.decision
        grounds = Grounds(decision.kind, decision.rule, safe_reason(decision))
        if decision.approval is not None:
            return self._require_approval(trial, answer, grounds, decision.approval)
        return self.deny(trial, answer, grounds)

    def _require_approval(self, trial: Trial, answer: Answer, grounds: Grounds, approval: Approval) -> Verdict:
        """Nobody can be asked yet, so the client is told at once what it lacks."""
        facts = self._refuse(trial, answer, grounds)
        if facts is None:
            return _forward(trial)
        facts["timeout_seconds"] = approval.timeout
        facts |= trial.bundle.terms.risks.of(trial.call.tool).document
        return Reply(denial.approval_required(trial.call, grounds.reason, facts))

    def _refuse(self, trial: Trial, answer: Answer | None, grounds: Grounds) -> dict[str, Any] | None:
        """Tell that the call may not pass. Gives what our answer says of it, or None in monitor mode: it passes."""
        violations = answer.decision.violations if answer is not None else ()
        ruling = self._ruling(trial, answer, violations, grounds, allowed=False)
        self._tell(trial, ruling, limited=grounds.retry_after is not None)
        if ruling.mode == "monitor":
            return None
        return {"id": trial.decision_id, "rule": grounds.rule, "kind": grounds.kind, "revision": ruling.revision}

    def _permission(self, trial: Trial, answer: Answer, violations: tuple[Violation, ...]) -> Ruling:
        """The ruling that a call may pass: the same one for the same answer, if nothing was added to its violations."""
        call = trial.call
        if type(call) is not CachedCall:
            return self._ruling(trial, answer, violations, _ALLOWED, allowed=True)
        kept = call.memo.ruling
        if kept is None or kept.answer is not answer or kept.violations is not violations:
            ruling = self._ruling(trial, answer, violations, _ALLOWED, allowed=True)
            kept = call.memo.ruling = CachedRuling(answer, violations, ruling)
        return kept.ruling

    def _ruling(
        self, trial: Trial, answer: Answer | None, violations: tuple[Violation, ...], by: Grounds, *, allowed: bool
    ) -> Ruling:  # fmt: skip
        bundle = trial.bundle
        engine_id, remembered = (answer.engine_id, answer.remembered) if answer else (None, False)
        # By position: of so many fields names would cost more than all else here.
        return Ruling(
            allowed, mode_of(bundle, self._mode), by.kind, by.rule, by.reason, violations, bundle.revision,
            bundle.serial, engine_id, remembered, bundle.terms.risks.of(trial.call.tool),
        )  # fmt: skip

    def _tell(
        self, trial: Trial, ruling: Ruling, left: tuple[tuple[str, float], ...] = (), *, limited: bool = False
    ) -> None:
        seconds = time.perf_counter() - trial.since
        self._emit(
            Decided(
                trial.decision_id, self._server, trial.caller, trial.call, ruling, seconds, trial.engine_seconds, left,
                limited,
            )
        )  # fmt: skip


def _refusing(answer: Answer | None) -> list[Violation]:
    """What refuses the call by the engine's answer, the first reason included."""
    return [item for item in answer.decision.violations if not item.monitor] if answer is not None else []


def _forward(trial: Trial, entries: tuple[Entry, ...] = (), refunds: tuple[str, ...] = ()) -> Forward:
    call = trial.call
    return Forward(call.id, call.tool, entries, refunds, time.perf_counter())


def _counted(
    decision: Decision, totals: tuple[Amount, ...]
) -> tuple[tuple[Violation, ...], tuple[tuple[str, float], ...]]:
    """The violations, those of limits that only monitor included, and what is left of each limit."""
    violations = decision.violations
    left: list[tuple[str, float]] = []
    for item, total in zip(decision.reserve, totals, strict=True):
        if item.limit is None:
            continue
        rest = subtract(item.limit, total)
        left.append((item.rule, float(rest)))
        if rest < 0 or (item.exclusive and rest == 0):
            violations = (*violations, Violation(item.rule, item.reason, item.kind, monitor=True))
    return violations, tuple(left)
