"""The proof of a whole call held against the walk through the rules, over random policies and calls.

Whatever the proof allows the walk allows, with nothing to report and the same reservations; and whatever the walk
allows with nothing to report or to ask, the proof does, unless very many entries apply.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, note, settings

from sidecar.decision.question import question
from sidecar.engine import binary
from sidecar.policy.applies import MOST
from sidecar.policy.bundle import FACTS, Bundle
from sidecar.policy.names import CANARY_ALLOWED, CANARY_DENIED
from tests.policy.drawing import Call, examples
from tests.policy.test_agreement import bundle_of, whole, yaml
from tests.support import OPA
from tests.support.fuzzing import examples as times

BOTH = """\
{at: {"decision": decision, "walk": walk, "proved": proved} |
    some at, question in input
    decision := data.intercept.decision with input as question
    walk := data.intercept.worked_out with input as question
    proved := [true | data.intercept.reserved with input as question]
}
"""


class Answers(msgspec.Struct):
    """The answer, the one by going through the rules, and whether the proof held."""

    decision: msgspec.Raw
    walk: msgspec.Raw
    proved: list[bool]


def both(bundle: Bundle, questions: list[bytes]) -> list[Answers]:
    inputs = [bytes(msgspec.json.decode(each, type=dict[str, msgspec.Raw])["input"]).decode() for each in questions]
    found = binary.evaluate(OPA, BOTH, f"[{','.join(inputs)}]", bundle.files)
    by_place = msgspec.json.decode(found, type=dict[str, Answers])
    return [by_place[str(at)] for at in range(len(questions))]


def agree(bundle: Bundle, questions: list[bytes]) -> list[bool]:
    """Which of the questions are answered by proof, once both ways were found to say the same.

    Where a pattern brings the rules of a class, a tool may have its class from elsewhere: the proof does not know that,
    and the walk then answers what could have been proved.
    """
    proved = []
    knows_all = not any("by_class" in pattern for pattern in msgspec.json.decode(bundle.files[FACTS])["patterns"])
    for asked, answers in zip(questions, both(bundle, questions), strict=True):
        assert answers.decision == answers.walk, asked
        walk: dict[str, Any] = msgspec.json.decode(answers.walk)
        has_nothing_to_say = walk["action"] == "allow" and walk["violations"] == []
        assert has_nothing_to_say or not answers.proved, asked
        assert answers.proved or not (has_nothing_to_say and knows_all), asked
        assert (walk["revision"], walk["serial"]) == (bundle.revision, bundle.serial)
        proved.append(bool(answers.proved))
    return proved


OFTEN = settings(
    times(60),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    phases=[Phase.generate],  # making a failing example small takes minutes of engine runs
)


@pytest.mark.fuzz
@OFTEN
@given(examples())
def test_the_proof_and_the_walk_say_the_same(example: tuple[dict[str, Any], list[Call]]) -> None:
    policy, calls = example
    note(yaml(policy))
    agree(bundle_of(policy), list(map(whole, calls)))


EVERYTHING: dict[str, Any] = {
    "default": "deny",
    "hide": ["secret", "x_*"],
    "tools": {
        "free": {"rules": []},
        "secret": {"rules": [{"action": "allow"}]},
        "x_1": {"rules": [{"action": "allow"}]},
        "small": {"rules": [{"conditions": [{"path": "args.n", "op": "lte", "value": 5}]}, {"rate_limit": "5/hour"}]},
        "watched": {"rules": [{"mode": "monitor", "conditions": [{"path": "args.n", "op": "lte", "value": 5}]}]},
        "spent": {"rules": [{"spend_limit": {"path": "args.n", "per_call": 9, "max": 20, "window": "day"}}]},
        "asked": {
            "rules": [{"action": "require_approval", "conditions": [{"path": "args.n", "op": "gt", "value": 5}]}]
        },
        "get_own": {"rules": [{"action": "allow"}]},
        "get_*": {"rules": [{"conditions": [{"path": "args.n", "op": "lte", "value": 5}]}, {"rate_limit": "5/hour"}]},
        "stop": {"rules": [{"action": "allow"}]},
        "sto?": {"rules": [{"action": "deny"}]},
        CANARY_DENIED: {"rules": [{"action": "allow"}]},
        CANARY_ALLOWED: {"rules": [{"action": "deny"}]},
        "*": {"rules": [{"rate_limit": {"max": 9, "window": "minute"}}]},
    },
}
SMALL: list[Any] = [0, 5, Decimal("5.0")]
LARGE: list[Any] = [6, "5", None, True, [], {}]


@pytest.mark.parametrize(("tools", "proved", "others"), [
    (["free", "get_own", "get_x", "small", "watched", "spent", "asked"], SMALL, []),
    (["free"], LARGE, []),
    (["small", "watched", "get_own", "get_x"], [], LARGE),
    (["spent"], [6, 9], [10, "5", None, -1, True, Decimal("1e-31")]),
    (["asked"], [None], [6, "5", True, [], {}]),
    (["secret", "x_1", "x_2", "stop", "stow", "unlisted", "", "get", "Free", CANARY_DENIED], [], SMALL),
])  # fmt: skip
def test_what_is_proved_is_what_has_nothing_to_be_said_against(
    tools: list[str], proved: list[Any], others: list[Any]
) -> None:
    for tool in tools:
        calls = [question("s", tool, {"n": value}) for value in (*proved, *others)]
        assert agree(bundle_of(EVERYTHING), calls) == [True] * len(proved) + [False] * len(others), tool


def test_the_canaries_are_answered_whatever_the_policy_says_of_them() -> None:
    answers = both(bundle_of(EVERYTHING), [question("s", CANARY_ALLOWED, {}), question("s", CANARY_DENIED, {})])
    assert [msgspec.json.decode(each.decision)["action"] for each in answers] == ["allow", "deny"]
    assert not any(each.proved for each in answers)


def test_an_answer_by_proof_carries_what_is_reserved_and_the_bundle_in_force() -> None:
    bundle = bundle_of(EVERYTHING)
    [answers] = both(bundle, [question("s", "get_own", {"n": 1})])
    decision = msgspec.json.decode(answers.decision)
    assert [(each["rule"], each["amount"], each["limit"]) for each in decision["reserve"]] == [
        ("get_*#2", 1, 5), ("*#1", 1, 9),
    ]  # fmt: skip
    assert (decision["revision"], decision["serial"]) == (bundle.revision, bundle.serial)
    assert bundle_of({**EVERYTHING, "default": "allow"}).revision != bundle.revision


@pytest.mark.parametrize(("patterns", "proved"), [(MOST - 2, True), (MOST - 1, False)])
def test_a_call_to_which_very_many_entries_apply_is_worked_out(patterns: int, proved: bool) -> None:
    limit = {"rules": [{"rate_limit": "5/hour"}]}
    bundle = bundle_of({"tools": {"t": limit, "*": limit, **{"*" * at + "t": limit for at in range(1, patterns + 1)}}})
    [answers] = both(bundle, [question("s", "t", {})])
    assert bool(answers.proved) is proved
    assert answers.decision == answers.walk
    assert len(msgspec.json.decode(answers.decision)["reserve"]) == patterns + 2


def test_the_bundle_does_not_grow_with_the_tools_times_the_patterns() -> None:
    limit = {"rules": [{"rate_limit": "5/hour"}]}
    tools = {f"tool_{at}": limit for at in range(100)}
    patterns = {"*" * at + "_*": limit for at in range(1, 101)}
    [alone, others, both] = [
        sum(map(len, bundle_of({"tools": entries}).files.values())) for entries in (tools, patterns, tools | patterns)
    ]
    assert both < alone + others
