"""The questions that the engine is asked, as the bodies of its requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from sidecar.ledger.values import Amount
from sidecar.mcp.protocol import TOOLS_CALL, TOOLS_LIST

VERSION: Final = 1

CANARY_ALLOWED: Final = "intercept/canary-allowed"
CANARY_DENIED: Final = "intercept/canary-denied"
RESERVED: Final = "intercept/"
"""Reserved for canaries, about which the library answers whatever the policy says: no real tool has such a name."""

Document: TypeAlias = Mapping[str, Any] | msgspec.Raw
"""A JSON object in a question; one that many questions share is encoded in advance (`fragment`)."""


class Form:
    """The question about calls of one tool, encoded in advance except for what differs from call to call.

    `workload` describes where we run; what is not known is left out.
    """

    __slots__ = ("_head", "_workload")

    def __init__(self, server: str, tool: str, workload: Document | None = None) -> None:
        head = _encode({"input": {"version": VERSION, "method": TOOLS_CALL, "server": server, "tool": tool}})
        self._head = head.removesuffix(b"}}") + b',"arguments":'
        self._workload = b',"workload":' + _encode(workload) if workload else b""

    def filled(
        self, arguments: Mapping[str, Any], counters: Mapping[str, Amount] | None = None,
        principal: Document | None = None,
    ) -> bytes:  # fmt: skip
        """The body of the request that asks about one call; `arguments` are those that `Projection.of` gives.

        `principal` describes who calls.
        """
        who = b',"principal":' + _encode(principal) if principal else b""
        counted = b',"counters":' + _encode(counters) if counters else b""
        return b"".join((self._head, _encode(arguments), who, self._workload, counted, b"}}"))


def question(
    server: str, tool: str, arguments: Mapping[str, Any], counters: Mapping[str, Amount] | None = None,
    *, principal: Document | None = None, workload: Document | None = None,
) -> bytes:  # fmt: skip
    """The body of the request that asks about one call; the parts as in `Form`."""
    return Form(server, tool, workload).filled(arguments, counters, principal)


def question_about_list(
    server: str, tools: Sequence[str], *, principal: Document | None = None, workload: Document | None = None
) -> bytes:  # fmt: skip
    """The body of the request that asks which tools to show; the rest as in `question`."""
    asked: dict[str, Any] = {"version": VERSION, "method": TOOLS_LIST, "server": server, "tools": tools}
    if principal:
        asked["principal"] = principal
    if workload:
        asked["workload"] = workload
    return _encode({"input": asked})


def fragment(document: Mapping[str, Any]) -> msgspec.Raw | None:
    """A document that many questions share, encoded once; None for an empty one."""
    return msgspec.Raw(_encode(document)) if document else None


def question_about_engine() -> bytes:
    """The body of the request that asks which version of OPA answers, and under which policy."""
    return _encode({"input": {"version": VERSION, "method": "intercept/engine"}})


# As numbers, not as texts: totals of counters may be decimals.
_encode = msgspec.json.Encoder(decimal_format="number").encode
