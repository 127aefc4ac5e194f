"""Calls that are judged by a counter and move it, over two gates on one store, however long each answer takes.

A call is allowed while the total in its question is below a limit, and what it reserves has none: only the look at the
claim at what the call was judged by keeps the total there.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.auth.caller import Caller
from sidecar.decision.decider import Finding
from sidecar.decision.decision import Answer, Decision, Reserve
from sidecar.enforce.gate import Gate
from sidecar.enforce.verdict import Forward, Verdict
from sidecar.mcp.tool_call import Outcome
from sidecar.policy.bundle import Bundle
from tests.enforce.fakes import ALLOWED, DENIED, FakeEngine
from tests.engine.asking import bundle_of, tool_call
from tests.ledger.stores import Clock, Store, ledger_in
from tests.support.fuzzing import examples

CALLS = 12
READING = bundle_of("""
tools:
  t:
    rules:
      - {name: n, state: {counter: n, window: day}}
      - {conditions: [{path: state.t.n, op: neq, value: 9}]}
""")
TAKES = msgspec.structs.replace(
    ALLOWED, reserve=(Reserve("t.n", 1, None, "day", "global", "n", "", "rule"),)
)  # fmt: skip


class Below(FakeEngine):
    """Allows a call while the counter stands below a limit, after a while."""

    def __init__(self, limit: int, chance: random.Random) -> None:
        super().__init__(bundle=READING)
        self._limit = limit
        self._chance = chance

    def put(
        self, body: bytes, bundle: Bundle, decision_id: str, done: Callable[[Finding], None], *, lasting: bool
    ) -> None:
        total = msgspec.json.decode(body)["input"]["counters"]["state.t.n"]
        self.tasks.append(asyncio.ensure_future(self._answer_with(TAKES if total < self._limit else DENIED, done)))

    async def _answer_with(self, decision: Decision, done: Callable[[Finding], None]) -> None:
        for _ in range(self._chance.randint(0, 4)):
            await asyncio.sleep(0)
        done(Answer(decision, "engine"))


class Server:
    """Two gates in front of one server, at which some calls run and some certainly do not."""

    def __init__(self, chance: random.Random, fails: float) -> None:
        self.gates: list[Gate] = []
        self.runs = self.most = self.verdicts = 0
        self._chance = chance
        self._fails = fails

    def call(self) -> None:
        """Put a call to one of the gates."""
        gate = self._chance.choice(self.gates)

        def deliver(verdict: Verdict) -> None:
            self.verdicts += 1
            if isinstance(verdict, Forward):
                self.runs += 1
                self.most = max(self.most, self.runs)
                if self._chance.random() < self._fails:
                    self.runs -= 1  # what it took may be taken anew from here on
                    gate.settle(verdict, Outcome.NOT_RUN)

        gate.judge(tool_call("t", "{}"), Caller("s"), deliver)


async def contend(store: Store, seed: int, limit: int, fails: float) -> Server:
    """Many calls, a few at a time."""
    chance = random.Random(seed)
    server = Server(chance, fails)
    async with ledger_in(store, Clock()) as one, ledger_in(store, Clock()) as other:
        server.gates = [
            Gate(
                server="stub", instance=name, decider=Below(limit, chance), ledger=ledger,
                emit=lambda _: None, key=b"",
            )
            for name, ledger in (("one", one), ("other", other))
        ]  # fmt: skip
        for _ in range(CALLS):
            server.call()
            for _ in range(chance.choice([0, 0, 1, 7])):
                await asyncio.sleep(0)
        for gate in server.gates:
            await gate.finish()
    return server


@pytest.mark.fuzz
@given(seed=st.integers(0, 2**32), limit=st.integers(1, 8), fails=st.sampled_from([0.0, 0.0, 0.4]))
@settings(examples(25), suppress_health_check=list(HealthCheck))
def test_no_more_run_than_the_total_that_they_were_judged_by_allows(
    fresh: Callable[[], Store], seed: int, limit: int, fails: float
) -> None:
    server = asyncio.run(contend(fresh(), seed, limit, fails))
    assert server.verdicts == CALLS
    assert server.most <= limit
    if not fails:
        assert server.runs == limit
