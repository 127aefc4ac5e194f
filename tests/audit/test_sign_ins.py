"""Sign-ins that fail are told one by one, up to a number, and counted after that."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.audit.sign_ins import EACH, PEERS, PERIOD, SignIns
from sidecar.events import HttpRefused
from tests.support.fuzzing import examples


def refused(reason: str = "credentials", status: int = 401, peer: str = "192.0.2.9") -> HttpRefused:
    return HttpRefused("okx", "clients", status, reason, "no such token", peer)


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[float, Callable[[], None]]] = []

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        self.waiting.append((seconds, call))

    def pass_period(self) -> None:
        for seconds, call in self.waiting:
            assert seconds == PERIOD
            call()
        self.waiting = []


@pytest.mark.fuzz
@examples(60)
@given(st.lists(st.tuples(st.integers(0, 3 * EACH), st.sampled_from(["credentials", "keys"])), max_size=5))
def test_every_failure_is_counted_once_and_few_lines_are_written(periods: list[tuple[int, str]]) -> None:
    clock, told = Clock(), list[tuple[HttpRefused, int]]()
    sign_ins = SignIns(lambda event, times: told.append((event, times)), clock.later)
    for count, reason in periods:
        before = len(told)
        for _ in range(count):
            sign_ins.failed(refused(reason))
        assert len(told) - before == min(count, EACH)
        clock.pass_period()
        assert len(told) - before <= EACH + 1
    assert sum(times for _, times in told) == sum(count for count, _ in periods)


def test_what_was_only_counted_is_told_by_its_kind() -> None:
    clock, told = Clock(), list[tuple[str, int]]()
    sign_ins = SignIns(lambda event, times: told.append((event.reason, times)), clock.later)
    for event in [refused()] * (EACH + 3) + [refused("keys", 503)] * 2:
        sign_ins.failed(event)
    clock.pass_period()
    assert told[EACH:] == [("credentials", 3), ("keys", 2)]


def test_what_one_address_did_is_not_counted_as_anothers() -> None:
    clock, told = Clock(), list[tuple[str, int]]()
    sign_ins = SignIns(lambda event, times: told.append((event.peer, times)), clock.later)
    for event in [refused()] * (EACH + 1_000) + [refused(peer="192.0.2.10")]:
        sign_ins.failed(event)
    clock.pass_period()
    assert told[EACH:] == [("192.0.2.9", 1_000), ("192.0.2.10", 1)]


def test_many_addresses_are_counted_together_by_none_of_their_names() -> None:
    clock, told = Clock(), list[tuple[str, int]]()
    sign_ins = SignIns(lambda event, times: told.append((event.peer, times)), clock.later)
    for number in range(EACH + 1_000):
        sign_ins.failed(refused(peer=f"2001:db8::{number:x}"))
    clock.pass_period()
    assert len(told) == EACH + PEERS + 1
    assert told[-1] == ("", 1_000 - PEERS)


def test_the_end_does_not_lose_what_was_counted() -> None:
    clock, told = Clock(), list[int]()
    sign_ins = SignIns(lambda _, times: told.append(times), clock.later)
    for _ in range(EACH + 7):
        sign_ins.failed(refused())
    sign_ins.summarize()
    assert sum(told) == EACH + 7
