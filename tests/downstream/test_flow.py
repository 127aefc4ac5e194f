"""Whoever cannot keep up stops the other side, and nobody for longer than there is a reason."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.system import flow
from sidecar.system.flow import Pause, Valve
from tests.downstream.fakes import run, turns


class Pipe:
    """Notes what it is told."""

    def __init__(self, *, closing: bool = False) -> None:
        self.told: list[str] = []
        self._closing = closing

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self.told.append("pause")

    def resume_reading(self) -> None:
        self.told.append("resume")


@pytest.mark.parametrize(("closing", "told"), [(False, ["pause", "resume"]), (True, [])])
def test_a_pipe_is_paused_and_goes_on_unless_it_is_over(closing: bool, told: list[str]) -> None:
    pipe = Pipe(closing=closing)
    flow.pause(pipe, True)
    flow.pause(pipe, False)
    flow.pause(None, True)
    assert pipe.told == told


def test_a_valve_that_is_closed_is_waited_at_until_it_is_open() -> None:
    async def inside() -> None:
        valve = Valve()
        await valve.passed()
        valve.close()
        waiting = asyncio.create_task(valve.passed())
        await turns()
        assert not waiting.done()
        valve.close(False)
        await waiting

    run(inside())


def test_a_side_that_is_stopped_for_two_reasons_goes_on_when_neither_is_left() -> None:
    stopped: list[bool] = []
    pause = Pause(stopped.append)
    for reason, now in (("server", True), ("client", True), ("server", False), ("client", False)):
        pause.set(reason, now)
    assert stopped == [True, True, True, False]
