"""Prometheus metrics of calls and other messages of the client: what was decided, and how long that took."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice, repeat
from typing import Any, Final, NamedTuple, TypeVar

from sidecar.enforce.call_cache import CachedCall, CachedCount
from sidecar.events import Decided, Dropped, Handlers, Listed, MethodDenied, Passed, Refused
from sidecar.mcp.protocol import TOOLS_CALL
from sidecar.observe.metrics.components import Components
from sidecar.observe.metrics.foreseen import Foreseen, Foresight
from sidecar.observe.metrics.instruments import OTHER, Count, Instruments, Mark, Spread
from sidecar.observe.metrics.limits import LimitMetrics
from sidecar.observe.metrics.names import Names, method
from sidecar.observe.metrics.rules import RuleMetrics

MAX_COUNTED: Final = 20_000
"""Combinations of tool, client and ruling that are counted apart. Beyond them clients are `_other`, and beyond as many
again tools and rules too."""

MAX_OPENED: Final = 2_000
"""Decisions that are shown from 0; what calls get that nobody foresaw has the rest of the series."""

_JUDGING_BUCKETS = (5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 1)


_Item = TypeVar("_Item")


class _Counted(NamedTuple):
    """What one decision is counted by. `calls` is a part of the counts of requests, decisions and the client."""

    calls: Count
    judging: Spread
    engine: Spread
    by_rule: bool
    """True where `calls` is a part of the count of the rule that decided, too."""


class CallMetrics:
    """The calls of `server`; `clock` gives Unix seconds."""

    def __init__(
        self, made: Instruments, server: str, names: Names, rules: RuleMetrics, limits: LimitMetrics,
        components: Components, clock: Callable[[], float],
    ) -> None:  # fmt: skip
        self._server = server
        self._names = names
        self._rules = rules
        self._limits = limits
        self._components = components
        self._clock = clock
        self._counted: dict[tuple[Any, ...], _Counted] = {}
        self._era = object()
        """Another one whenever a name may have another label than before, or counts are begun anew."""
        self._decisions = made.counter(
            "decisions_total",
            "Decisions on tool calls, counted when each is made: a call that waits for a person is decided again "
            "afterwards. A message that cannot be read counts as a denial of the tool _other.",
            "tool", "decision", "kind", "rule", "mode", "cache",
        )  # fmt: skip
        self._agents = made.counter(
            "agent_decisions_total", "Decisions on tool calls by the name that the client gives itself.",
            "client", "decision",
        )  # fmt: skip
        self._judging = made.histogram(
            "decision_duration_seconds",
            "Time that deciding a call took, in seconds: all of it (phase total), and the part of it that OPA took "
            "(phase engine), which is not counted where OPA was not asked.",
            _JUDGING_BUCKETS, "phase", "cache",
        )  # fmt: skip
        self._requests = made.counter(
            "requests_total", "Messages of the client that were read and judged, tool calls included.", "method"
        )
        self._denied_methods = made.counter(
            "denied_methods_total", "Messages, not tool calls, whose method the policy denies.", "method", "mode"
        )
        self._dropped = made.counter(
            "dropped_messages_total", "Messages that were dropped, by who sent them: client or server.", "sender"
        )
        for sender in ("client", "server"):
            self._dropped.labels(server, sender)
        self._unread = self._decisions.labels(server, OTHER, "deny", "invalid_request", "", "enforce", "none")
        self.handlers: Handlers = {
            Decided: self._decided, Passed: self._passed, Refused: self._refused, MethodDenied: self._method_denied,
            Dropped: self._dropped_one, Listed: self._listed,
        }  # fmt: skip

    def activate(self, foresight: Foresight, foreseen: Mapping[str, Callable[[], Iterable[Foreseen]]]) -> None:
        """Another policy is in force: the first of each decision that it can give has to be an increase.

        `foreseen` says by the label of a tool what its calls can get.
        """
        # A name may be another rule's now. What was counted stays, and no part of a count is left that counts no more.
        self._counted.clear()
        self._era = object()
        for counts in (self._requests, self._decisions, self._agents):
            counts.fold()
        server, mode = self._server, foresight.mode
        ways = _in_turn([zip(repeat(tool), find()) for tool, find in foreseen.items()])
        wanted = ((tool, *way[:3], mode, "hit" if way.remembered else "miss") for tool, way in ways)
        self._decisions.open((server, *labels) for labels in islice(_once(wanted), MAX_OPENED))
        caches = ("miss", "hit") if foresight.remembers else ("miss",)
        self._judging.open((server, phase, cache) for phase in ("total", "engine") for cache in caches)
        self._requests.open((server, name) for name in foresight.requests())
        self._denied_methods.open((server, name, mode) for name in foresight.denied_methods())

    def _decided(self, event: Decided) -> None:
        ruling, call = event.ruling, event.call
        kept = call.memo.count if type(call) is CachedCall else None
        if kept is not None and kept.ruling is ruling and kept.caller is event.caller and kept.era is self._era:
            counted: _Counted = kept.counted
        else:
            counted = self._find(event)
        seconds, trace = event.seconds, call.trace
        mark: Mark = (event.decision_id, trace.trace_id if trace is not None else "", seconds, self._clock())
        counted.calls.hit(mark)
        counted.judging.observe(seconds, mark)
        if event.engine_seconds is not None:
            counted.engine.observe(event.engine_seconds, mark)
        if event.claim is not None:
            self._limits.counted(event.reserve, event.claim, call.tool)
        elif event.limited:
            self._limits.refused.inc()
        if ruling.violations or (ruling.rule and not counted.by_rule):
            self._rules.said(event, decider_counted=counted.by_rule)
        if self._components.troubled:
            self._components.decided(event)

    def _find(self, event: Decided) -> _Counted:
        """What a decision is counted by; it is kept with calls that say the same."""
        ruling, call, names = event.ruling, event.call, self._names
        tool, client = names.tool(call.tool), names.client(event.caller.client)
        key = (tool, client, ruling.allowed, ruling.kind, ruling.rule, ruling.mode, ruling.remembered)
        counted = self._counted.get(key)
        if counted is None:
            counted = self._counted_by(key, call.tool)
        if type(call) is CachedCall:
            call.memo.count = CachedCount(ruling, event.caller, self._era, counted)
        return counted

    def _counted_by(self, key: tuple[Any, ...], called: str) -> _Counted:
        tool, client, allowed, kind, rule, mode, remembered = key
        known = (tool, client, allowed, kind, self._names.rule(rule), mode, remembered)
        if len(self._counted) >= MAX_COUNTED:
            client = OTHER
            if len(self._counted) >= 2 * MAX_COUNTED:
                tool, rule = OTHER, OTHER if rule else ""
            known = (tool, client, allowed, kind, self._names.rule(rule), mode, remembered)
        counted = self._counted.get(known)
        if counted is not None:
            return counted
        decision, cache = "allow" if allowed else "deny", "hit" if remembered else "miss"
        calls = Count()
        for whole in (
            self._requests.labels(self._server, TOOLS_CALL),
            self._decisions.labels(self._server, tool, decision, kind, known[4], mode, cache),
            self._agents.labels(self._server, client, decision),
        ):
            whole.include(calls)
        matches = self._rules.lasting(called, rule)
        if matches is not None:
            matches.include(calls)
        judging = self._judging.labels(self._server, "total", cache)
        engine = self._judging.labels(self._server, "engine", cache)
        counted = _Counted(calls, judging, engine, matches is not None)
        self._counted[known] = counted
        return counted

    def _passed(self, event: Passed) -> None:
        self._requests.labels(self._server, method(event.method)).inc()

    def _method_denied(self, event: MethodDenied) -> None:
        self._denied_methods.labels(self._server, method(event.method), event.mode).inc()

    def _refused(self, _: Refused) -> None:
        self._unread.inc()

    def _dropped_one(self, event: Dropped) -> None:
        self._dropped.labels(self._server, event.sender).inc()

    def _listed(self, event: Listed) -> None:
        self._names.know(event.tools)
        self._era = object()


def _in_turn(each: Sequence[Iterator[_Item]]) -> Iterator[_Item]:
    """The first of each, then the second of each, and so on: what has much leaves room for what has little."""
    waiting = deque(each)
    while waiting:
        one = waiting.popleft()
        for item in islice(one, 1):
            yield item
            waiting.append(one)


def _once(items: Iterable[_Item]) -> Iterator[_Item]:
    """The items, each one time."""
    seen: set[_Item] = set()
    for item in items:
        if item not in seen:
            seen.add(item)
            yield item
