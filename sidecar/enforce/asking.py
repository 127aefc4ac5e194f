"""What a call asks a person for: everything its approval is bound to, and what the person will see.

What is stored of a call, beside what the person sees, are keyed hashes: nobody who reads the store learns from them
what was masked. The key is the store's own, so every sidecar that shares the store makes the same ones.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any, Final

from sidecar.decision.decision import Answer, Approval, Granting, safe_reason
from sidecar.enforce.grant_terms import terms_of
from sidecar.enforce.masking import masked
from sidecar.enforce.recent import RecentCalls, holder_of
from sidecar.enforce.trial import Trial
from sidecar.ledger.approvals import MAX_SHOWN, Asked, GrantTerms, SameCall, Shown
from sidecar.ledger.values import Reservation
from sidecar.mcp import approval_binding, strict_json
from sidecar.mcp.approval_binding import Plain
from sidecar.mcp.tool_call import ToolCall
from sidecar.policy.paths import Path

MAX_DEFINITIONS: Final = 10_000
"""Tools whose definitions' digests are remembered; those of one that is known are always brought up to date."""


class TooLargeToShow(Exception):
    """The call has more arguments than a person can be asked about."""


class Asking:
    """Makes what calls of one server ask for. `instance` is our own name, `key` the secret of the store."""

    def __init__(self, server: str, instance: str, key: bytes, clock: Callable[[], float]) -> None:
        self.recent = RecentCalls(clock)
        self._server = server
        self._instance = instance
        self._key = key
        self._definitions: dict[str, str] = {}

    def saw(self, tool: str, definition: str) -> None:
        """The server listed a tool with a definition of this digest."""
        if tool in self._definitions or len(self._definitions) < MAX_DEFINITIONS:
            self._definitions[tool] = definition

    def same(self, call: ToolCall) -> SameCall:
        """What stands for a call that needs no approval."""
        return SameCall(self._server, self._same_call(call.tool, approval_binding.plain(call.arguments)))

    def asked(
        self, trial: Trial, answer: Answer, approval: Approval, takes: tuple[Reservation, ...]
    ) -> Asked:  # fmt: skip
        """What a call asks for, by the engine's answer; `takes` is what it takes from counters.

        Raises `TooLargeToShow`.
        """
        call, caller, terms = trial.call, trial.caller, trial.bundle.terms.approvals
        holder = holder_of(caller)
        visible, hidden = masked(call.arguments, terms.mask)
        shown = self._shown(trial, answer, visible, hidden, takes)  # raises before more is made
        bound = approval_binding.bound(call.params)
        plain = approval_binding.plain(call.arguments)
        return Asked(
            server=self._server,
            tool=call.tool,
            holder=holder,
            binding=self._hash("binding", self._server, call.tool, holder, approval.content, bound),
            call=self._same_call(call.tool, plain),
            definition=self._definitions.get(call.tool, ""),
            rules=approval.content,
            owner=self._instance,
            timeout=approval.timeout,
            use_within=approval.use_within,
            approvers=approval.approvers,
            four_eyes=terms.four_eyes,
            notify=bool(terms.webhook),
            shown=shown,
            grant=self._granting(approval.grant, call, plain, visible, terms.mask),
        )

    def _shown(
        self, trial: Trial, answer: Answer, visible: dict[str, Any], hidden: tuple[str, ...],
        takes: tuple[Reservation, ...],
    ) -> Shown:  # fmt: skip
        call, caller, decision = trial.call, trial.caller, answer.decision
        terms = trial.bundle.terms
        text = strict_json.encode(visible).decode()
        other = approval_binding.beside(call.params).decode()
        if len(text) + len(other) > MAX_SHOWN:
            raise TooLargeToShow
        place = terms.place_of(call.tool, decision.rule)
        risk = terms.risks.of(call.tool)
        limited = [
            (taken, item.rule)
            for taken, item in zip(takes, decision.reserve, strict=True)
            if item.limit is not None and not item.shadow
        ]
        principal = caller.principal
        return Shown(
            arguments=text,
            masked=hidden,
            other=other,
            rule=decision.rule,
            reason=safe_reason(decision),
            file=place[0],
            line=place[1],
            risk_class=risk.risk_class or "",
            severity=risk.severity or "",
            asker=principal.subject if principal is not None else "",
            issuer=principal.issuer if principal is not None else "",
            client=caller.client,
            session=caller.session,
            recent=self.recent.of(holder_of(caller)),
            takes=tuple(taken for taken, _ in limited),
            limits=tuple(rule for _, rule in limited),
        )

    def _granting(
        self, granting: Granting | None, call: ToolCall, plain: Plain, visible: dict[str, Any], masks: tuple[Path, ...]
    ) -> GrantTerms | None:  # fmt: skip
        def digest(text: str) -> str:
            return self._hash("grant", self._server, call.tool, "", "", text.encode())

        if granting is None:
            return None
        return terms_of(granting, plain, visible, approval_binding.lasting_beside(call.params), masks, digest)

    def _same_call(self, tool: str, arguments: Plain) -> str:
        return self._hash("call", self._server, "", "", "", approval_binding.same_call(tool, arguments))

    def _hash(self, kind: str, server: str, tool: str, holder: str, content: str, document: bytes) -> str:
        """A keyed hash of parts, none of which can run into the next."""
        hashed = hmac.new(self._key, digestmod=hashlib.sha256)
        for part in (kind.encode(), server.encode(), tool.encode(), holder.encode(), content.encode(), document):
            hashed.update(len(part).to_bytes(8, "big"))
            hashed.update(part)
        return hashed.hexdigest()
