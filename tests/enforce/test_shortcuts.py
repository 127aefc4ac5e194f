"""Two sessions on one gate: with every cache in use it asks, forwards and writes down what it does without any."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.audit.records import Audit
from sidecar.audit.trail import Trail
from sidecar.auth.caller import Caller
from sidecar.auth.principal import Principal
from sidecar.decision.decider import Finding
from sidecar.decision.decision import Answer, Decision
from sidecar.enforce.call_cache import CachedCall, CallCache, FirstRead
from sidecar.enforce.gate import Gate
from sidecar.engine.decision_cache import DecisionCache
from sidecar.events import Event
from sidecar.ledger.protocol import Claimed
from sidecar.ledger.values import Reservation, Seen
from sidecar.mcp.protocol import ClientInfo
from sidecar.policy.bundle import Bundle
from sidecar.session.route import Route
from sidecar.session.session import Session
from tests.enforce.fakes import DENIED, KEY, LIMITED, FakeEngine, FakeLedger
from tests.engine.asking import bundle_of
from tests.mcp.calls import calls, changed, encoded
from tests.support.fuzzing import examples

CLERK, CHIEF, OTHER = (
    Principal(name, claims={"role": role}) for name, role in (("one", "clerk"), ("one", "chief"), ("other", "clerk"))
)
SAID, LATER, ANOTHER = (ClientInfo(name, name, version) for name, version in (("a", "1"), ("a", "2"), ("b", "1")))
# Some differ in one thing only: what is kept for one of them must not serve the other.
CALLERS = [
    Caller(session, principal=principal, said=said)
    for session, principal, said in [
        ("one", CLERK, SAID), ("two", OTHER, SAID), ("other", CHIEF, SAID), ("fourth", CLERK, LATER),
        ("fifth", CLERK, ANOTHER), ("nobody", None, SAID), ("silent", None, None),
    ]
]  # fmt: skip
READ = (
    "args.id", "args.a", "args.id.id", "principal.subject", "principal.claims.role", "session.client.name",
    "session.client.version",
)  # fmt: skip
POLICIES = [
    bundle_of(f"tools: {{t: {{rules: [{{conditions: [{{path: {path}, op: exists, value: true}}]}}]}}}}", serial)
    for serial, path in enumerate(READ, 1)
]
Step = tuple[int, bytes]
"""Which session says a line; a number beyond the sessions brings another policy into force."""


class ByTheQuestion(FakeEngine):
    """An engine that decides by the bytes of a question, and notes them; `cache` where it keeps answers."""

    def __init__(self, cache: DecisionCache | None) -> None:
        super().__init__(bundle=POLICIES[0])
        self.cache = cache
        self.bodies: list[bytes] = []

    def recall(self, body: bytes) -> Answer | None:
        self.bodies.append(body)
        return self.cache.get(body) if self.cache is not None else None

    def adopt(self, bundle: Bundle) -> None:
        self.bundle = bundle
        if self.cache is not None:
            self.cache.clear()

    def put(
        self, body: bytes, bundle: Bundle, decision_id: str, done: Callable[[Finding], None], *, lasting: bool
    ) -> None:
        answer = Answer(_decision(body, bundle), None)
        if lasting and self.cache is not None:
            self.cache.keep(body, answer)
        done(answer)


def _decision(body: bytes, bundle: Bundle) -> Decision:
    # The question itself stands in the reason, so whoever gets another's answer is seen.
    asked = {"reason": f"{body!r}", "revision": bundle.revision, "serial": bundle.serial}
    return msgspec.structs.replace(DENIED if sum(body) % 4 == 0 else LIMITED, **asked)


class Rising(FakeLedger):
    """Counters that stand higher after each claim, now below the limit and now above it."""

    def _claim(self, reservations: tuple[Reservation, ...], seen: tuple[Seen, ...] = ()) -> Claimed:
        self.total = 1 + len(self.wanted) % 5
        return super()._claim(reservations, seen)


class NoCache(CallCache):
    """Knows nothing."""

    def find(self, line: bytes) -> tuple[CachedCall, FirstRead] | None:
        return None


def _note(out: list[tuple[int, str, bytes]], place: int, side: str, message: bytes) -> None:
    out.append((place, side, message))


async def _told(steps: list[Step], *, caches: bool) -> Any:
    """Everything that came of it: questions, messages to the server and to each client, claims, and the audit."""
    engine, ledger, written = ByTheQuestion(DecisionCache() if caches else None), Rising(), io.BytesIO()
    audit = Audit(Trail(written), b"k", "i")

    def emit(event: Event) -> None:
        if (listener := audit.handlers.get(type(event))) is not None:
            listener(event)

    gate = Gate(server="stub", instance="i", decider=engine, ledger=ledger, emit=emit, key=KEY)
    if not caches:
        gate.known = NoCache()
    out: list[tuple[int, str, bytes]] = []

    def session_of(place: int, caller: Caller) -> Session:
        route = Route(
            lambda message: out.append((place, "client", message.raw)),
            lambda message: out.append((place, "server", message.raw)),
        )
        return Session(server="stub", caller=caller, gate=gate, emit=emit, route=route)

    sessions = [session_of(place, caller) for place, caller in enumerate(CALLERS)]
    for place, line in steps:
        if place >= len(sessions):
            engine.adopt(POLICIES[(place + len(line)) % len(POLICIES)])
            continue
        before = len(out)
        sessions[place].from_client(line)
        await gate.finish()
        for _, side, message in out[before:]:
            if side == "server" and (id_ := json.loads(message).get("id")) is not None:
                sessions[place].from_server(encoded({"jsonrpc": "2.0", "id": id_, "result": {}}))
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    for line in lines:
        for changes in ("time", "milliseconds", "remembered", "chain"):
            line.pop(changes, None)
    return engine.bodies, out, ledger.wanted, lines


@st.composite
def stories(draw: st.DrawFn) -> list[Step]:
    """Lines that come again and again in several sessions, lines nearly the same, and now and then a policy."""
    lines = [
        encoded({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": "t", "arguments": {"id": 5}}})
    ]
    lines += draw(st.lists(calls(), min_size=1, max_size=2))
    lines += [draw(changed(line)) for line in lines for _ in range(2)]
    sessions = st.integers(0, len(CALLERS) - 1)
    steps: list[Step] = []
    for _ in range(draw(st.integers(2, 4))):
        often = draw(st.sampled_from(lines))
        some = st.tuples(sessions, st.just(often) | st.just(often) | st.sampled_from(lines))
        steps += draw(st.lists(some, min_size=6, max_size=12))
        steps += [(len(CALLERS), b"x" * draw(st.integers(0, len(READ))))] * draw(st.integers(0, 1))
    return steps


@pytest.mark.fuzz
@examples(100)
@given(stories())
def test_with_every_cache_the_same_is_asked_forwarded_answered_counted_and_written_down(steps: list[Step]) -> None:
    with_caches = asyncio.run(_told(steps, caches=True))
    assert with_caches == asyncio.run(_told(steps, caches=False))
