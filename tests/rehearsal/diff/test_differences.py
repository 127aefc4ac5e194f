"""What is kept of the calls that two policies decide: of each kind the smallest, and no answer is no decision."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sidecar.errors import StartError
from sidecar.rehearsal.diff.differences import Comparison, Difference, Found, Seen
from sidecar.rehearsal.diff.probes import Probe
from sidecar.rehearsal.judging import Action, Judgement, Rehearsal

ALLOWED = Seen("allow", "allow", "", "", "", 0)
REFUSED = Seen("deny", "rule", "r", "no", "policy.yaml", 3)


def difference(old: Seen, new: Seen, **arguments: Any) -> Difference:
    return Difference("t", arguments, old, new, {}, {}, "generated")


class Answering:
    """A rehearsal that answers every call alike."""

    def __init__(self, action: Action, kind: str, reason: str = "", files: Mapping[str, str] = {}) -> None:
        self.now = 0.0
        self.bundle = SimpleNamespace(files=files)
        self._answer = Judgement(action, kind, "", reason, "", 0, (), forwarded=action == "allow", told="", code=0)

    async def judge(self, tool: str, arguments: object, caller: object) -> Judgement:
        return self._answer

    async def count(self, tool: str, taken: object, caller: object) -> None:
        pass

    async def forget(self, now: float, workload: object) -> None:
        pass


def found_by(old: Answering, new: Answering) -> Found:
    found = Found()
    rehearsals = {"old": cast("Rehearsal", old), "new": cast("Rehearsal", new)}
    comparison = Comparison(cast("Any", rehearsals), {"old": None, "new": None}, found)
    asyncio.run(comparison.generated([Probe("t", {})]))
    return found


def test_of_calls_that_change_alike_the_smallest_is_kept_and_the_others_are_counted() -> None:
    found = Found()
    for arguments in ({"a": "long"}, {}, {"a": "longer"}):
        found.note(difference(REFUSED, ALLOWED, **arguments))
    [kept] = found.loosened.values()
    assert (kept.arguments, kept.more, found.tightened, found.unchanged) == ({}, 2, {}, 0)


def test_other_words_are_no_other_decision() -> None:
    found = Found()
    found.note(difference(REFUSED, Seen("deny", "rule", "s", "never", "policy.yaml", 4)))
    assert (found.loosened, found.tightened, found.unchanged, found.reworded) == ({}, {}, 1, 1)


@pytest.mark.parametrize("kind", ["engine_unavailable", "store_unavailable"])
def test_where_nobody_answers_nothing_is_compared(kind: str) -> None:
    for old, new in ((kind, "rule"), ("rule", kind), (kind, kind)):
        with pytest.raises(StartError, match="could not be judged"):
            found_by(Answering("deny", old), Answering("deny", new))


def test_a_call_on_which_hand_written_rego_fails_is_refused() -> None:
    files = {"intercept/custom/x.rego": ""}
    failing = Answering("deny", "engine_unavailable", "its status is '500'", files)
    found = found_by(failing, Answering("allow", "allow", files=files))
    assert [one.new.action for one in found.loosened.values()] == ["allow"]
    with pytest.raises(StartError):
        found_by(Answering("deny", "engine_unavailable", "its status is '500'"), Answering("allow", "allow"))


def test_what_monitor_mode_forwards_is_allowed() -> None:
    found = found_by(Answering("deny", "rule"), Answering("allow", "rule"))
    assert len(found.loosened) == 1
