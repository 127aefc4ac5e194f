"""The audit log: one JSON line for each decision, for what became of the call, and for what changes who may do what.

What the lines say is in `audit/members`, with no argument value in it. By `arguments_hash` lines about the same
arguments can be found.
"""

from __future__ import annotations

import time as clock
from collections import deque
from collections.abc import Callable
from time import time
from typing import Final

from sidecar.audit.hashes import Hashes
from sidecar.audit.members import approvals, calls, running
from sidecar.audit.sign_ins import FAILURES, Later, SignIns
from sidecar.audit.trail import SCHEMA, Trail
from sidecar.enforce.call_cache import CachedCall, CachedLine
from sidecar.events import (
    ApprovalChanged,
    ApprovalTried,
    AuditFailed,
    BundleJudged,
    Decided,
    EngineReady,
    Handlers,
    HttpRefused,
    Judged,
    MethodDenied,
    Refused,
    Reloaded,
    Settled,
    Started,
    Stopped,
)
from sidecar.mcp.jsonrpc import Request
from sidecar.mcp.protocol import TOOLS_CALL
from sidecar.mcp.tool_call import Outcome, Prepared, PreparedCall
from sidecar.policy.rule_index import RuleIndex

OUTCOMES_WAIT: Final = 0.02
"""Seconds that outcomes wait for others: neither an answer nor the next call waits for their lines to be made."""
TOGETHER: Final = 64
"""Outcomes that are written at once: so many take some 0.1 ms, in which no call goes on."""

_HEAD: Final = f'{{"schema":{SCHEMA},"time":"'
_SUCCEEDED: Final = Outcome.SUCCEEDED  # an attribute of an enum takes 0.1 µs
_MOST_TOOLS: Final = 1_024
"""Names of tools of which it is kept what the line of a call that was answered says."""


