"""What is said of the policy beside the log: its mode, what is refused, and tools that the server lacks."""

from __future__ import annotations

import pytest

from sidecar.events import BundleJudged, EngineReady, Event, Listed, Reloaded, Unchanged
from sidecar.observe.log.policies import MOST_NAMES
from sidecar.observe.policy_standing import PolicyStanding
from sidecar.policy.model import Mode
from tests.engine.asking import bundle_of
from tests.observe.decided import tell


def ready(policy: str) -> EngineReady:
    bundle = bundle_of(policy)
    return EngineReady("stub", bundle.revision, bundle.serial, bundle.terms)


@pytest.mark.parametrize("accepted", [Reloaded("stub", True, ""), Unchanged("stub")], ids=["another", "the old one"])
def test_a_change_that_is_refused_is_told_until_the_files_say_what_is_in_force(accepted: Event) -> None:
    standing = PolicyStanding(None)
    tell(standing, Reloaded("stub", False, "p.yaml:3: bad\nworse"))
    assert standing.notes() == ["the changed policy is refused: p.yaml:3: bad\\nworse"]
    tell(standing, accepted)
    assert standing.notes() == []


def test_a_bundle_that_is_refused_is_told_until_another_is_in_force() -> None:
    standing = PolicyStanding(None)
    tell(standing, BundleJudged("stub", 7, "", "older", "it has serial 7"))
    assert standing.notes() == ["the bundle with serial 7 is refused (older): it has serial 7"]
    tell(standing, BundleJudged("stub", 9, "c0ffee"))
    assert standing.notes() == []


def test_tools_that_the_server_lacks_are_told_by_its_whole_list_and_the_policy_in_force() -> None:
    standing = PolicyStanding(None)
    tell(standing, ready("tools: {delete_file: {rules: [{action: deny}]}, read: {rules: []}}"))
    tell(standing, Listed("stub", ["read"], whole=False))
    assert standing.notes() == []
    tell(standing, Listed("stub", ["read", "remove_file"], whole=True))
    assert standing.notes() == ["the policy names tools that the server lacks: delete_file"]
    tell(standing, ready("tools: {remove_file: {rules: [{action: deny}]}, read: {rules: []}}"))
    assert standing.notes() == []


def test_of_many_tools_some_are_named_and_the_rest_counted() -> None:
    standing = PolicyStanding(None)
    tools = ", ".join(f"t{number:02}: {{rules: []}}" for number in range(MOST_NAMES + 3))
    tell(standing, ready(f"tools: {{{tools}}}"))
    tell(standing, Listed("stub", [], whole=True))
    (note,) = standing.notes()
    assert note.endswith(f"t{MOST_NAMES - 1:02} and 3 more")


@pytest.mark.parametrize(("chosen", "shown"), [(None, "monitor"), ("enforce", "enforce")])
def test_the_mode_is_that_of_the_policy_unless_the_operator_chose_one(chosen: Mode | None, shown: Mode) -> None:
    standing = PolicyStanding(chosen)
    tell(standing, ready("mode: monitor"))
    assert standing.mode == shown


def test_a_change_is_told_once_and_what_changes_nothing_is_not() -> None:
    standing, told = PolicyStanding(None), []
    standing.changed = lambda: told.append(standing.notes())
    for _ in range(2):
        tell(standing, ready("tools: {t: {rules: []}}"))
        tell(standing, Listed("stub", [], whole=True))
        tell(standing, Listed("stub", ["another"], whole=True))
        tell(standing, Reloaded("stub", False, "bad"))
    missing = "the policy names tools that the server lacks: t"
    assert told == [[missing], ["the changed policy is refused: bad", missing]]
