"""A call of which the rules read too much is refused, and nobody is asked about it."""

from __future__ import annotations

import pytest

from sidecar.enforce.questions import MAX_QUESTION
from sidecar.enforce.verdict import Forward
from tests.enforce.fakes import GateBetweenFakes, reading, run


@pytest.mark.parametrize("monitors", [False, True])
def test_what_is_larger_than_a_question_may_be_is_refused_unasked(monitors: bool) -> None:
    async def test(world: GateBetweenFakes) -> None:
        arguments = f'{{"a":"{"x" * MAX_QUESTION}"}}'
        if monitors:
            await world.forward("t", arguments)
        else:
            assert (await world.refusal("t", arguments))["kind"] == "invalid_request"
        assert world.engine.asked == []
        assert (world.ruling.allowed, world.ruling.kind) == (False, "invalid_request")

    run(test, {"bundle": reading("args.a", 1)}, mode="monitor" if monitors else None)


def test_what_no_rule_reads_may_be_as_large_as_a_message() -> None:
    async def test(world: GateBetweenFakes) -> None:
        assert isinstance(await world.verdict("t", f'{{"a":1,"b":"{"x" * MAX_QUESTION}"}}'), Forward)

    run(test, {"bundle": reading("args.a", 1)})