class Audit:
    """Writes to `trail`; `key` keys the hashes, `instance` names this sidecar.

    Decisions that are made together are written together, and before any of their calls is forwarded. Outcomes are
    written soon after, by `later`, which calls a function after so many seconds; without it they are written at once.
    Every other line comes behind all outcomes before it.
    """

    def __init__(self, trail: Trail, key: bytes, instance: str, later: Later | None = None) -> None:
        self._trail = trail
        self._hashes = Hashes(key)
        self._instance = instance
        self._later = later
        self._is_timed = False
        self._ended: deque[tuple[float, Settled]] = deque()
        self._since = self._until = 0.0
        self._second = -1
        self._stamp = self._head = ""
        self._lines: list[bytes] = []
        self._decisions = self._outcomes = 0
        self._others: dict[str, int] = {}
        self._answered: dict[str, str] = {}
        self._in_force: tuple[str, int] | None = None
        self._rules: RuleIndex | None = None
        self._sign_ins = SignIns(self._tell_sign_in, later or _never)
        self.handlers: Handlers = {
            Decided: self._decided, Judged: self._judged, Settled: self._settled, Refused: self._refused,
            MethodDenied: self._method_denied, ApprovalChanged: self._approval_changed,
            ApprovalTried: self._approval_tried, HttpRefused: self._http_refused, EngineReady: self._engine_ready,
            Reloaded: self._reloaded, BundleJudged: self._bundle_judged, Started: self._started, Stopped: self._stopped,
            AuditFailed: self._audit_failed,
        }  # fmt: skip

    def prepare(self, request: Request) -> Request:
        """The same request, with what takes long for a large call worked out on whatever thread it is read."""
        arguments = (request.params or {}).get("arguments")
        if request.method != TOOLS_CALL or type(arguments) is not dict:
            return request
        return Prepared(
            request.id, request.method, request.params, request.raw, request.members,
            arguments_hash=self._hashes.of_arguments(arguments),
        )  # fmt: skip

    def written(self) -> dict[str, int]:
        """How many lines were made until now, by event. Those that could not be written are among them."""
        return {"decision": self._decisions, "outcome": self._outcomes, **self._others}

    def close(self) -> None:
        """Write what waits."""
        self._sign_ins.summarize()
        self._catch_up()

    def _decided(self, event: Decided) -> None:
        self._decisions += 1
        call, ruling = event.call, event.ruling
        kept = call.memo.line if type(call) is CachedCall else None
        about = (
            kept.line
            if kept is not None and kept.ruling is ruling and kept.caller is event.caller
            else self._about(event)
        )
        id_hash = self._hashes.kept.get(call.id) or self._hashes.of_id(call.id)
        end = f'","approval":"{event.approval}"}}' if event.approval else '"}'
        if call.trace is not None:
            end = f'","trace_id":"{call.trace.trace_id}{end}'
        self._lines.append(
            f'{self._at(time())}decision","decision_id":"{event.decision_id}",{about},"milliseconds":'
            f'{event.seconds * 1000:.3f},"rpc_id_hash":"{id_hash}{end}'.encode()
        )

    def _judged(self, _: Judged) -> None:
        self._write()

    def _settled(self, event: Settled) -> None:
        self._ended.append((time(), event))
        if self._later is None:
            self._catch_up()
        elif not self._is_timed:
            self._is_timed = True
            self._later(OUTCOMES_WAIT, self._time_over)

    def _time_over(self) -> None:
        try:
            self._write_ended()
        finally:  # whatever became of these, the others are written
            self._is_timed = bool(self._ended)
            if self._is_timed and self._later is not None:
                self._later(0, self._time_over)  # others have their turn before

    def _write_ended(self) -> None:
        """Write the oldest outcomes that wait."""
        next_one, at, answered = self._ended.popleft, self._at, self._answered
        ended = [next_one() for _ in range(min(TOGETHER, len(self._ended)))]
        self._outcomes += len(ended)
        lines = []
        for when, event in ended:
            about = answered.get(event.tool) if event.outcome is _SUCCEEDED else None
            lines.append(
                f'{at(when)}outcome","decision_id":"{event.decision_id}",{about or self._about_outcome(event)}'
                f',"milliseconds":{event.seconds * 1000:.3f}}}'.encode()
            )
        self._trail.write(lines)

    def _about_outcome(self, event: Settled) -> str:
        """What the line of a call that ended says; kept for answered calls, which say the same for one tool."""
        about = calls.settled(self._instance, event).decode()
        if event.outcome is _SUCCEEDED:
            if len(self._answered) >= _MOST_TOOLS:
                self._answered.clear()
            self._answered[event.tool] = about
        return about

    def _catch_up(self) -> None:
        """Write all that waits: decisions, which were made before what ended could be known, and then what ended."""
        self._write()
        while self._ended:
            self._write_ended()

    def _refused(self, event: Refused) -> None:
        self._refuse(event.decision_id, calls.refused(self._instance, event))

    def _method_denied(self, event: MethodDenied) -> None:
        self._refuse(event.decision_id, calls.method_denied(self._instance, event))

    def _refuse(self, decision_id: str, about: bytes) -> None:
        self._catch_up()
        self._decisions += 1
        self._lines.append(f'{self._at(time())}decision","decision_id":"{decision_id}",{about.decode()}}}'.encode())
        self._write()

    def _approval_changed(self, event: ApprovalChanged) -> None:
        self._tell("approval", approvals.changed(self._instance, event))

    def _approval_tried(self, event: ApprovalTried) -> None:
        self._tell("approval_refused", approvals.tried(self._instance, event))

    def _http_refused(self, event: HttpRefused) -> None:
        if event.reason in FAILURES:
            self._sign_ins.failed(event)

    def _tell_sign_in(self, event: HttpRefused, times: int) -> None:
        self._tell("sign_in_failed", running.sign_in_failed(self._instance, event, times))

    def _engine_ready(self, event: EngineReady) -> None:
        before, self._in_force = self._in_force, (event.revision, event.serial)
        if before == self._in_force:
            return  # the engine is well again, and nothing changed
        self._rules = RuleIndex(event.terms)
        if before is not None:  # the line of the start says the first one
            self._tell("policy", running.policy_in_force(self._instance, event))

    def _reloaded(self, event: Reloaded) -> None:
        if not event.accepted:
            self._tell("policy", running.files_refused(self._instance, event))

    def _bundle_judged(self, event: BundleJudged) -> None:
        if event.refused:
            self._tell("policy", running.bundle_refused(self._instance, event))

    def _started(self, event: Started) -> None:
        self._tell("start", running.started(self._instance, event))

    def _stopped(self, event: Stopped) -> None:
        self._sign_ins.summarize()
        self._tell("stop", running.stopped(self._instance, event))

    def _audit_failed(self, event: AuditFailed) -> None:
        if not event.text:  # lines are written again, the first of them says what is lost
            self._count("lost")

    def _tell(self, event: str, about: bytes) -> None:
        self._catch_up()
        self._count(event)
        self._lines.append(f'{self._at(time())}{event}",{about.decode()}}}'.encode())
        self._write()

    def _count(self, event: str) -> None:
        self._others[event] = self._others.get(event, 0) + 1

    def _about(self, event: Decided) -> str:
        """All that is the same for calls that say the same, of one caller and with one ruling; it is kept with them."""
        about = self._members_of(event).decode()
        if type(event.call) is CachedCall:
            event.call.memo.line = CachedLine(event.ruling, event.caller, about)
        return about

    def _members_of(self, event: Decided) -> bytes:
        call, ruling = event.call, event.ruling
        hashed = call.arguments_hash if type(call) is PreparedCall else self._hashes.of_arguments(call.arguments)
        place = None
        # By another policy than the one in force the call was judged just before that came.
        if ruling.rule and self._rules is not None and (ruling.revision, ruling.serial) == self._in_force:
            place = self._rules.find(call.tool, ruling.rule)
        return calls.decided(self._instance, event, hashed, (place.file, place.line) if place is not None else None)

    def _at(self, seconds: float) -> str:
        """The beginning of a line with its time, given in Unix seconds; kept for the millisecond, and the second."""
        if not self._since < seconds < self._until:
            moment = int(seconds * 1000)
            # Nearer to its ends rounding might make it another millisecond: there it is worked out each time.
            self._since, self._until = (moment + 0.001) / 1000, (moment + 0.999) / 1000
            second, rest = divmod(moment, 1000)
            if second != self._second:
                self._second = second
                self._stamp = _HEAD + clock.strftime("%Y-%m-%dT%H:%M:%S", clock.gmtime(second))
            self._head = f'{self._stamp}.{rest:03d}Z","event":"'
        return self._head

    def _write(self) -> None:
        if self._lines:
            lines, self._lines = self._lines, []
            # Where this fails their calls are refused, and no other calls after them.
            self._trail.write(lines)


def _never(_: float, __: Callable[[], None]) -> None:
    """For whoever writes no outcomes and hears of no sign-ins."""
