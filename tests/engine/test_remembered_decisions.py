"""A remembered decision is the one that OPA would make now: random policies, calls that come again a little changed.

The gate and its memory are the sidecar's own, in front of a real OPA. The fresh decision is OPA's own answer to the
whole question, asked over its socket with nothing of ours between: with every argument, whether a rule reads it or not.
"""

from __future__ import annotations

import asyncio
import copy
import http.client
import itertools
import socket
from collections import Counter as Tally
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.auth.caller import Caller
from sidecar.auth.principal import Principal
from sidecar.decision.decision import NAMED_FROM_OUTSIDE, Decision
from sidecar.decision.question import question
from sidecar.enforce.gate import Gate
from sidecar.enforce.verdict import Forward, Verdict
from sidecar.engine.local import local_engine
from sidecar.engine.managed import ManagedEngine
from sidecar.errors import InvalidMessage
from sidecar.events import Decided, Event
from sidecar.ledger.approvals import NOTHING_ASKED, Asked, Record, Unapproved, Wants
from sidecar.ledger.names import of_tool
from sidecar.ledger.protocol import NOTHING_SEEN, Claim, Claimed, Taken
from sidecar.ledger.values import Amount, Counter, Reservation, Seen
from sidecar.mcp import jsonrpc, strict_json
from sidecar.mcp.protocol import ClientInfo
from sidecar.mcp.tool_call import ToolCall, read_call
from sidecar.policy.bundle import STAMP, Bundle, build
from sidecar.text import visible
from tests.enforce.fakes import KEY, FakeLedger
from tests.engine.asking import opa_socket
from tests.policy.drawing import CASE_TWINS, NUMBERS, TEXTS, TOTALS, Call, calls_of, policies, put, scalars, values
from tests.policy.judging import PATTERNS, Json
from tests.policy.test_agreement import EXACT, arguments_of, bundle_of, yaml
from tests.support import OPA
from tests.support.fuzzing import TIMES
from tests.support.peer import SECONDS

