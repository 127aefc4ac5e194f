"""Recorded calls judged by another policy: which of them it decides otherwise, and which cannot be asked about again.

Each call is judged at the time at which it was recorded, in the order of the lines, with what the line has of it.
Counters begin at 0 with the first line. Nothing is sent to a server, and no person is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from sidecar.auth.caller import Caller
from sidecar.auth.principal import Principal
from sidecar.errors import StartError
from sidecar.mcp.protocol import ClientInfo
from sidecar.policy.bundle import Bundle
from sidecar.policy.custom import CUSTOM
from sidecar.policy.rule_index import RuleIndex
from sidecar.rehearsal.judging import Action, Judgement, Rehearsal, rehearsal
from sidecar.rehearsal.outcome import ASKED, NO_POLICY, STRICTNESS
from sidecar.rehearsal.recordings.files import Line
from sidecar.rehearsal.recordings.recorded import Recorded, without
from sidecar.text import shown

LIMITS: Final = frozenset({"rate_limit", "spend_limit"})


class Change(msgspec.Struct, frozen=True):
    """A call that is decided otherwise: `old` was recorded, `new` is what the policy says.

    `rule` is the rule that decides, and stands at `line`, as `file:line`. Where none decides any more, `rule` is empty
    and `line` that of the rule that did, if the policy still has one of its name. `old_rule` is the recorded one.
    """

    tool: str
    arguments: dict[str, Any]
    old: Action
    new: Action
    line: str
    rule: str
    reason: str
    old_rule: str
    recorded: str

    @property
    def loosens(self) -> bool:
        """True where the call passes that did not, or passes without a person."""
        return STRICTNESS[self.new] < STRICTNESS[self.old]


class NotReplayable(msgspec.Struct, frozen=True):
    """A call that says nothing of the policy, and why."""

    tool: str
    why: str
    recorded: str


class Replay(msgspec.Struct, frozen=True):
    """What became of all calls of a recording, in the order of its lines.

    Of what loosens, first comes what was refused and passes, then what passes without a person, then what was refused
    and a person is asked about.
    """

    loosened: tuple[Change, ...]
    tightened: tuple[Change, ...]
    unchanged: int
    not_replayable: tuple[NotReplayable, ...]

    @property
    def opens(self) -> bool:
        """True where some call passes that did not."""
        return any(change.new == "allow" for change in self.loosened)


Result = Change | NotReplayable | None
"""What became of one call; None where it is decided as before."""


async def replay(lines: Callable[[], Iterable[Line]], bundle: Bundle, opa: Path) -> Replay:
    """Judge the calls of a recording, which `lines` reads from its beginning, by `bundle`.

    Raises `StartError` where the engine does not answer.
    """
    found: list[tuple[int, Result]] = []
    for server, workload in _places(lines()):
        async with rehearsal(bundle, opa, server=server or "recorded", workload=dict(workload)) as judging:
            replaying = _Replaying(judging)
            for number, line in enumerate(lines()):
                if _place(line.call) == (server, workload):
                    found.append((number, await replaying.judge(line)))
    results = [result for _, result in sorted(found, key=lambda one: one[0])]
    changes = [result for result in results if isinstance(result, Change)]
    return Replay(
        loosened=tuple(sorted((change for change in changes if change.loosens), key=_gravity)),
        tightened=tuple(change for change in changes if not change.loosens),
        unchanged=results.count(None),
        not_replayable=tuple(result for result in results if isinstance(result, NotReplayable)),
    )


def _gravity(change: Change) -> tuple[bool, bool]:
    return change.new != "allow", change.old != "deny"


def _places(lines: Iterable[Line]) -> Iterator[tuple[str, tuple[tuple[str, str], ...]]]:
    """The servers of a recording and where they ran: counters of different servers are different."""
    yield from dict.fromkeys(_place(line.call) for line in lines)


def _place(call: Recorded) -> tuple[str, tuple[tuple[str, str], ...]]:
    return call.server, tuple(sorted(call.workload.items()))


class _Replaying:
    """Replays the calls of one server."""

    def __init__(self, judging: Rehearsal) -> None:
        self._judging = judging
        self._bundle = judging.bundle
        self._rules = RuleIndex(judging.bundle.terms)
        self._has_begun = False
        self._has_passed = False

    async def judge(self, line: Line) -> Result:
        """Judge the next call."""
        call = line.call
        why = _why_not(call, self._bundle)
        said = None
        if why is None:
            said = await self._say(call)
            why = self._why_not_by(call, said)
        self._has_passed = self._has_passed or call.decision == "allow"
        if why is not None or said is None:
            return NotReplayable(call.tool, why or "", line.place)
        old, new = _old(call), _new(call, said)
        return None if old == new else self._change(line, said, old, new)

    async def _say(self, call: Recorded) -> Judgement:
        moment = call.moment
        self._judging.now = max(self._judging.now, moment) if self._has_begun else moment
        self._has_begun = True
        said = await self._judging.judge(call.tool, call.sent, caller_of(call))
        if said.kind in ("engine_unavailable", "store_unavailable"):
            raise StartError(f"the recording cannot be replayed to its end: {said.reason}")
        return said

    def _why_not_by(self, call: Recorded, said: Judgement) -> str | None:
        """Why what the policy says of a call cannot be compared, None where it can."""
        old, new = _old(call), _new(call, said)
        if new == "approval" and _person_answered(call):
            return "an approval: a person answered, and what a person would say now cannot be replayed"
        if old == new:
            return None
        by_counter = bool(LIMITS & {call.kind, said.kind}) or bool(self._bundle.terms.reads_of(call.tool).counters)
        if by_counter and call.revision == self._bundle.revision:
            return "a counter: the very same policy decided otherwise, by what was counted when it was recorded"
        if call.kind == "rate_limit" and not self._has_passed:
            return "a counter: its limit was used up by calls before the recording"
        return None

    def _change(self, line: Line, said: Judgement, old: Action, new: Action) -> Change:
        call = line.call
        place = f"{said.file}:{said.line}" if said.file else ""
        if not said.rule and (gone := self._rules.find(call.tool, call.rule)) is not None:
            place = f"{gone.file}:{gone.line}"
        return Change(call.tool, call.arguments, old, new, place, said.rule, said.reason, call.rule, line.place)


def _why_not(call: Recorded, bundle: Bundle) -> str | None:
    """Why a call cannot be asked about at all, None where it can."""
    if call.kind in NO_POLICY:
        return f"no policy decided it: {shown(call.kind)}"
    if _reads_the_clock(bundle):
        return "hand-written Rego reads the clock with time.now_ns: the time of the call is input.time"
    reads = bundle.terms.reads_of(call.tool)
    missing = without(call, reads)
    if not missing:
        return None
    if reads.whole:
        return "hand-written Rego may read anything, and not all of the call was kept: record with --record-all"
    unkept = without(msgspec.structs.replace(call, masked=()), reads)
    if unkept:
        return f"not kept: {', '.join(map(shown, unkept))}, which a rule reads"
    return f"kept as a hash only: {', '.join(map(shown, missing))}, which a rule reads"


def _reads_the_clock(bundle: Bundle) -> bool:
    """True where the engine may be asked what time it is now; a comment that says so counts too, for safety."""
    return any(path.startswith(f"{CUSTOM}/") and "now_ns" in text for path, text in bundle.files.items())


def _person_answered(call: Recorded) -> bool:
    return call.kind == "approval_denied" or (call.decision == "allow" and bool(call.approval))


def _old(call: Recorded) -> Action:
    """What policy said of the call when it was recorded."""
    return "approval" if call.kind in ASKED or _person_answered(call) else call.decision


def _new(call: Recorded, said: Judgement) -> Action:
    """What the policy says of it. One that only monitors lets everything pass; compared is what it would say where the
    recorded one only monitored too."""
    return "allow" if said.forwarded and call.mode != "monitor" else said.action


def caller_of(call: Recorded) -> Caller:
    """Who made a recorded call."""
    by, client = call.principal, call.client
    principal = Principal(by.subject, by.issuer, by.claims) if by is not None else None
    if client is None:
        return Caller(call.session, principal=principal)
    name = client.name if isinstance(client.name, str) else ""
    return Caller(call.session, shown(name), principal, ClientInfo(shown(name), client.name, client.version))
