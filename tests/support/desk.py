"""A policy in force within the test's own process: the gate, the real OPA, and a store whose clock stands still."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from sidecar.auth.caller import Caller
from sidecar.enforce.gate import Gate
from sidecar.enforce.verdict import Forward, Reply, Verdict
from sidecar.engine.local import local_engine
from sidecar.errors import InvalidMessage
from sidecar.ledger.sqlite import SqliteLedger
from tests.engine.asking import bundle_of, tool_call
from tests.support import OPA

NOON: Final = 1_795_953_600.0
"""A noon, in Unix seconds."""
NOBODY: Final = Caller("session")


class Clock:
    """Stands at `now` until a test sets it."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


class Desk:
    """Judges calls, which are written as a tool's name and the JSON text of its arguments."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def outcome(self, call: str, caller: Caller = NOBODY) -> str:
        """What becomes of a call: `passes`, `refused`, `asks`, `spent`, or `bad`.

        `spent` is a refusal until a window ends, `bad` one before any rule.
        """
        tool, _, arguments = call.partition(" ")
        verdict: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        try:
            self._gate.judge(tool_call(tool, arguments), caller, verdict.set_result)
        except InvalidMessage:
            return "bad"
        async with asyncio.timeout(20):
            found = await verdict
        if isinstance(found, Forward):
            return "passes"
        assert isinstance(found, Reply), found
        answer = json.loads(found.message.raw)
        if "error" in answer:
            assert answer["error"]["code"] == -32003, answer
            return "asks"
        about = answer["result"]["_meta"]["intercept/decision"]
        assert about["kind"] not in ("engine_unavailable", "store_unavailable"), answer
        return "spent" if "retry_after_seconds" in about else "refused"

    async def outcomes(self, calls: Iterable[str], caller: Caller = NOBODY) -> list[str]:
        """What becomes of calls, one after the other."""
        return [await self.outcome(call, caller) for call in calls]


@asynccontextmanager
async def desk(policy: str, folder: Path, clock: Clock | None = None) -> AsyncIterator[Desk]:
    """The gate under a policy's text, with an OPA and a store of its own."""
    bundle = bundle_of(policy)
    async with local_engine(
        OPA, bundle, server="desk", timeout=10, remember=False, emit=lambda _: None, said=lambda _: None
    ) as local:
        ledger = SqliteLedger(folder / "counters.db", clock or Clock())
        key = await ledger.approvals.secret()
        gate = Gate(server="desk", instance="desk", decider=local.engine, ledger=ledger, emit=lambda _: None, key=key)
        try:
            yield Desk(gate)
        finally:
            await gate.finish()
            await ledger.close()
