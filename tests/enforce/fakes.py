"""A call in, a verdict out. Shared here: an engine and a ledger that do as told, and a gate between them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

import msgspec

from sidecar.auth.caller import Caller
from sidecar.decision.decider import Finding
from sidecar.decision.decision import Answer, Approval, Decision, Reserve, Violation, Visible
from sidecar.enforce.gate import Gate
from sidecar.enforce.trial import Trial
from sidecar.enforce.verdict import Forward, Reply, Verdict
from sidecar.errors import EngineUnavailable, StoreUnavailable, Superseded
from sidecar.events import Decided, Event, Judged, Ruling
from sidecar.ledger.approvals import NOTHING_ASKED, Approvals, Wants
from sidecar.ledger.protocol import NOTHING_SEEN, Claim, Claimed, Exhausted, Highest, Moved, Taken
from sidecar.ledger.values import Amount, Counter, Entry, Reservation, Seen, add
from sidecar.policy.bundle import Bundle
from tests.engine.asking import bundle_of, tool_call

BUNDLE = bundle_of("""
tools:
  t: {rules: [{name: per day, rate_limit: 3/day}]}
  trusted: {rules: [{rate_limit: 3/day, refund: on_error}]}
  failing: {rules: [{rate_limit: 3/day, refund: on_failure}]}
  never: {rules: [{rate_limit: 3/day, refund: never}]}