CALLER = Caller("session", "a", Principal("a", "issuer", {"a": ["b"], "b": 5}), ClientInfo("a", "a", "1.1"))
SERIALS = itertools.count(2)
IDS = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a call: who speaks and how, all that is refused or reported, what is taken from which counter."""

    action: str
    kind: str
    rule: str
    reason: str
    violations: tuple[Any, ...]
    taken: tuple[Reservation, ...]


class Notes(FakeLedger):
    """Admits every claim and notes it; counters stand at `stand`, by their keys and windows, else at 0."""

    stand: dict[tuple[str, int], Amount]

    async def totals(self, counters: tuple[Counter, ...]) -> tuple[Amount, ...]:
        return tuple(self.stand.get((one.counter, one.window), 0) for one in counters)

    def claim_at_once(
        self, wanted: Sequence[tuple[Reservation, ...]], seen: Mapping[int, tuple[Seen, ...]] = NOTHING_SEEN,
        asked: Mapping[int, Wants] = NOTHING_ASKED,
    ) -> list[Taken]:  # fmt: skip
        """Whoever needs an approval waits for one."""
        return [
            Unapproved(Record("apr_1", needs, "pending", 0.0, 0.0, 1.0))
            if isinstance(needs := asked.get(place), Asked)
            else self._claim(one)
            for place, one in enumerate(wanted)
        ]

    def _claim(self, reservations: tuple[Reservation, ...], seen: tuple[Seen, ...] = ()) -> Claimed:
        self.wanted += reservations
        return Claim((), (Decimal("-1e9"),) * len(reservations))  # far from every limit


class RememberingGate:
    """A gate that remembers, in front of a running OPA, and that OPA itself. `tally` counts what was seen."""

    def __init__(self, runner: asyncio.Runner, fed: ManagedEngine, events: list[Event]) -> None:
        self.tally: Tally[str] = Tally()
        self._runner = runner
        self._fed = fed
        self._events = events
        self._notes = Notes()
        self._gate = runner.run(self._built())
        self._socket = str(opa_socket())

    async def _built(self) -> Gate:
        return Gate(
            server="server",
            instance="i",
            decider=self._fed.engine,
            ledger=self._notes,
            emit=self._events.append,
            key=KEY,
        )

    def adopt(self, bundle: Bundle) -> Bundle:
        """Bring a policy into force, under a serial of its own, whether it was in force before or not."""
        compiled = {path: text for path, text in bundle.files.items() if path not in (".manifest", STAMP)}
        anew = build(compiled, next(SERIALS))

        async def work() -> None:
            await self._fed.adopt(anew)
            await self._fed.engine.until_ready()

        self._runner.run(work())
        return anew

    def check(self, bundle: Bundle, call: Call) -> None:
        """What the gate makes of a call is what OPA says to the whole of it."""
        reads = bundle.terms.reads_of(call.tool).counters
        keys = {it.name: _key(it.counter, call.tool if it.each_tool else None) for it in reads}
        self._notes.stand = {(keys[it.name], it.window): call.totals.get(it.name, Decimal(0)) for it in reads}
        try:
            tool_call = self._read(call)
            found, remembered = self._runner.run(self._judge(tool_call))
        except InvalidMessage:
            self.tally["unreadable"] += 1
            return
        totals = {it.name: Decimal(0) for it in reads} | call.totals
        names = sorted(tool_call.arguments)
        body = question("server", call.tool, tool_call.arguments, totals, keys=names, caller=CALLER.document)
        decision = self._fresh(body)
        assert (decision.revision, decision.serial) == (bundle.revision, bundle.serial)
        assert found == _outcome(decision, bundle, call.tool), (call, remembered)
        assert not (remembered and reads)
        self.tally["remembered" if remembered else "asked"] += 1

    def _read(self, call: Call) -> ToolCall:
        """The call as a session has it: read, or known again by its line."""
        known = self._gate.known
        params = {"name": call.tool, "arguments": arguments_of(call)}
        line = strict_json.encode({"jsonrpc": "2.0", "id": next(IDS), "method": "tools/call", "params": params})
        if (found := known.find(line)) is not None:
            self.tally["known"] += 1
            return found[0]
        request = jsonrpc.read(line)
        assert isinstance(request, jsonrpc.Request)
        tool_call = read_call(request)
        known.keep(request, tool_call, None)
        return tool_call

    async def _judge(self, call: ToolCall) -> tuple[Outcome, bool]:
        self._events.clear()
        self._notes.wanted.clear()
        verdicts: list[Verdict] = []
        self._gate.judge(call, CALLER, verdicts.append)
        await self._gate.finish()
        (verdict,) = verdicts
        (said,) = [event.ruling for event in self._events if isinstance(event, Decided)]
        refused = "require_approval" if said.kind == "approval_required" else "deny"
        action = "allow" if isinstance(verdict, Forward) else refused
        assert said.allowed is (action == "allow")
        taken = tuple(self._notes.wanted)
        return Outcome(action, said.kind, said.rule, said.reason, said.violations, taken), said.remembered

    def _fresh(self, body: bytes) -> Decision:
        connection = http.client.HTTPConnection("opa", timeout=SECONDS)
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.connect(self._socket)
            connection.request("POST", "/v1/data/intercept/decision", body, {"Content-Type": "application/json"})
            reply = connection.getresponse().read()
        finally:
            connection.close()
        result: Decision = msgspec.json.decode(msgspec.json.decode(reply, type=dict[str, msgspec.Raw])["result"],
                                               type=Decision)  # fmt: skip
        return result


def _key(counter: str, tool: str | None) -> str:
    """The key of a counter in the store; another one for each tool where one is given."""
    return f"server/{counter if tool is None else of_tool(counter, tool)}"


def _outcome(decision: Decision, bundle: Bundle, tool: str) -> Outcome:
    """What must come of a decision."""
    allowed = decision.action == "allow"
    reason = visible(decision.reason) if decision.kind in NAMED_FROM_OUTSIDE else decision.reason
    taken = tuple(
        Reservation(
            _key(it.counter, tool if it.each_tool else None), CALLER.holder(it.scope) or "", it.seconds, it.amount,
            None if it.counter in bundle.terms.monitored else it.limit, it.exclusive, it.sliding,
        )
        for it in decision.reserve
    )  # fmt: skip
    said = ("allow", "", "") if allowed else (decision.kind, decision.rule, reason)
    return Outcome(decision.action, *said, decision.violations, taken if allowed else ())


@pytest.fixture(scope="module")
def world() -> Iterator[RememberingGate]:
    """One OPA for all examples."""
    events = list[Event]()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        running = local_engine(
            OPA, bundle_of({"default": "allow", "tools": {}}), server="server", timeout=SECONDS, remember=True,
            emit=events.append, said=lambda _: None,
        )  # fmt: skip
        fed = runner.run(running.__aenter__())
        try:
            yield RememberingGate(runner, fed, events)
        finally:
            runner.run(running.__aexit__(None, None, None))


# Calls that a memory might take for one another.


def twins_of(value: Json) -> list[Json]:
    """What only looks like a value: another type, another spelling, one more level."""
    found: list[Json] = [None, [value], {"a": value}]
    match value:
        case bool():
            found += [not value, Decimal(value), str(value).lower()]
        case Decimal():
            found += [str(value), Decimal(f"{value:f}" + ("0" if "." in f"{value:f}" else ".0")), -value, value != 0]
        case str():
            found += [value.upper(), f"{value} ", value == "true"]
            with suppress(InvalidOperation):
                found += [number] if (number := Decimal(value)).is_finite() else []
        case list():
            found += [*value, [*value, None]]
        case dict():
            found += [*value.values(), value | {"a": None}]
    return found


def places_in(arguments: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The ways to everything that stands in an object."""
    if not isinstance(arguments, dict):
        return []
    return [place for key, value in arguments.items() for place in ((*path, key), *places_in(value, (*path, key)))]


