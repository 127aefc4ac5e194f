"""The question to the engine and its answer, as values: what is asked of it, and the one shape that counts as decided.

Source: design of the input and decision documents; an answer of any other shape, revision or serial is no answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias

import msgspec

from sidecar.errors import EngineUnavailable
from sidecar.ledger.values import Amount
from sidecar.mcp.protocol import TOOLS_CALL, TOOLS_LIST
from sidecar.policy.model import NAMED_WINDOWS

VERSION: Final = 1

CANARY_ALLOWED: Final = "intercept/canary-allowed"
CANARY_DENIED: Final = "intercept/canary-denied"
RESERVED: Final = "intercept/"
"""No real tool is asked about under such a name: the library answers for the canaries whatever the policy says."""

Document: TypeAlias = Mapping[str, Any] | msgspec.Raw
"""A JSON object in a question, encoded already where it stands in many (`fragment`)."""


class Reserve(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a call that passes takes from one counter; `window` is in seconds or one of the named ones.

    `limit` is None where the rule only counts; `exclusive` is true where the total must stay below it.
    """

    counter: str
    amount: Amount
    limit: Amount | None
    window: int | Literal["minute", "hour", "day"]
    scope: Literal["global", "session", "principal"]
    rule: str
    reason: str
    kind: str
    exclusive: bool = False

    @property
    def seconds(self) -> int:
        """The length of the window."""
        return self.window if isinstance(self.window, int) else NAMED_WINDOWS[self.window]


class Violation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One reason to refuse; `monitor` is true where the rule only reports."""

    rule: str
    reason: str
    kind: str
    monitor: bool


class Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The approval that a call needs; times in seconds."""

    timeout: int
    use_within: int
    approvers: int


class Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The engine's answer about one call, complete: every field must be there and no other."""

    version: Literal[1]
    action: Literal["allow", "deny", "require_approval"]
    kind: str
    rule: str
    reason: str
    violations: tuple[Violation, ...]
    reserve: tuple[Reserve, ...]
    approval: Approval | None
    revision: str
    serial: int


class Visible(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The engine's answer about a list: the tools to show, and the rule by which each other is hidden."""

    version: Literal[1]
    visible: tuple[str, ...]
    hidden: dict[str, str]
    revision: str
    serial: int


class AboutEngine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The engine's answer about itself: its version, and whether it takes signed bundles only."""

    version: Literal[1]
    engine: str
    verifies: bool
    revision: str
    serial: int


class Answer(msgspec.Struct, frozen=True):
    """A decision, the engine's own id for it where its decision log gives one, and whether it was remembered."""

    decision: Decision
    engine_id: str | None
    remembered: bool = False


class Form:
    """The question about the calls of one tool, encoded but for what differs from call to call.

    `workload` is the document of where we run; what is not known is left out.
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
        """The body of the request that asks about one call; `arguments` is what `Projection.of` left of them.

        `principal` is the document of who calls.
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
    """A document that stands in many questions, encoded once; None for an empty one."""
    return msgspec.Raw(_encode(document)) if document else None


def question_about_engine() -> bytes:
    """The body of the request that asks which OPA answers."""
    return _encode({"input": {"version": VERSION, "method": "intercept/engine"}})


# Numbers stay numbers, also the decimals among the totals of counters.
_encode = msgspec.json.Encoder(decimal_format="number").encode


def read_answer(body: bytes) -> Answer:
    """The engine's answer about a call. Raises `EngineUnavailable` unless it has exactly the agreed shape."""
    try:
        reply = _decode_call(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise _bad_shape() from None
    decision = reply.result
    if decision.kind == "undecided":
        raise EngineUnavailable("undecided", "the policy engine could not decide this call")
    refused = any(not violation.monitor for violation in decision.violations)
    asked = decision.action == "require_approval"
    if refused is not (decision.action == "deny") or asked is not (decision.approval is not None):
        raise _bad_shape()
    if (refused and decision.reserve) or not all(map(_countable, decision.reserve)):
        raise _bad_shape()
    if (refused or asked) and not decision.reason:
        raise _bad_shape()
    return Answer(decision, reply.decision_id)


def read_visible(body: bytes, asked: Sequence[str]) -> Visible:
    """The engine's answer about a list of `asked` tools. Raises `EngineUnavailable` as `read_answer` does."""
    try:
        visible = _decode_list(body).result
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise _bad_shape() from None
    if set(visible.visible) | visible.hidden.keys() != set(asked) or visible.hidden.keys() & set(visible.visible):
        raise _bad_shape()
    return visible


def read_about_engine(body: bytes) -> AboutEngine:
    """What the engine says of itself. Raises `EngineUnavailable` when it says nothing."""
    try:
        result = _decode_engine(body).result
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise _bad_shape() from None
    if result is None:
        raise EngineUnavailable("no_policy", _NO_POLICY)
    return result


_NO_POLICY: Final = (
    "the policy engine runs but has not loaded our policy: it must fetch it from --bundle-listen, show the token of "
    "--bundle-token-file, and have the public half of --bundle-signing-key"
)


class _EngineReply(msgspec.Struct, frozen=True):
    result: AboutEngine | None = None


class _CallReply(msgspec.Struct, frozen=True):
    result: Decision
    decision_id: str | None = None


class _ListReply(msgspec.Struct, frozen=True):
    result: Visible


_decode_call = msgspec.json.Decoder(_CallReply).decode
_decode_list = msgspec.json.Decoder(_ListReply).decode
_decode_engine = msgspec.json.Decoder(_EngineReply).decode


def _countable(reserve: Reserve) -> bool:
    numbers = [number for number in (reserve.amount, reserve.limit) if isinstance(number, Decimal)]
    return all(number.is_finite() for number in numbers) and reserve.amount >= 0 and reserve.seconds > 0


def _bad_shape() -> EngineUnavailable:
    return EngineUnavailable("shape", "the policy engine's answer has not the agreed shape")
