"""Rulings: what was decided on each call is told, and the verdict that follows from it is given.

Each way in which a call can end has a method here. In monitor mode the ruling is told all the same, and the call is
forwarded.
"""

from __future__ import annotations

import time
from typing import Any, Final

from sidecar.decision.decision import Answer, Decision, Reserve, Violation, safe_reason
from sidecar.enforce import denial
from sidecar.enforce.call_cache import CachedCall, CachedRuling
from sidecar.enforce.recent import RecentCalls, holder_of
from sidecar.enforce.trial import Trial
from sidecar.enforce.verdict import Forward, Grounds, Hold, Reply, Verdict
from sidecar.events import Decided, Emit, Ruling
from sidecar.ledger.approvals import Record, timestamp
from sidecar.ledger.protocol import Claim
from sidecar.ledger.values import Amount, Entry, subtract
from sidecar.mcp import elicitation
from sidecar.policy.model import Mode

RETRY_AFTER: Final = 10
"""Seconds after which an agent may look again whether a person answered."""
_ALLOWED: Final = Grounds("allow", "", "")
_UNCOUNTED: Final = Grounds("store_unavailable", "", "Passed uncounted.")


class Rulings:
    """Rules on the calls of one server; `mode` is the operator's, where one was chosen.

    `page_url` is where people approve, empty where there is no page; `recent` hears what was decided.
    """

    def __init__(self, server: str, emit: Emit, mode: Mode | None, page_url: str, recent: RecentCalls) -> None:
        self._server = server
        self._emit = emit
        self._mode = mode
        self._page_url = page_url
        self._recent = recent

    def allow(self, trial: Trial, answer: Answer, claim: Claim) -> Verdict:
        """The call may pass, with what it claimed."""
        decision, refunds = answer.decision, trial.bundle.terms.refunds
        approval = claim.approval.id if claim.approval is not None else ""
        if not decision.reserve:
            self._tell(trial, self._permission(trial, answer, decision.violations), approval=approval)
            return _forward(trial, approval=claim.approval)
        violations = _reported(decision, claim.totals)
        self._tell(trial, self._permission(trial, answer, violations), decision.reserve, claim, approval=approval)
        refund = tuple([refunds.get(item.counter, "not_run") for item in decision.reserve])
        return _forward(trial, claim.entries, refund, claim.approval)

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
        others = [*grounds.others, *(safe_reason(item) for item in _refusing(answer))]
        text = denial.told(grounds.reason, others, grounds.kind, grounds.retry_after)
        return Reply(denial.denial(trial.call, text, facts))

    def follow(self, trial: Trial, answer: Answer) -> Verdict:
        """The engine does not allow the call, or asks for an approval where all is only monitored."""
        decision = answer.decision
        return self.deny(trial, answer, Grounds(decision.kind, decision.rule, safe_reason(decision)))

    def only_monitors(self, trial: Trial) -> bool:
        """True where the call is forwarded, whatever is decided."""
        return trial.bundle.terms.mode(self._mode) == "monitor"

    def asks_at_client(self, trial: Trial) -> bool:
        """True where the person at the client is told by the answer to the call where to approve it."""
        return trial.call.stateless and self._elicits(trial)

    def hold(self, trial: Trial, record: Record, seconds: float) -> Verdict:
        """The call waits in place for a person."""
        return Hold(record.id, seconds, record.asked.shown.reason, self._page(record), self._elicits(trial))

    def wait(self, trial: Trial, answer: Answer, record: Record) -> Verdict:
        """A person is asked about the call: its client is told so, and when to come back."""
        decision, asked = answer.decision, record.asked
        grounds = Grounds(decision.kind, decision.rule, safe_reason(decision))
        facts = self._refuse(trial, answer, grounds, record.id)
        if facts is None:
            return _forward(trial)
        page, until = self._page(record), timestamp(record.expires)
        of_session = trial.caller.principal is None and not trial.call.stateless
        advice = denial.what_to_do(record.id, until, page, of_session=of_session)
        facts |= {"timeout_seconds": asked.timeout, "approval_id": record.id, "expires_at": until, "next": advice}
        facts["retry_after"] = RETRY_AFTER
        if page:
            facts["url"] = page
        facts |= trial.bundle.terms.risks.of(trial.call.tool).document
        if self.asks_at_client(trial):
            return Reply(elicitation.input_required(trial.call, record.id, page, grounds.reason))
        text = f"{grounds.reason}\n{advice}"
        as_result = trial.bundle.terms.approvals.answer == "result"
        return Reply(denial.approval_required(trial.call, text, facts, as_result=as_result))

    def _elicits(self, trial: Trial) -> bool:
        """True where the person at the client may be the one who approves, and can be shown the page."""
        return bool(self._page_url) and trial.caller.elicits and not trial.bundle.terms.approvals.four_eyes

    def _page(self, record: Record) -> str:
        return f"{self._page_url}/approvals/{record.id}" if self._page_url else ""

    def _refuse(
        self, trial: Trial, answer: Answer | None, grounds: Grounds, approval: str = ""
    ) -> dict[str, Any] | None:  # fmt: skip
        """Tell that the call may not pass. Gives what our answer says of it, or None in monitor mode: it passes."""
        violations = answer.decision.violations if answer is not None else ()
        ruling = self._ruling(trial, answer, violations, grounds, allowed=False)
        self._tell(trial, ruling, limited=grounds.limited, approval=approval)
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
            allowed, bundle.terms.mode(self._mode), by.kind, by.rule, by.reason, violations, bundle.revision,
            bundle.serial, engine_id, remembered, bundle.terms.risks.of(trial.call.tool),
        )  # fmt: skip

    def _tell(
        self, trial: Trial, ruling: Ruling, reserve: tuple[Reserve, ...] = (), claim: Claim | None = None, *,
        limited: bool = False, approval: str = "",
    ) -> None:  # fmt: skip
        seconds = time.perf_counter() - trial.since
        self._emit(
            Decided(
                trial.decision_id, self._server, trial.caller, trial.call, ruling, seconds, trial.engine_seconds,
                reserve, limited, approval, trial.answered, claim,
            )
        )  # fmt: skip
        if trial.bundle.terms.asks_people:
            self._recent.note(holder_of(trial.caller), trial.call.tool, ruling.kind)


def _refusing(answer: Answer | None) -> list[Violation]:
    """What refuses the call by the engine's answer, the first reason included."""
    return [item for item in answer.decision.violations if not item.monitor] if answer is not None else []


def _forward(
    trial: Trial, entries: tuple[Entry, ...] = (), refunds: tuple[str, ...] = (), approval: Record | None = None
) -> Forward:  # fmt: skip
    call, since = trial.call, time.perf_counter()
    if approval is None:
        return Forward(call.id, trial.decision_id, call.tool, entries, refunds, since)
    return Forward(call.id, trial.decision_id, call.tool, entries, refunds, since, approval.id, approval.uses)


def _reported(decision: Decision, totals: tuple[Amount, ...]) -> tuple[Violation, ...]:
    """The violations, those of limits that only report included."""
    violations = decision.violations
    for item, total in zip(decision.reserve, totals, strict=True):
        if item.limit is None:
            continue
        rest = subtract(item.limit, total)
        if rest < 0 or (item.exclusive and rest == 0):
            violations = (*violations, Violation(item.rule, item.reason, item.kind, monitor=True, shadow=item.shadow))
    return violations
