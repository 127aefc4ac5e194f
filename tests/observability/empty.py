"""What is rightly empty after the script, and why. Whatever is not named here has to have data."""

from __future__ import annotations

from typing import Final

SELECTORS: Final[dict[str, str]] = {}
"""Beginnings or parts of selectors that name no series."""

QUERIES: Final[dict[str, str]] = {}
"""Beginnings of places of queries (`dashboard: panel`, an alert) without a value."""

NOT_FIRED: Final[dict[str, str]] = {
    "McpTelemetryGone": "nobody is scraped for a quarter of an hour: rules.test.yaml",
    "McpBundleStale": "the source is away for five minutes: rules.test.yaml",
    "McpNoPolicy": "every sidecar here has a policy from its start on: rules.test.yaml",
    "McpInternalErrors": "there is no defect that a script could call for: rules.test.yaml",
    "McpApprovalWaitsTooLong": "a call that waits for ten minutes: rules.test.yaml",
    "McpApprovalsExpireUnanswered": "more expire than are answered: rules.test.yaml",
    "McpApprovalWebhookFailing": "no message is taken for a quarter of an hour: rules.test.yaml",
    "McpApprovalWebhookGaveUp": "a message is not taken for a day: rules.test.yaml",
}
"""Alerts that two minutes cannot bring about, and where else they are tried."""

BY_THE_MACHINE: Final[dict[str, str]] = {
    "McpDecisionsSlow": "test_long_windows.py and rules.test.yaml",
    "McpDecisionsSlowly": "rules.test.yaml",
    "McpDecisionBudgetShrinks": "rules.test.yaml",
}
"""Alerts that fire if this machine is so busy that decisions are slow, and where they are tried without it."""
