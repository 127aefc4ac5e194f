"""Settings that no single call shows: each change is told, and whether it is less strict."""

from __future__ import annotations

import pytest

from sidecar.policy.merge import merge
from sidecar.policy.model import Policy
from sidecar.policy.read import read
from sidecar.rehearsal.diff.settings_changed import settings_changed

ASKING = "tools: {t: {rules: [{name: ask, action: require_approval, reason: r%s}]}}\n"
LIMIT = "tools: {t: {rules: [{name: l, rate_limit: 3/hour%s}]}}\n"


def policy(text: str) -> Policy:
    file, problems = read(text, "policy.yaml")
    assert problems == []
    return merge([file])[0]


@pytest.mark.parametrize(
    ("strict", "loose", "what"),
    [
        (ASKING % ", approvers: 2", ASKING % "", "rule ask: approvers"),
        (ASKING % ", approval_timeout: 5m", ASKING % ", approval_timeout: 1h", "rule ask: approval_timeout"),
        (ASKING % "", ASKING % ", grant: {for: 1h, calls: 9, same: [args.a]}", "rule ask: grant"),
        (
            ASKING % ", grant: {for: 1h, calls: 9, same: [args.a], at_most: [args.n]}",
            ASKING % ", grant: {for: 1h, calls: 9, same: [args.a]}",
            "rule ask: grant",
        ),
        (
            ASKING % ", grant: {for: 1h, calls: 9, same: [args.a, args.b]}",
            ASKING % ", grant: {for: 1h, calls: 9, same: [args.a]}",
            "rule ask: grant",
        ),
        ("approvals: {four_eyes: true}\n" + ASKING % "", ASKING % "", "approvals.four_eyes"),
        ("approvals: {mask: [args.key]}\n" + ASKING % "", ASKING % "", "approvals.mask"),
        ("approvals: {use_within: 1m}\n" + ASKING % "", ASKING % "", "approvals.use_within"),
        (LIMIT % ", refund: never", LIMIT % "", "rule l: refund"),
        (LIMIT % "", LIMIT % ", refund: on_failure", "rule l: refund"),
        ("list: callable\n" + ASKING % "", ASKING % "", "list"),
    ],
)
def test_a_setting_is_less_strict_one_way_and_not_the_other(strict: str, loose: str, what: str) -> None:
    [there] = settings_changed(policy(strict), policy(loose))
    [back] = settings_changed(policy(loose), policy(strict))
    assert (there.what, there.is_looser, there.opens) == (what, True, False)
    assert (back.what, back.is_looser) == (what, False)
    assert settings_changed(policy(strict), policy(strict)) == ()


def test_methods_that_are_opened_open_something() -> None:
    closed, opened = policy("methods: {unknown: deny, deny: [prompts/get]}\ntools: {}\n"), policy("tools: {}\n")
    assert {(one.what, one.opens) for one in settings_changed(closed, opened)} == {
        ("method prompts/get", True), ("methods that are not known", True),
    }  # fmt: skip
    assert not any(one.opens or one.is_looser for one in settings_changed(opened, closed))


def test_a_rule_that_moves_or_is_renamed_is_no_change_of_a_setting() -> None:
    old = policy("tools: {t: {rules: [{rate_limit: 3/hour, refund: never}, {action: require_approval, reason: r}]}}\n")
    new = policy("tools: {t: {rules: [{action: require_approval, reason: r}, {rate_limit: 3/hour, refund: never}]}}\n")
    assert settings_changed(old, new) == ()