@st.composite
def twins(draw: st.DrawFn, call: Call) -> list[Call]:
    """Calls that differ from another in one thing: all that look like it at one place, and some others."""
    found = [_put(call, ["unread"], draw(values))]
    if call.totals:
        name = draw(st.sampled_from(sorted(call.totals)))
        found.append(replace(call, totals=call.totals | {name: draw(st.sampled_from(TOTALS))}))
    if places := places_in(call.arguments):
        *way, last = draw(st.sampled_from(places))
        holder: Any = call.arguments
        for step in way:
            holder = holder[step]
        found += [_put(call, [*way, last], twin) for twin in [*twins_of(holder[last]), draw(values)]]
        found.append(_put(call, [*way, CASE_TWINS.get(last, last.upper())], draw(scalars)))
        gone = copy.deepcopy(call.arguments)
        holder = gone
        for step in way:
            holder = holder[step]
        del holder[last]
        found.append(replace(call, arguments=gone))
    return found


def _put(call: Call, place: list[str], value: Json) -> Call:
    arguments = copy.deepcopy(call.arguments)
    put(arguments, place, value)
    return replace(call, arguments=arguments)


@st.composite
def stories(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[Call]]:
    """Two policies, and calls in an order in which some come again and some almost."""
    one, other = draw(policies()), draw(policies())
    first = [draw(calls_of(policy)) for policy in (one, one, one, other)]
    almost = [twin for call in first for twin in draw(twins(call))]
    again = draw(st.lists(st.sampled_from([*first, *almost]), min_size=6, max_size=10))
    return [one, other], [*first, *almost, *first, *again]


@pytest.mark.fuzz
@settings(EXACT, max_examples=20 * TIMES)
@given(story=stories())
def test_a_remembered_decision_is_the_one_that_would_be_made_now(
    world: RememberingGate, story: tuple[list[dict[str, Any]], list[Call]]
) -> None:
    (one, other), calls = story
    for policy in (one, other, one):
        bundle = world.adopt(bundle_of(policy))
        for call in calls:
            try:
                world.check(bundle, call)
            except AssertionError as error:
                error.add_note(yaml(policy))
                raise


def test_no_value_is_taken_for_another_that_looks_like_it(world: RememberingGate) -> None:
    # A rule for each value, so that a decision tells which value it is about.
    known: list[Json] = [*TEXTS, *NUMBERS[:24], True, False, None, [], {}, [None], {"a": None}]
    pairs: list[tuple[str, Json]] = [("eq", value) for value in known] + [("regex", text) for text in PATTERNS]
    rules = [{"conditions": [{"path": "args.x", "op": op, "value": value}]} for op, value in pairs]
    bundle = world.adopt(bundle_of({"default": "allow", "tools": {"t": {"rules": rules}}}))
    seen: list[Json] = [each for value in known for each in (value, *twins_of(value))]
    calls = [Call("t", {}), *(Call("t", {"x": value}) for value in seen)]
    for call in [*calls, *reversed(calls)]:
        world.check(bundle, call)


def test_a_call_that_comes_again_is_remembered_in_this_world(world: RememberingGate) -> None:
    call = Call("t", {"a": Decimal(1)})
    bundle = world.adopt(bundle_of({"default": "allow", "tools": {}}))
    before = world.tally.copy()
    for _ in range(20):
        world.check(bundle, call)
    assert world.tally["remembered"] > before["remembered"]
    assert world.tally["known"] > before["known"]
