"""The question to the engine and its answer, as values: what is asked of it, and the one shape that counts as decided.

Source: design of the input and decision documents; an answer of any other shape, revision or serial is no answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import msgspec

from sidecar.errors import EngineUnavailable, InvalidMessage
from sidecar.jsonrpc import INVALID_PARAMS, encode
from sidecar.ledger.values import NAMED_WINDOWS
from sidecar.policy.bundle import Bundle
from sidecar.protocol import ToolCall
from sidecar.text import shown

VERSION: Final = 1

CANARY_ALLOWED: Final = "intercept/canary-allowed"
CANARY_DENIED: Final = "intercept/canary-denied"
RESERVED: Final = "intercept/"
"""No real tool is asked about under such a name: the library answers for the canaries whatever the policy says."""


class Reserve(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an allowed call takes from one counter; `window` is in seconds or one of the named ones."""

    counter: str
    amount: int
    limit: int
    window: int | Literal["minute", "hour", "day"]
    scope: Literal["global", "session"]
    rule: str
    reason: str
    kind: str

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


class Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The engine's answer about one call, complete: every field must be there and no other."""

    version: Literal[1]
    action: Literal["allow", "deny"]
    kind: str
    rule: str
    reason: str
    violations: tuple[Violation, ...]
    reserve: tuple[Reserve, ...]
    approval: None
    revision: str
    serial: int


class Answer(msgspec.Struct, frozen=True):
    """A decision, the engine's own id for it where its decision log gives one, and whether it was remembered."""

    decision: Decision
    engine_id: str | None
    remembered: bool = False


class _Reply(msgspec.Struct, frozen=True):
    result: Decision
    decision_id: str | None = None


def question(server: str, tool: str, arguments: Mapping[str, Any]) -> bytes:
    """The body of the request that asks about one call; `arguments` is what `project` left of them."""
    return encode({
        "input": {
            "version": VERSION,
            "method": "tools/call",
            "server": server,
            "tool": tool,
            "arguments": arguments,
        }
    })  # fmt: skip


def question_about(call: ToolCall, server: str, bundle: Bundle) -> bytes:
    """The question about one call under one bundle. Raises `InvalidMessage` for look-alike keys (see `project`)."""
    try:
        arguments = project(call.arguments, bundle.terms.reads_of(call.tool))
    except ValueError as problem:
        raise InvalidMessage(INVALID_PARAMS, str(problem), call.id) from None
    return question(server, call.tool, arguments)


def project(arguments: Mapping[str, Any], paths: Iterable[tuple[str, ...]]) -> dict[str, Any]:
    """The part of the arguments that lies on the paths: all that a policy which reads only them can depend on.

    Raises ValueError when an object on a path has two keys that differ only in case, one of them read: servers exist
    that take the other one for it.
    """
    kept: dict[str, Any] = {}
    for path in paths:
        source: Any = arguments
        target = kept
        for step in path[:-1]:
            source = _step(source, step)
            if type(source) is not dict:
                break
            target = target.setdefault(step, {})
        else:
            last = path[-1]
            value = _step(source, last)
            if value is not msgspec.UNSET:
                target[last] = value
    return kept


def _step(source: Mapping[str, Any], step: str) -> Any:
    if len(source) > 1:
        folded = step.casefold()
        if sum(key.casefold() == folded for key in source) > 1:
            raise ValueError(f"the arguments have keys that differ from {shown(step)!r} only in case: send one of them")
    return source.get(step, msgspec.UNSET)


def read_answer(body: bytes, bundle: Bundle) -> Answer:
    """The engine's reply under `bundle`. Raises `EngineUnavailable` unless it has exactly the agreed shape."""
    try:
        reply = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise EngineUnavailable("shape", "the policy engine's answer has not the agreed shape") from None
    decision = reply.result
    if decision.kind == "undecided":
        raise EngineUnavailable("undecided", "the policy engine could not decide this call")
    if decision.revision != bundle.revision or decision.serial != bundle.serial:
        raise EngineUnavailable("revision", "the policy engine answered by another policy than the one in force")
    if decision.action == "allow" and (decision.violations or not all(map(_countable, decision.reserve))):
        raise EngineUnavailable("shape", "the policy engine's answer contradicts itself")
    if decision.action == "deny" and (decision.reserve or not decision.reason):
        raise EngineUnavailable("shape", "the policy engine's answer contradicts itself")
    return Answer(decision, reply.decision_id)


_decode = msgspec.json.Decoder(_Reply).decode


def _countable(reserve: Reserve) -> bool:
    return reserve.amount >= 0 and reserve.seconds > 0
