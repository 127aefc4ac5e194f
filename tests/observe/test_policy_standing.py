"""What is said of the policy beside the log: its mode, what is refused, and names that no tool has."""

from __future__ import annotations

import pytest

from sidecar.events import BundleJudged, EngineReady, Event, Listed, Reloaded, Unchanged, fan_out
from sidecar.observe.comparison import Comparison
from sidecar.observe.policy_standing import PolicyStanding
from sidecar.policy.model import Mode
from tests.engine.asking import bundle_of
from tests.observe.decided import tell


def ready(policy: str) -> EngineReady:
    bundle = bundle_of(policy)
    return EngineReady("stub", bundle.revision, bundle.serial, bundle.terms)


@pytest.mark.parametrize("accepted", [Reloaded("stub", True, ""), Unchanged("stub")], ids=["another", "the old one"])
def test_a_change_that_is_refused_is_told_until_the_files_say_what_is_in_force(accepted: Event) -> None:
    standing = PolicyStanding(None, Comparison())
    tell(standing, Reloaded("stub", False, "p.yaml:3: bad\nworse"))
    assert standing.notes() == ["the changed policy is refused: p.yaml:3: bad\\nworse"]
    tell(standing, accepted)
    assert standing.notes() == []


def test_a_bundle_that_is_refused_is_told_until_another_is_in_force() -> None:
    standing = PolicyStanding(None, Comparison())
    tell(standing, BundleJudged("stub", 7, "", "older", "it has serial 7"))
    assert standing.notes() == ["the bundle with serial 7 is refused (older): it has serial 7"]
    tell(standing, BundleJudged("stub", 9, "c0ffee"))
    assert standing.notes() == []


@pytest.mark.parametrize(("chosen", "shown"), [(None, "monitor"), ("enforce", "enforce")])
def test_the_mode_is_that_of_the_policy_unless_the_operator_chose_one(chosen: Mode | None, shown: Mode) -> None:
    standing = PolicyStanding(chosen, Comparison())
    tell(standing, ready("mode: monitor"))
    assert standing.mode == shown


def test_a_change_is_told_once_and_what_changes_nothing_is_not() -> None:
    comparison, told = Comparison(), []
    standing = PolicyStanding(None, comparison)
    standing.changed = lambda: told.append(standing.notes())
    tell_both = fan_out([comparison, standing])
    policy = ready("tools: {t: {rules: []}}")
    for _ in range(2):
        tell_both(policy)
        tell_both(Listed("stub", [], whole=True))
        tell_both(Listed("stub", ["another"], whole=True))
        tell_both(Reloaded("stub", False, "bad"))
    missing = "the policy names tools that the server lacks: t"
    assert told == [[missing], ["the changed policy is refused: bad", missing]]