""")
KEY = b"the secret of the store"
LIMIT = Reserve("t._rate_day", 1, 3, "day", "global", "per day", "Three a day", "rate_limit")
ALLOWED = Decision(1, "allow", "allow", "", "", (), (), None, BUNDLE.revision, BUNDLE.serial)
LIMITED = msgspec.structs.replace(ALLOWED, reserve=(LIMIT,))
VIOLATION = Violation("no", "Not this", "rule", False)
DENIED = msgspec.structs.replace(
    ALLOWED, action="deny", kind="rule", rule="no", reason="Not this", violations=(VIOLATION,)
)  # fmt: skip


ASKING = msgspec.structs.replace(
    ALLOWED,
    action="require_approval",
    kind="approval_required",
    rule="ask",
    reason="Ask a person",
    approval=Approval(1800, 600, 1, "c0ffee"),
)


def reading(path: str, serial: int) -> Bundle:
    """A policy whose rule for `t` reads one argument."""
    return bundle_of(f"tools: {{t: {{rules: [{{conditions: [{{path: {path}, op: exists, value: true}}]}}]}}}}", serial)


class FakeEngine:
    """Answers with `decision`, or fails with `error`; holds the answer back until `go` is set.

    Each of the `newer` bundles comes into force during a question, which is superseded then. `asked` has every
    question: its body, the bundle that it was put under, and whether its answer lasts.
    """

    def __init__(
        self, decision: Decision = ALLOWED, error: EngineUnavailable | None = None, bundle: Bundle = BUNDLE,
        newer: Sequence[Bundle] = (), hidden: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.bundle = bundle
        self.decision = decision
        self.error = error
        self.newer = list(newer)
        self.hidden = hidden
        self.remembers = False
        self.whole = True
        self.remembered: Answer | None = None
        self.asked: list[tuple[Any, Bundle, bool]] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.go = asyncio.Event()
        self.go.set()

    def lose(self) -> None:
        """From now on it is not there."""
        self.whole, self.error = False, EngineUnavailable("connection", "the policy engine cannot be reached")

    def recall(self, body: bytes) -> Answer | None:
        if not self.remembers or not self.whole:
            return None
        if self.remembered is None or self.remembered.decision is not self.decision:
            self.remembered = Answer(self.decision, "engine", remembered=True, recalled=True)
        return self.remembered

    def confirm(self) -> bool:
        return self.whole

    def put(
        self, body: bytes, bundle: Bundle, decision_id: str, done: Callable[[Finding], None], *, lasting: bool
    ) -> None:
        self.asked.append((json.loads(body, parse_float=Decimal)["input"], bundle, lasting))
        self.tasks.append(asyncio.ensure_future(self._put(done)))

    async def _put(self, done: Callable[[Finding], None]) -> None:
        try:
            await self._answer()
        except (Superseded, EngineUnavailable) as error:
            done(error)
        else:
            done(Answer(self.decision, "engine"))

    async def ask_visible(self, body: bytes, tools: Sequence[str], bundle: Bundle, decision_id: str) -> Visible:
        self.asked.append((json.loads(body)["input"], bundle, False))
        await self._answer()
        shown = tuple(tool for tool in tools if tool not in self.hidden)
        hidden = {tool: "(hidden)" for tool in tools if tool in self.hidden}
        return Visible(1, shown, hidden, bundle.revision, bundle.serial)

    async def _answer(self) -> None:
        await self.go.wait()
        if self.newer:
            self.bundle = self.newer.pop(0)
            raise Superseded
        if self.error:
            raise self.error


class FakeLedger:
    """Claims end with `claimed`, at once or when `go` is set, and leave every counter at `total`. It has no approvals.

    The first `moves` claims of calls that saw a counter find it elsewhere, one further. What is wanted, seen, looked up
    and given back is noted.
    """

    def __init__(
        self, claimed: Exhausted | StoreUnavailable | None = None, *, waits: bool = False, total: Amount = 1,
        gone: bool = False, moves: int = 0,
    ) -> None:  # fmt: skip
        self.claimed = claimed
        self.waits = waits
        self.total = total
        self.gone = gone
        self.moves = moves
        self.seen: list[tuple[Seen, ...]] = []
        self.go = asyncio.Event()
        self.go.set()
        self.goes = 0
        self.wanted: list[Reservation] = []
        self.looked_up: list[tuple[Counter, ...]] = []
        self.returned: list[Entry] = []
        self.unable_to_return = False

    def claim_at_once(
        self, wanted: Sequence[tuple[Reservation, ...]], seen: Mapping[int, tuple[Seen, ...]] = NOTHING_SEEN,
        asked: Mapping[int, Wants] = NOTHING_ASKED,
    ) -> list[Taken] | None:  # fmt: skip
        assert not asked
        self.goes += 1
        if self.waits:
            return None
        return [self._claim(one, seen.get(place, ())) for place, one in enumerate(wanted)]

    async def claim(
        self, reservations: tuple[Reservation, ...], seen: tuple[Seen, ...] = (), asked: Wants | None = None
    ) -> Claimed:  # fmt: skip
        assert asked is None
        await self.go.wait()
        return self._claim(reservations, seen)

    @property
    def approvals(self) -> Approvals:
        return cast("Approvals", None)

    async def totals(self, counters: tuple[Counter, ...]) -> tuple[Amount, ...]:
        await self.go.wait()
        if self.gone:
            raise StoreUnavailable("disk on fire")
        self.looked_up.append(counters)
        return tuple(self.total for _ in counters)

    def give_back_at_once(self, entries: tuple[Entry, ...]) -> bool:
        if self.waits:
            return False
        self._give_back(entries)
        return True

    async def give_back(self, entries: tuple[Entry, ...]) -> None:
        self._give_back(entries)

    async def admit(self, server: str, bundle: Highest) -> Highest:
        return bundle

    async def close(self) -> None:
        pass

    def _give_back(self, entries: tuple[Entry, ...]) -> None:
        if self.unable_to_return:
            raise StoreUnavailable("the disk is gone")
        self.returned += entries

    def _claim(self, reservations: tuple[Reservation, ...], seen: tuple[Seen, ...] = ()) -> Claimed:
        if isinstance(self.claimed, StoreUnavailable):
            raise self.claimed
        if self.claimed is not None:
            return self.claimed
        if seen:
            self.seen.append(seen)
            if self.moves:
                self.moves -= 1
                self.total = add(self.total, 1)
                return Moved()
        self.wanted += reservations
        return Claim(tuple(Entry(one, 0) for one in reservations), tuple(self.total for _ in reservations))


class GateBetweenFakes:
    """A gate between the fakes, with everything that it delivered and told."""

    def __init__(self, engine: FakeEngine, ledger: FakeLedger, **options: Any) -> None:
        self.engine, self.ledger = engine, ledger
        self.caller = Caller("s1")
        self.verdicts: list[Verdict] = []
        self.events: list[Event] = []
        self.ended_passes = 0
        self.deliver: Callable[[Verdict], None] = self.verdicts.append
        self.hear: Callable[[Event], None] = self.note
        self.gate = Gate(
            server="stub", instance="i", decider=engine, ledger=ledger, emit=self._emit, key=KEY, **options
        )  # fmt: skip

    def _emit(self, event: Event) -> None:
        self.hear(event)

    def note(self, event: Event) -> None:
        if isinstance(event, Judged):
            self.ended_passes += 1
        else:
            self.events.append(event)

    def judge(self, tool: str = "t", arguments: str = "{}") -> Trial:
        return self.gate.judge(tool_call(tool, arguments), self.caller, self.deliver)

    async def verdict(self, tool: str = "t", arguments: str = "{}") -> Verdict:
        """The one verdict on a call."""
        self.judge(tool, arguments)
        await self.gate.finish()
        (verdict,) = self.verdicts
        return verdict

    async def forward(self, tool: str = "t", arguments: str = "{}") -> Forward:
        """The one verdict, which must be to forward the call."""
        verdict = await self.verdict(tool, arguments)
        assert isinstance(verdict, Forward)
        return verdict

    async def refusal(self, tool: str = "t", arguments: str = "{}") -> dict[str, Any]:
        """The message and the facts of the one refusal."""
        verdict = await self.verdict(tool, arguments)
        assert isinstance(verdict, Reply)
        answer = json.loads(verdict.message.raw)
        assert (answer["id"], answer["result"]["isError"]) == (1, True)
        return {"text": answer["result"]["content"][0]["text"], **answer["result"]["_meta"]["intercept/decision"]}

    @property
    def decided(self) -> Decided:
        """The one decision that was told."""
        (event,) = [event for event in self.events if isinstance(event, Decided)]
        return event

    @property
    def ruling(self) -> Ruling:
        """What was decided, by the one decision that was told."""
        return self.decided.ruling


def run(
    test: Callable[[GateBetweenFakes], Coroutine[Any, Any, None]], engine: dict[str, Any] | None = None,
    ledger: dict[str, Any] | None = None, remembered: bool = False, **options: Any,
) -> None:  # fmt: skip
    """Run a test in a world; `options` are the gate's."""

    async def inside() -> None:
        world = GateBetweenFakes(FakeEngine(**(engine or {})), FakeLedger(**(ledger or {})), **options)
        world.engine.remembers = remembered
        await test(world)
        await world.gate.finish()

    asyncio.run(inside())
