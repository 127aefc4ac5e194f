"""What is said of approvals: what is asked, what people answer, who may not, and whom a webhook does not reach."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from sidecar.events import AnswerSeen, ApprovalChanged, ApprovalTried, Handlers, NoticeSent
from sidecar.ledger.approvals import Answer, Record
from sidecar.system.operator_log import fields, log
from sidecar.system.sparing import Sparing
from sidecar.text import shown, visible


class ApprovalLog:
    """Says what becomes of approvals. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._tries = Sparing(
            "approval_refused", "tries at approvals were refused",
            "tries at approvals are refused; the audit log has all of them", clock=clock,
        )  # fmt: skip
        self._given_up = Sparing(
            "webhook_given_up", "messages to the webhook were given up",
            "messages to the webhook are given up; mcp_policy_webhook_deliveries_total counts them",
            level=logging.ERROR, clock=clock,
        )  # fmt: skip
        self._webhook_failing = False
        self.handlers: Handlers = {
            ApprovalChanged: self._changed, AnswerSeen: self._answered, ApprovalTried: self._tried,
            NoticeSent: self._notice_sent,
        }  # fmt: skip

    def _changed(self, event: ApprovalChanged) -> None:
        record = event.record
        if record.state == "unknown":
            log.warning(
                "nobody knows whether %s ran: the same call is refused until a person looks and says "
                "`sidecar approvals resolve %s --committed` or `--failed`", shown(record.asked.tool), record.id,
                extra=_of(record),
            )  # fmt: skip
            return
        _say(record, event.by)

    def _answered(self, event: AnswerSeen) -> None:
        _say(event.record, event.by)

    def _tried(self, event: ApprovalTried) -> None:
        if not self._tries.admits():
            return
        of = f" of {shown(event.approval)}" if event.approval else ""
        log.warning(
            "refused a try at approvals: %s%s by %s (%s, from %s): %s", shown(event.what), of,
            shown(event.who) or "nobody known", event.via, shown(event.origin), visible(event.why),
            extra=fields(
                "approval_refused", approval=shown(event.approval), status=event.status, by=shown(event.who),
                via=event.via, peer=shown(event.origin), cause=event.why,
            ),
        )  # fmt: skip

    def _notice_sent(self, event: NoticeSent) -> None:
        if not event.why:
            if self._webhook_failing:
                self._webhook_failing = False
                log.warning("the webhook takes messages again", extra=fields("webhook_recovered"))
            return
        if not self._webhook_failing:
            self._webhook_failing = True
            log.warning(
                "the webhook did not take approval.%s of %s: %s; what is not taken is sent again, for a day at most",
                event.event, event.approval, visible(event.why),
                extra=fields("webhook_failed", approval=event.approval, cause=event.why, attempts=event.attempts),
            )  # fmt: skip
        if event.given_up and self._given_up.admits():
            log.error(
                "approval.%s of %s is not sent any more, after %d attempts: %s", event.event, event.approval,
                event.attempts, visible(event.why),
                extra=fields("webhook_given_up", approval=event.approval, cause=event.why, attempts=event.attempts),
            )  # fmt: skip


def _say(record: Record, by: Answer | None) -> None:
    """Say what became of an approval; `by` is the answer that did it."""
    name = shown(record.asked.tool)
    if by is not None:
        log.info(
            "approval %s for %s: %s by %s (%s)", record.id, name, _VERDICTS[by.verdict], shown(by.by), by.via,
            extra=_of(record, by=shown(by.by), via=by.via, verdict=by.verdict),
        )  # fmt: skip
    elif record.state == "pending":
        who = shown(record.asked.shown.asker or record.asked.shown.client)
        log.info(
            "approval %s for %s: asked for%s", record.id, name, f" by {who}" if who else "",
            extra=_of(record, client=shown(record.asked.shown.client)),
        )  # fmt: skip
    else:
        log.info("approval %s for %s: %s", record.id, name, record.state.replace("_", " "), extra=_of(record))


def _of(record: Record, **more: str) -> dict[str, Any]:
    return fields("approval", approval=record.id, tool=shown(record.asked.tool), state=record.state, **more)


_VERDICTS: Final = {
    "approve": "approved", "deny": "denied", "committed": "resolved as committed", "failed": "resolved as failed",
    "revoke": "revoked",
}  # fmt: skip
