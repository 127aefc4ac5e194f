"""Whoever hears of events fails: neither a call nor another observer is harmed, and no decision passes unnoted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, get_args

import pytest

from sidecar.audit.records import Audit
from sidecar.enforce.verdict import Forward
from sidecar.events import Decided, Defect, Event, Handlers, Judged, MethodDenied, Settled, UpstreamAnswered, fan_out
from sidecar.mcp.tool_call import Outcome
from sidecar.serve.observing import observers
from sidecar.settings import AuditLog, Settings
from tests.enforce.fakes import LIMITED, GateBetweenFakes, run
from tests.enforce.test_defects import is_refusal
from tests.http.serving import defects


class Broken(Exception):
    """What goes wrong in these tests. Nobody catches it by name."""


class Observer:
    """Hears of every kind of event."""

    def __init__(self, hear: Callable[[Event], None]) -> None:
        self.handlers: Handlers = dict.fromkeys(get_args(Event), hear)


def fails_at(*kinds: type[Event]) -> Observer:
    """Raises when it is told of an event of these kinds."""

    def hear(event: Event) -> None:
        if type(event) in kinds:
            raise Broken

    return Observer(hear)


def run_told(test: Callable[[GateBetweenFakes], Coroutine[Any, Any, None]], count: int, **options: Any) -> None:
    """Run a test in which so many defects are told."""

    async def watched(world: GateBetweenFakes) -> None:
        told = defects()
        await test(world)
        assert [type(one["exception"]) for one in told] == [Broken] * count

    run(watched, **options)


def test_an_observer_that_fails_keeps_no_call_from_its_verdict_and_no_other_observer_from_hearing() -> None:
    async def test(world: GateBetweenFakes) -> None:
        world.hear = fan_out([fails_at(Decided, Judged), Observer(world.note)], needed=None)
        assert isinstance(await world.verdict(), Forward)
        assert world.decided.ruling.allowed
        assert world.ended_passes == 1

    run_told(test, 2)


@pytest.mark.parametrize("kind", [Decided, Judged])
def test_what_the_audit_log_could_not_note_does_not_pass_and_others_heard_of_it(kind: type[Event]) -> None:
    async def test(world: GateBetweenFakes) -> None:
        audit = fails_at(kind)
        world.hear = fan_out([audit, Observer(world.note)], needed=audit)
        assert is_refusal(await world.verdict())
        assert world.decided.ruling.allowed

    run_told(test, 1)


def test_a_call_that_ran_is_settled_whoever_fails_to_hear_of_it() -> None:
    async def test(world: GateBetweenFakes) -> None:
        audit = fails_at(Settled)
        world.hear = fan_out([fails_at(Settled), audit, Observer(world.note)], needed=audit)
        settled: list[str] = []
        world.gate.settle(await world.forward(), Outcome.NOT_RUN, lambda: settled.append("settled"))
        await world.gate.finish()
        assert (settled, len(world.ledger.returned)) == (["settled"], 1)

    run_told(test, 2, engine={"decision": LIMITED})


def test_what_is_denied_and_cannot_be_noted_is_told_to_whoever_denies_it() -> None:
    audit = fails_at(MethodDenied)
    emit = fan_out([audit], needed=audit)
    with pytest.raises(Broken):
        emit(MethodDenied("i-1", "stub", None, "x", "monitor"))  # type: ignore[arg-type] # nobody looks at the caller


def test_whoever_fails_to_hear_of_a_defect_is_not_told_without_end() -> None:
    async def test() -> None:
        emit = fan_out([fails_at(Defect, UpstreamAnswered)])
        told: list[object] = []

        def handle(_: object, context: dict[str, Any]) -> None:
            told.append(context["exception"])
            emit(Defect("stub", "t", context["message"], context["exception"]))

        asyncio.get_running_loop().set_exception_handler(handle)
        emit(UpstreamAnswered("stub"))
        assert len(told) == 1

    asyncio.run(test())


def test_the_sidecar_needs_its_audit_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object, __: Event) -> None:
        raise Broken

    monkeypatch.setattr(Audit, "_judged", broken)
    settings = Settings(
        (), ("true",), None, None, "stub", None, 1.0, True, tmp_path / "state", None, "", False, False, None, False,
        AuditLog(str(tmp_path / "audit.jsonl")), 1 << 20,
    )  # fmt: skip

    async def test() -> None:
        async with AsyncExitStack() as stack:
            emit = observers(settings, tmp_path, stack).emit
            with pytest.raises(Broken):
                emit(Judged())

    asyncio.run(test())
