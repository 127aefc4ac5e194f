"""A defect of ours in judging a call refuses that call; those that come with it are judged all the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from sidecar.enforce.verdict import Forward, Reply, Verdict
from sidecar.events import Decided, Event, Judged
from tests.enforce.fakes import LIMITED, GateBetweenFakes, run
from tests.http.serving import defects


class Broken(Exception):
    """What goes wrong in these tests. Nobody catches it by name."""


def is_refusal(verdict: Verdict) -> bool:
    """True for an answer that says nothing but that something went wrong."""
    return isinstance(verdict, Reply) and json.loads(verdict.message.raw)["error"]["code"] == -32603


def breaking(world: GateBetweenFakes, kind: type[Event], tool: str) -> None:
    """Whoever is told of an event of this kind, about this tool where it is about one, fails."""

    def emit(event: Event) -> None:
        if type(event) is kind and (not isinstance(event, Decided) or event.call.tool == tool):
            raise Broken(tool)
        world.note(event)

    world.hear = emit


def run_broken(test: Callable[[GateBetweenFakes], Coroutine[Any, Any, None]], count: int, **options: Any) -> None:
    """Run a test in which so many defects are told."""

    async def watched(world: GateBetweenFakes) -> None:
        told = defects()
        await test(world)
        assert [type(one["exception"]) for one in told] == [Broken] * count

    run(watched, **options)


@pytest.mark.parametrize("remembered", [False, True])
@pytest.mark.parametrize("decision", [None, LIMITED])
def test_a_call_that_could_not_be_told_of_is_refused_and_no_other(remembered: bool, decision: Any) -> None:
    async def test(world: GateBetweenFakes) -> None:
        breaking(world, Decided, "failing")
        for tool in ("t", "failing", "never"):
            world.judge(tool)
        await world.gate.finish()
        assert sorted(map(is_refusal, world.verdicts)) == [False, False, True]
        assert all(verdict.tool != "failing" for verdict in world.verdicts if isinstance(verdict, Forward))

    run_broken(test, 1, engine={"decision": decision} if decision else {}, remembered=remembered)


def test_nothing_passes_of_what_may_not_have_been_written_down() -> None:
    async def test(world: GateBetweenFakes) -> None:
        breaking(world, Judged, "")
        world.judge()
        world.judge("never")
        await world.gate.finish()
        assert list(map(is_refusal, world.verdicts)) == [True, True]

    run_broken(test, 2, remembered=True)


def test_a_verdict_that_cannot_be_delivered_keeps_no_other_call_from_its_own() -> None:
    async def test(world: GateBetweenFakes) -> None:
        def deliver(verdict: Verdict) -> None:
            world.verdicts.append(verdict)
            if len(world.verdicts) == 1:
                raise Broken

        world.deliver = deliver
        world.judge()
        world.judge()
        await world.gate.finish()
        assert len(world.verdicts) == 2

    run_broken(test, 1, remembered=True)


@pytest.mark.parametrize("waits", [False, True])
def test_a_store_that_fails_in_a_way_that_nobody_foresaw_is_one_that_cannot_be_used(waits: bool) -> None:
    async def test(world: GateBetweenFakes) -> None:
        def broken(*_: Any) -> Any:
            raise Broken

        world.ledger._claim = broken  # type: ignore[method-assign,assignment] # the test's own fake
        assert (await world.refusal())["kind"] == "store_unavailable"

    run_broken(test, 1, engine={"decision": LIMITED}, ledger={"waits": waits})


def test_a_call_that_fails_while_it_is_put_is_never_forwarded_later() -> None:
    async def test(world: GateBetweenFakes) -> None:
        put = world.engine.put

        def broken(*given: Any, **named: Any) -> None:
            put(*given, **named)
            raise Broken

        world.engine.put = broken  # type: ignore[method-assign] # the test's own fake
        with pytest.raises(Broken):
            world.judge()
        await asyncio.gather(*world.engine.tasks)
        await world.gate.finish()
        assert world.verdicts == []

    run_broken(test, 0)
