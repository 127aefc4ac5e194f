"""The answers of the engine as values, and the one shape of each that counts.

An answer of any other shape is no answer.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from sidecar.errors import EngineUnavailable
from sidecar.ledger.values import Amount
from sidecar.policy.model import NAMED_WINDOWS, SCOPES
from sidecar.text import visible

NAMED_FROM_OUTSIDE: Final = frozenset({"default_deny", "hidden"})
"""Kinds of denial whose message the engine makes of the tool's name, as the client wrote it."""


CONDITION_PROBLEMS: Final = ("missing_path", "wrong_type")
"""Why a condition could not be judged: no value is at its path, or one that it cannot compare."""


class Reserve(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an allowed call takes from one counter; `window` is in seconds, or a named one.

    `limit` is None if the rule only counts; `exclusive` means that the total must stay below the limit, `sliding` that
    the window ends now. With `each_tool` the counter is another one for each tool that is called. A rule in `shadow`
    counts apart: its limit stops nothing, and the call passes whether it can be counted or not.
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
    each_tool: bool = False
    sliding: bool = False
    shadow: bool = False

    @property
    def seconds(self) -> int:
        """The length of the window."""
        return self.window if isinstance(self.window, int) else NAMED_WINDOWS[self.window]

    @property
    def never_fits(self) -> bool:
        """True where the call alone is above the limit, though nothing was taken before it."""
        if self.limit is None:
            return False
        return self.amount >= self.limit if self.exclusive else self.amount > self.limit


class Violation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One reason to refuse; `monitor` means that the rule only reports, `shadow` that it is only tried."""

    rule: str
    reason: str
    kind: str
    monitor: bool
    shadow: bool = False


AboveZero: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]
Way: TypeAlias = Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
"""A path into the arguments, as steps."""


class Granting(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"seconds": "for"}):
    """What an approver may agree to beyond one call; at some path its values must be the same."""

    seconds: AboveZero
    calls: AboveZero
    same: Annotated[tuple[Way, ...], msgspec.Meta(min_length=1)]
    at_most: tuple[Way, ...]


class Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The approval that a call needs; times in seconds.

    `content` stands for the content of all the rules that ask: another one after an edit of any of them. With several
    such rules the shortest times and the most approvers count, and there is no `grant`.
    """

    timeout: AboveZero
    use_within: AboveZero
    approvers: AboveZero
    content: Annotated[str, msgspec.Meta(min_length=1)]
    grant: Granting | None = None


class Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The engine's answer about one call: every field must be there, and no other."""

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
    """The engine's answer about a list: the tools to show, and why each of the others is not shown."""

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
    """A decision, and the engine's id for it if its decision log gives one.

    `remembered` where it repeats the answer that somebody else got. `recalled` where that was before: from the decision
    cache, so it counts only while the engine is known to live. Who asked while the same question was under way has an
    answer that is as fresh as the first one's.
    """

    decision: Decision
    engine_id: str | None
    remembered: bool = False
    recalled: bool = False


def without_shadow(answer: Answer) -> Answer:
    """The same answer without what rules in shadow say and count."""
    violations = tuple(item for item in answer.decision.violations if not item.shadow)
    return uncounted(
        msgspec.structs.replace(answer, decision=msgspec.structs.replace(answer.decision, violations=violations))
    )


def uncounted(answer: Answer, scopes: Collection[str] = SCOPES) -> Answer:
    """The same answer without what rules in shadow count by one of these scopes."""
    reserve = tuple(item for item in answer.decision.reserve if not (item.shadow and item.scope in scopes))
    return msgspec.structs.replace(answer, decision=msgspec.structs.replace(answer.decision, reserve=reserve))


def safe_reason(said: Decision | Violation) -> str:
    """A reason of the engine's. The author's own words stay; a name that the client chose must not hide anything."""
    return visible(said.reason) if said.kind in NAMED_FROM_OUTSIDE else said.reason


def problem_of(said: Violation) -> str:
    """Which of `CONDITION_PROBLEMS` made a rule refuse, as the engine says behind its words; empty where it says none.

    It says so of rules for which the policy gives no reason (`missing` in `rego/intercept/decision.rego`).
    """
    return next((problem for words, problem in _PROBLEMS if said.reason.endswith(words)), "")


_PROBLEMS: Final = (
    ("; it is missing", "missing_path"), ("; it is null", "wrong_type"), ("; it is no number", "wrong_type"),
    ("; it is no text", "wrong_type"),
)  # fmt: skip


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
    if any(violation.shadow and not violation.monitor for violation in decision.violations):
        raise _bad_shape()
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
    """The engine's answer about itself. Raises `EngineUnavailable` if it has not loaded our policy."""
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
