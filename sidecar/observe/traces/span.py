"""One call as a span, as a value: what is kept of it from its decision to its end. Knows no form and no collector."""

from __future__ import annotations

from typing import Final

import msgspec

from sidecar.auth.caller import Caller
from sidecar.events import Ruling
from sidecar.mcp.jsonrpc import Id
from sidecar.mcp.tool_call import Outcome
from sidecar.mcp.trace_context import TraceContext
from sidecar.policy.rule_index import RuleIndex

MAX_TEXT: Final = 1_000
"""Characters of a rule's name and of a reason that are kept: hand-written Rego may make them of what a client sent."""


class Span(msgspec.Struct, gc=False):
    """A call that was decided. It keeps nothing of the call's arguments: they may be large, and are nobody's business.

    `tool` is safe to show; it is part of the span's name where it `is_known`: so that clients do not make up names.
    `decided_at` is in Unix nanoseconds, and everything else in seconds: the decision took `judged`, of which `answered`
    had passed when the policy's answer was there, and `took` is how long the server had the call, None where it never
    got it or nobody knows what became of it. `counted` where limits or an approval were claimed for it; `rules` are
    those of the policy in force then. `outcome`, `cause` and `status` are those of `Settled`.
    """

    decision_id: str
    tool: str
    is_known: bool
    id: Id
    trace: TraceContext | None
    caller: Caller
    ruling: Ruling
    approval: str
    counted: bool
    decided_at: int
    judged: float
    answered: float
    rules: RuleIndex | None
    took: float | None = None
    outcome: Outcome | None = None
    cause: str = ""
    status: int = 0

    @property
    def is_forwarded(self) -> bool:
        """True where the call went on to the server: allowed, or only reported in monitor mode."""
        return self.ruling.allowed or self.ruling.mode == "monitor"


def kept(ruling: Ruling) -> Ruling:
    """A ruling without what no span says: thousands of spans may wait, and an answer of the engine may have 1 MiB."""
    rule, reason = ruling.rule, ruling.reason
    if not ruling.violations and len(rule) <= MAX_TEXT and len(reason) <= MAX_TEXT:
        return ruling
    return msgspec.structs.replace(ruling, rule=rule[:MAX_TEXT], reason=reason[:MAX_TEXT], violations=())
