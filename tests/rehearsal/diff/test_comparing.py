"""Two policies compared: what each kind of edit does to calls is found, and nothing else is said to change."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from sidecar.rehearsal.diff.comparing import Compared, compare
from sidecar.rehearsal.diff.differences import Difference
from sidecar.repository.subject import subject
from tests.support import OPA

pytestmark = pytest.mark.timeout(120)

LOOSER: Final[dict[str, tuple[str, str]]] = {
    "bound": (
        "{conditions: [{path: args.n, op: lte, value: 5}]}",
        "{conditions: [{path: args.n, op: lte, value: 5.01}]}",
    ),
    "bound_excluded": (
        "{conditions: [{path: args.n, op: lt, value: 5}]}",
        "{conditions: [{path: args.n, op: lte, value: 5}]}",
    ),
    "deny_above": (
        "{action: deny, conditions: [{path: args.n, op: gt, value: 5}]}",
        "{action: deny, conditions: [{path: args.n, op: gt, value: 6}]}",
    ),
    "deny_of_two": (
        "{action: deny, conditions: [{path: args.a, op: eq, value: x}, {path: args.n, op: gte, value: 10}]}",
        "{action: deny, conditions: [{path: args.a, op: eq, value: x}, {path: args.n, op: gt, value: 10}]}",
    ),
    "deny_gains_a_condition": (
        "{action: deny, conditions: [{path: args.a, op: eq, value: x}]}",
        "{action: deny, conditions: [{path: args.a, op: eq, value: x}, {path: args.force, op: eq, value: true}]}",
    ),
    "longer_list": (
        "{conditions: [{path: args.cur, op: in, value: [EUR, USD]}]}",
        "{conditions: [{path: args.cur, op: in, value: [EUR, USD, GBP]}]}",
    ),
    "shorter_deny_list": (
        "{conditions: [{path: args.cur, op: not_in, value: [EUR, USD]}]}",
        "{conditions: [{path: args.cur, op: not_in, value: [EUR]}]}",
    ),
    "pattern": (
        "{conditions: [{path: args.name, op: regex, value: '^[a-z]{3}-[0-9]+$'}]}",
        "{conditions: [{path: args.name, op: regex, value: '^[a-z]{3}-[0-9]+'}]}",
    ),
    "folder": (
        "{conditions: [{path: args.path, op: within, value: /srv/data/in}]}",
        "{conditions: [{path: args.path, op: within, value: /srv/data}]}",
    ),
    "host": (
        "{conditions: [{path: args.url, op: host_in, value: [example.com]}]}",
        "{conditions: [{path: args.url, op: host_in, value: ['*.example.com', example.com]}]}",
    ),
    "port": (
        "{conditions: [{path: args.url, op: host_in, value: [example.com]}]}",
        "{conditions: [{path: args.url, op: host_in, value: ['example.com:*']}]}",
    ),
    "made_optional": (
        "{conditions: [{path: args.n, op: lte, value: 5}]}",
        "{conditions: [{path: args.n, op: lte, value: 5, optional: true}]}",
    ),
    "number_as_text": (
        "{conditions: [{path: args.n, op: lte, value: 5}]}",
        "{conditions: [{path: args.n, op: lte, value: 5, decimal_text: true}]}",
    ),
    "deny_that_cannot_judge": (
        "{action: deny, conditions: [{path: args.n, op: gt, value: 5}]}",
        "{action: deny, conditions: [{path: args.n, op: eq, value: 6}]}",
    ),
    "every_element": (
        "{conditions: [{path: 'args.orders[*].sz', op: lte, value: 5}]}",
        "{conditions: [{path: 'args.orders[*].sz', op: lte, value: 6}]}",
    ),
    "some_element": (
        "{action: deny, conditions: [{path: 'args.orders[*].sz', op: gt, value: 5}]}",
        "{action: deny, conditions: [{path: 'args.orders', op: gt, value: 5}]}",
    ),
    "product": (
        "{conditions: [{path: args.sz, times: args.px, op: lte, value: 100}]}",
        "{conditions: [{path: args.sz, times: args.px, op: lte, value: 101}]}",
    ),
    "more_keys": ("{only: [a, b]}", "{only: [a, b, c]}"),
    "no_keys_named": ("{only: [a]}", "{action: allow}"),
    "subject": (
        "{conditions: [{path: principal.subject, op: eq, value: anna}]}",
        "{conditions: [{path: principal.subject, op: in, value: [anna, bob]}]}",
    ),
    "groups": (
        "{conditions: [{path: principal.claims.groups, op: contains, value: admins}]}",
        "{conditions: [{path: principal.claims.groups, op: exists, value: true}]}",
    ),
    "client": (
        "{conditions: [{path: session.client.name, op: eq, value: good}]}",
        "{conditions: [{path: session.client.name, op: regex, value: good}]}",
    ),
    "namespace": (
        "{conditions: [{path: workload.namespace, op: eq, value: prod}]}",
        "{conditions: [{path: workload.namespace, op: in, value: [prod, dev]}]}",
    ),
    "monitored": ("{action: deny}", "{action: deny, mode: monitor}"),
    "asked_no_more": ("{action: require_approval, reason: r}", "{action: allow}"),
    "asked_above": (
        "{action: require_approval, reason: r, conditions: [{path: args.n, op: gt, value: 5}]}",
        "{action: require_approval, reason: r, conditions: [{path: args.n, op: gt, value: 50}]}",
    ),
    "per_call": (
        "{spend_limit: {path: args.n, per_call: 5}}",
        "{spend_limit: {path: args.n, per_call: 5.5}}",
    ),
    "rate": ("{rate_limit: 3/hour}", "{rate_limit: 4/hour}"),
    "rate_of_a_shorter_window": ("{rate_limit: 3/hour}", "{rate_limit: 3/minute}"),
    "rate_by_session": (
        "{rate_limit: {max: 3, window: hour, scope: global}}",
        "{rate_limit: {max: 3, window: hour, scope: session}}",
    ),
    "rate_by_principal": (
        "{rate_limit: {max: 3, window: hour, scope: global}}",
        "{rate_limit: {max: 3, window: hour, scope: principal}}",
    ),
    "sliding_no_more": (
        "{rate_limit: {max: 3, window: hour, sliding: true}}",
        "{rate_limit: {max: 3, window: hour}}",
    ),
    "spending": (
        "{spend_limit: {path: args.n, per_call: 50, max: 100, window: day}}",
        "{spend_limit: {path: args.n, per_call: 50, max: 100.5, window: day}}",
    ),
    "spending_by_session": (
        "{spend_limit: {path: args.n, max: 100, window: day}}",
        "{spend_limit: {path: args.n, max: 100, window: day, scope: session}}",
    ),
    "counted_product": (
        "{spend_limit: {path: args.sz, times: args.px, max: 100, window: day}}",
        "{spend_limit: {path: args.sz, times: args.px, max: 110, window: day}}",
    ),
    "state": (
        "{state: {counter: n, window: hour}, conditions: [{path: state.state.n, op: lte, value: 3}]}",
        "{state: {counter: n, window: hour}, conditions: [{path: state.state.n, op: lte, value: 4}]}",
    ),
    "read_counter": (
        "{action: deny, conditions: [{path: state.counts.n, op: gte, value: 5}]}",
        "{action: deny, conditions: [{path: state.counts.n, op: gte, value: 6}]}",
    ),
    "dropped": ("{action: deny}", ""),
}
"""Edits of one rule that let a call pass which was refused, or pass without a person."""
BOTH_WAYS: Final = {"deny_that_cannot_judge", "some_element", "sliding_no_more", "rate_by_principal"}
"""Of these the edits stop other calls too: texts that cannot be judged, calls of nobody who is known."""
_COUNTS: Final = "  counts: {rules: [{state: {counter: n, window: hour}}]}\n"


def policy(rules: dict[str, str]) -> str:
    return "tools:\n" + _COUNTS + "".join(f"  {tool}: {{rules: [{rule}]}}\n" for tool, rule in rules.items())


def comparison(folder: Path, old: str, new: str) -> Compared:
    paths = [folder / "old.yaml", folder / "new.yaml"]
    for path, text in zip(paths, (old, new), strict=True):
        path.write_text(text)
    before, after = (subject(path, OPA) for path in paths)
    return asyncio.run(compare(before, after, OPA, (), ()))


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> Compared:
    """All edits at once, each on a tool of its own."""
    old, new = (policy({tool: edit[at] for tool, edit in LOOSER.items()}) for at in (0, 1))
    return comparison(tmp_path_factory.mktemp("edited"), old, new)


@pytest.fixture(scope="module")
def taken_back(tmp_path_factory: pytest.TempPathFactory) -> Compared:
    """The same edits the other way round."""
    old, new = (policy({tool: edit[at] for tool, edit in LOOSER.items()}) for at in (1, 0))
    return comparison(tmp_path_factory.mktemp("taken_back"), old, new)


def of_tool(found: Sequence[Difference], tool: str) -> list[Difference]:
    return [one for one in found if one.tool == tool]


@pytest.mark.parametrize("tool", LOOSER)
def test_an_edit_that_lets_a_call_pass_is_found(edited: Compared, tool: str) -> None:
    found = next(iter(of_tool(edited.allowed, tool)))
    assert (found.old.action, found.new.action) in (("deny", "allow"), ("approval", "allow"))
    assert found.old.file == "old.yaml"
    assert found.old.line == 3 + list(LOOSER).index(tool)


@pytest.mark.parametrize("tool", sorted(LOOSER.keys() - BOTH_WAYS))
def test_an_edit_that_lets_calls_pass_refuses_none(edited: Compared, tool: str) -> None:
    assert of_tool(edited.tightened, tool) == []


@pytest.mark.parametrize("tool", LOOSER)
def test_an_edit_that_stops_a_call_is_found_with_the_line_that_stops_it(taken_back: Compared, tool: str) -> None:
    found = next(iter(of_tool(taken_back.tightened, tool)))
    assert (found.new.file, found.new.line) == ("new.yaml", 3 + list(LOOSER).index(tool))


@pytest.mark.parametrize("tool", sorted(LOOSER.keys() - BOTH_WAYS))
def test_an_edit_that_stops_calls_is_not_said_to_let_any_pass(taken_back: Compared, tool: str) -> None:
    assert of_tool(taken_back.loosened, tool) == []


ASKED: Final[dict[str, tuple[str, str, str]]] = {
    "fewer_people": (
        "{name: by two, action: require_approval, approvers: 2, reason: r}",
        "{name: by one, action: require_approval, reason: r}",
        "approvers",
    ),
    "more_time": (
        "{name: soon, action: require_approval, approval_timeout: 5m, reason: r}",
        "{name: late, action: require_approval, approval_timeout: 1h, reason: r}",
        "approval_timeout",
    ),
    "more_calls": (
        "{name: each, action: require_approval, reason: r, conditions: [{path: args.n, op: gt, value: 5}]}",
        "{name: many, action: require_approval, reason: r, grant: {for: 1h, calls: 9, same: [args.a]}}",
        "grant",
    ),
}
"""Edits of rules that are renamed by them, so that only the calls show what people are asked for."""


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Compared:
    old, new = (policy({tool: edit[at] for tool, edit in ASKED.items()}) for at in (0, 1))
    return comparison(tmp_path_factory.mktemp("asked"), old, new)


@pytest.mark.parametrize("tool", ASKED)
def test_less_is_asked_of_people_by_a_rule_with_another_name(asked: Compared, tool: str) -> None:
    told = [one for one in asked.settings if one.what.startswith(f"calls of {tool} ")]
    assert [(one.what.rpartition(": ")[2], one.is_looser, one.line) for one in told] == [
        (ASKED[tool][2], True, f"new.yaml:{3 + list(ASKED).index(tool)}")
    ]
    assert asked.differs


def test_what_is_told_of_a_rule_is_not_told_of_its_calls_again(tmp_path: Path) -> None:
    old, new = (policy({"t": f"{{name: ask, action: require_approval, approvers: {n}, reason: r}}"}) for n in (3, 2))
    assert [one.what for one in comparison(tmp_path, old, new).settings] == ["rule ask: approvers"]


_TEXT: Final = "{conditions: [{path: args.p, op: %s, value: '%s'}]}"
TOGETHER: Final[dict[str, tuple[str, str]]] = {
    "begins_and_ends": (
        "{conditions: [{path: args.p, op: regex, value: '^/data/in/'}, {path: args.p, op: regex, value: '[.]csv$'}]}",
        "{conditions: [{path: args.p, op: regex, value: '^/data/'}, {path: args.p, op: regex, value: '[.]csv$'}]}",
    ),
    "in_a_folder": (
        "{conditions: [{path: args.p, op: within, value: /srv/in}, {path: args.p, op: regex, value: '[.]csv$'}]}",
        "{conditions: [{path: args.p, op: within, value: /srv}, {path: args.p, op: regex, value: '[.]csv$'}]}",
    ),
    "by_two_rules": (
        f"{_TEXT % ('regex', '^a/')}, {_TEXT % ('contains', 'b')}",
        f"{_TEXT % ('regex', '^c?/')}, {_TEXT % ('contains', 'b')}",
    ),
    "of_three": (
        f"{_TEXT % ('regex', '^a/')}, {_TEXT % ('contains', 'b')}, {_TEXT % ('regex', 'c$')}",
        f"{_TEXT % ('regex', '^a')}, {_TEXT % ('contains', 'b')}, {_TEXT % ('regex', 'c$')}",
    ),
}
"""Edits that only a text shows which meets several conditions together."""


def test_a_text_is_found_that_several_conditions_meet_together(tmp_path: Path) -> None:
    old, new = (policy({tool: edit[at] for tool, edit in TOGETHER.items()}) for at in (0, 1))
    found = comparison(tmp_path, old, new)
    assert {one.tool for one in found.allowed} == TOGETHER.keys()
    assert not found.unknown


BLIND: Final = (
    "%s, conditions: [{path: args.p, op: regex, value: '^x[a-z]{9}y$'}, {path: args.p, op: contains, value: %s}]"
)
"""Conditions that no text of ours meets together."""


@pytest.mark.parametrize(
    ("action", "said"),
    [
        ("action: evaluate", "t: no call was found that the rules of the old policy let pass"),
        ("action: deny", "t#1 (old.yaml:3) changes, and no call was found that meets its conditions together"),
    ],
)
def test_where_no_call_was_found_that_shows_what_a_change_does_that_is_said(
    tmp_path: Path, action: str, said: str
) -> None:
    old, new = (policy({"t": f"{{{BLIND % (action, text)}}}"}) for text in ("qq", "ab"))
    found = comparison(tmp_path, old, new)
    assert said in found.unexplored
    assert found.differs
    assert not comparison(tmp_path, new, new).differs


def _items(before: str, after: str, between: str = ", ") -> str:
    """Many items, and one more between them."""
    every = [before.format(f"a{number}") for number in range(60)]
    return between.join([*every[:30], *([after] if after else []), *every[30:]])


_ONE: Final = "{conditions: [{path: args.p, op: %s, value: %s}]}"
_STOPS: Final = "{action: deny, conditions: [{path: args.p, op: %s, value: %s}]}"
_PRODUCT: Final = (
    "{conditions: [{path: args.a, times: args.b, op: lte, value: %d}, {path: args.a, op: lte, value: 10}, "
    "{path: args.b, op: lte, value: 200}]}"
)
_LISTS: Final = {
    "one_of_many_texts": (_ONE % ("in", "[%s]"), "{}", ", "),
    "one_of_many_hosts": (_ONE % ("host_in", "[%s]"), "{}.test", ", "),
    "one_of_many_folders": (_ONE % ("within", "[%s]"), "/{}", ", "),
    "one_of_many_words": (_ONE % ("regex", "'^(%s)$'"), "{}", "|"),
}
HIDDEN: Final[dict[str, tuple[str, str]]] = {
    **{
        name: (rule % _items(item, "", between), rule % _items(item, item.format("evil"), between))
        for name, (rule, item, between) in _LISTS.items()
    },
    "not_one_of_many": (
        _ONE % ("not_in", f"[{_items('{}', 'evil')}]"),
        _ONE % ("not_in", f"[{_items('{}', '')}]"),
    ),
    "a_product_of_bounded_factors": (_PRODUCT % 1000, _PRODUCT % 1500),
    "one_line": (_STOPS % ("regex", "'(?s)^a.*b$'"), _STOPS % ("regex", "'^a.*b$'")),
    "every_line": (_STOPS % ("regex", "'(?m)^root'"), _STOPS % ("regex", "'^root'")),
    "one_more_character": (_STOPS % ("regex", "'[^a-z0-9 ]'"), _STOPS % ("regex", "'[^a-z0-9 ;]'")),
    "another_character": (_ONE % ("regex", "'^[^;]*$'"), _ONE % ("regex", "'^[^,]*$'")),
}
"""Edits by which one value more passes, among many that are as before."""


def test_one_value_more_is_found_among_many(tmp_path: Path) -> None:
    old, new = (policy({tool: edit[at] for tool, edit in HIDDEN.items()}) for at in (0, 1))
    found = comparison(tmp_path, old, new)
    assert {one.tool for one in found.allowed} == HIDDEN.keys()


def test_two_patterns_that_no_text_tells_apart_are_said_to_be(tmp_path: Path) -> None:
    old, new = (policy({"t": _STOPS % ("regex", pattern)}) for pattern in ("'^a{5,9}b'", "'^a{5,9}(b)'"))
    found = comparison(tmp_path, old, new)
    assert found.unexplored == (
        "t#1 (new.yaml:3) changes, and no text was found that tells its pattern from the former one",
    )
    assert found.differs


def test_of_too_many_tools_those_that_change_are_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.rehearsal.diff.comparing.MOST_TOOLS", 3)
    same = {f"t{number}": "{action: deny}" for number in range(9)}
    old, new = (policy({**same, "z": _ONE % ("lte", number)}) for number in (5, 6))
    found = comparison(tmp_path, old, new)
    assert {one.tool for one in found.allowed} == {"z"}
    assert found.unexplored == ()
    every = policy(dict.fromkeys(same, "{action: allow}"))
    assert "7 tools of which the policies do not say the same" in comparison(tmp_path, old, every).unexplored


def test_a_change_that_no_call_shows_is_no_sameness(tmp_path: Path) -> None:
    # Whatever the search cannot think of: here there is nothing to find.
    old, new = (policy({"t": _ONE % edit}) for edit in (("eq", "a"), ("in", "[a]")))
    found = comparison(tmp_path, old, new)
    assert found.unexplored == ("t: its rules change, and no call was found that is decided otherwise",)
    assert (found.differs, found.opens) == (True, False)


def test_a_rule_that_is_renamed_and_taken_apart_is_the_same(tmp_path: Path) -> None:
    one, other = ("{path: args.n, op: lte, value: 5}", "{path: args.p, op: in, value: [a, b]}")
    old = policy({"t": f"{{name: both, conditions: [{one}, {other}], reason: r}}"})
    new = policy({"t": f"{{conditions: [{other}]}}, {{name: n, conditions: [{one}], reason: other}}"})
    found = comparison(tmp_path, old, new)
    assert (found.differs, found.unexplored) == (False, ())
