"""The alerts that two minutes cannot bring about, and where else they are tried. All others have to reach a webhook."""

from __future__ import annotations

from typing import Final

NOT_FIRED: Final[dict[str, str]] = {
    "McpTelemetryGone": "nobody is scraped for a quarter of an hour: tests/alerts",
    "McpBundleStale": "the source is away for five minutes: tests/alerts",
    "McpNoPolicy": "every sidecar here has a policy from its start on: tests/alerts",
    "McpInternalErrors": "there is no defect that a script could call for: tests/alerts",
    "McpApprovalWaitsTooLong": "a call that waits for ten minutes: tests/alerts",
    "McpApprovalsExpireUnanswered": "more expire than are answered: tests/alerts",
    "McpApprovalWebhookFailing": "no message is taken for a quarter of an hour: tests/alerts",
    "McpApprovalWebhookGaveUp": "a message is not taken for a day: tests/alerts",
}
"""Why two minutes cannot."""

BY_THE_MACHINE: Final[dict[str, str]] = {
    "McpDecisionsSlow": "test_long_windows.py and tests/alerts",
    "McpDecisionsSlowly": "tests/alerts",
    "McpDecisionBudgetShrinks": "tests/alerts",
}
"""Alerts that fire if this machine is so busy that decisions are slow, and where they are tried without it."""
