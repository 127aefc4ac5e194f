"""What a good policy is warned of, and what it is not."""

from __future__ import annotations

from textwrap import indent

import pytest

from sidecar.policy.check import check
from sidecar.policy.hints import hints, notes
from sidecar.policy.merge import merge
from sidecar.policy.read import read


def warnings(*texts: str) -> list[str]:
    """The warnings about a policy that is good, of files a.yaml, b.yaml and so on."""
    found = [read(text, f"{name}.yaml") for name, text in zip("abc", texts, strict=False)]
    files = [file for file, _ in found]
    policy, clashes = merge(files)
    assert [*clashes, *check(policy), *(problem for _, problems in found for problem in problems)] == []
    return [str(problem) for problem in sorted(hints(policy, files))]


def of_rules(text: str) -> list[str]:
    return warnings(f"tools:\n  t:\n    rules:\n{indent(text, '      ')}\n")


def of_condition(action: str, path: str, op: str, value: str) -> list[str]:
    return of_rules(f"- action: {action}\n  conditions:\n    - {{path: {path}, op: {op}, value: '{value}'}}")


# Nothing is said.

ALLOWS_EVERYTHING = "no rule stands here, so it allows everything: write rules under tools, or default: deny"
RULED = "tools: {t: {rules: [{action: deny}]}}"


@pytest.mark.parametrize(
    "text",
    ["", "tools:", "tools: {}", "version: 1", "tools: {t: {}}", "tools: {t: {rules: []}}", "tools: {t: {class: Read}}"],
)
def test_a_policy_that_says_nothing_allows_everything_and_is_warned_of(text: str) -> None:
    [warning] = warnings(text)
    assert warning == f"a.yaml:1:1: warning: file: {ALLOWS_EVERYTHING}"


@pytest.mark.parametrize("text", [
    "default: deny", "default: deny\nmethods: {unknown: allow}",
    "hide: [t]", "methods: {unknown: deny}", "methods: {deny: [resources/read]}",
    "tools: {'*': {rules: [{rate_limit: 1/day}]}}", "tools: {t: {rules: [{action: require_approval}]}}",
    "tools: {t: {rules: [{action: allow}]}, u: {rules: [{action: deny, mode: monitor}, {action: deny}]}}",
    "tools: {t: {rules: [{action: allow}]}, u: {rules: [{spend_limit: {path: args.a, per_call: 1}}]}}",
    "tools: {t: {rules: [{state: {counter: n, window: day, increment_from: args.a}}]}}",
    "hide: [u]\ntools: {t: {rules: [{action: allow}]}}", "default: deny\ntools: {t: {rules: [{action: allow}]}}",
    "default: deny\ntools: {t: {rules: [{action: deny, mode: monitor}]}}",
    "mode: monitor\ntools: {t: {rules: [{action: deny, mode: monitor}]}}",
    "classes: {Read: {rules: [{rate_limit: 1/day}]}}\ntools: {t: {class: Read}}",
])  # fmt: skip
def test_a_policy_that_forbids_anything_is_not(text: str) -> None:
    assert warnings(text) == []


ONLY_ALLOWED = (
    "no rule refuses anything, so every other tool is allowed too: write default: deny if only these may be called"
)


@pytest.mark.parametrize("text", [
    "tools: {t: {rules: [{action: allow}]}, u: {rules: [{action: allow}]}}",
    "tools: {t: {rules: [{action: allow}]}, 'g*': {rules: []}, '*': {rules: []}}",
    "tools: {t: {rules: [{action: allow}, {state: {counter: n, window: day}}]}}",
    "tools: {t: {rules: [{action: allow}]}}\nmethods: {unknown: deny}",
])  # fmt: skip
def test_a_list_of_what_is_allowed_that_refuses_nothing_else_is_warned_of_once(text: str) -> None:
    assert warnings(text) == [f"a.yaml:1:21: warning: tools.t.rules[1]: {ONLY_ALLOWED}"]


@pytest.mark.parametrize("mode", ["monitor", "shadow"])
@pytest.mark.parametrize(
    "more", ["", ", u: {rules: [{action: allow}]}, v: {rules: [{rate_limit: 1/day, mode: monitor}]}"]
)
def test_rules_of_which_each_only_reports_are_warned_of_once(mode: str, more: str) -> None:
    text = f"mode: {mode} only reports, and no other rule refuses anything, so every call is allowed: remove it"
    [warning] = warnings(f"tools: {{t: {{rules: [{{action: deny, mode: {mode}}}]}}{more}}}")
    assert warning == f"a.yaml:1:21: warning: tools.t.rules[1]: {text} when the rule was tried enough"


def test_of_several_files_the_rules_of_all_count() -> None:
    allowing, trying = "tools: {t: {rules: [{action: allow}]}}", "tools: {v: {rules: [{action: deny, mode: shadow}]}}"
    assert warnings(allowing, RULED.replace("t:", "u:")) == []
    assert warnings(trying, RULED) == []
    [warning] = warnings(allowing, trying)
    assert warning.startswith("b.yaml:1:21: warning: tools.v.rules[1]: mode: shadow only reports")


def test_rules_of_a_class_that_hold_nothing_back_are_warned_of_where_they_stand() -> None:
    [warning] = warnings("classes: {Read: {rules: [{action: allow}]}}\ntools: {t: {class: Read}}")
    assert warning == f"a.yaml:1:26: warning: classes.Read.rules[1]: {ONLY_ALLOWED}"


def test_rules_of_a_class_that_no_tool_has_are_none() -> None:
    unused, nothing = warnings("classes: {Read: {rules: [{action: allow}]}}")[::-1]
    assert "no tool has this class" in unused
    assert nothing == f"a.yaml:1:1: warning: file: {ALLOWS_EVERYTHING}"


def test_beside_hand_written_rego_nothing_is_said_of_all_that_is_allowed() -> None:
    for text in ("", "tools: {t: {rules: [{action: allow}]}}", "tools: {t: {rules: [{action: deny, mode: shadow}]}}"):
        file, _ = read(text, "a.yaml")
        assert hints(merge([file])[0], [file], alone=False) == []


@pytest.mark.parametrize("text", [
    "", "version: 1\ndescription: common", "tools: {}", "tools: {u: {}}", "tools: {u: {rules: []}}", "default: allow",
    "methods: {unknown: allow}", "classes: {}",
])  # fmt: skip
def test_a_file_that_says_nothing_is_warned_of_beside_one_with_rules(text: str) -> None:
    words = (
        "no rule stands here, so by itself it allows everything: write rules under tools, or default: deny, or leave "
        "this file out"
    )
    assert warnings(text, RULED) == [f"a.yaml:1:1: warning: file: {words}"]
    assert warnings("", RULED, text) == [f"{name}.yaml:1:1: warning: file: {words}" for name in "ac"]


@pytest.mark.parametrize("text", [
    "approvals: {timeout: 1h}", "hide: [u]", "default: deny", "methods: {unknown: deny}", "list: callable",
    "mode: enforce", "classes: {Read: {rules: [{action: allow}]}}\ntools: {r: {class: Read}}",
    "tools: {u: {class: Read}}", "tools: {u: {severity: high}}",
])  # fmt: skip
def test_a_file_that_says_something_beside_one_with_rules_is_not(text: str) -> None:
    assert warnings(text, RULED) == warnings(RULED, text) == []


def test_a_file_that_opens_a_tool_under_the_other_files_default_deny_says_something() -> None:
    closed = f"default: deny\n{RULED}"
    assert warnings(closed, "tools: {u: {rules: []}}") == []
    assert len(warnings(closed, "tools: {'*': {rules: []}}")) == 1


def test_files_that_allow_everything_together_are_warned_of_where_nothing_stands() -> None:
    assert warnings("approvals: {timeout: 1h}", "") == [f"b.yaml:1:1: warning: file: {ALLOWS_EVERYTHING}"]
    shared = ("approvals: {timeout: 1h}", "list: callable")
    assert warnings(*shared) == [f"a.yaml:1:1: warning: file: {ALLOWS_EVERYTHING}"]


def test_rules_of_a_class_in_one_file_hold_for_the_tools_of_another() -> None:
    assert warnings("classes: {Read: {rules: [{rate_limit: 1/day}]}}", "tools: {t: {class: Read}}") == []


def test_text_that_writes_a_number_fits_no_standing_approval_and_is_warned_of() -> None:
    condition = "{path: args.sz, op: gt, value: 5, decimal_text: true}"
    grant = "{for: 1h, calls: 5, same: [args.id], at_most: [args.n, args.sz]}"
    [warning] = of_rules(f"- action: require_approval\n  conditions: [{condition}]\n  grant: {grant}")
    assert warning == (
        "a.yaml:4:9: warning: tools.t.rules[1].grant.at_most: line 5 reads args.sz with decimal_text, and here a "
        "number in quotes is only text, which no standing approval fits: name it under same"
    )


# Approvals: what is right only where the sidecar is run so.


def notes_on(*texts: str) -> list[str]:
    """What there is to know of how a policy is run."""
    policy, _ = merge([read(text, f"{name}.yaml")[0] for name, text in zip("abc", texts, strict=False)])
    return [str(note) for note in sorted(notes(policy))]


ASKING = "- {action: require_approval}\n- rate_limit: 5/day\n- {action: require_approval, reason: ask}"
IN_RULES = f"tools:\n  t:\n    rules:\n{indent(ASKING, '      ')}\n"


NOTIFY = "{notify: {webhook: {url: 'https://desk.example.com/', secret_env: SECRET}}}"
NOBODY_HEARS = (
    "a person is asked, and nothing here says how anybody hears of it: answer with `sidecar approvals`, run with "
    "--approvals and --approvers-file, or write approvals: {notify: …} to tell another system, or {hold: …} for "
    "somebody who sits at the client"
)


@pytest.mark.parametrize("said", [
    "", "approvals: {}", "approvals: {timeout: 1h, use_within: 5m}", "approvals: {hold: 0}",
    "approvals: {mask: [args.a], answer: result}",
])  # fmt: skip
def test_that_a_person_is_asked_and_nobody_hears_is_noted_once(said: str) -> None:
    assert warnings(IN_RULES + said) == []
    assert notes_on(IN_RULES + said) == [f"a.yaml:4:9: warning: tools.t.rules[1]: {NOBODY_HEARS}"]
    assert notes_on(IN_RULES, said) == notes_on(IN_RULES)


@pytest.mark.parametrize("texts", [
    [f"{IN_RULES}approvals: {NOTIFY}"], [IN_RULES, f"approvals: {NOTIFY}"], ["approvals: {hold: 45s}", IN_RULES],
    ["tools: {t: {rules: [{action: require_approval, mode: monitor}]}}"],
    ["mode: monitor\ntools: {t: {rules: [{action: require_approval}]}}"], ["tools: {t: {rules: [{action: deny}]}}"],
])  # fmt: skip
def test_where_somebody_hears_or_nobody_is_asked_nothing_is_noted(texts: list[str]) -> None:
    assert notes_on(*texts) == []


def test_a_rule_of_a_class_that_asks_is_noted_where_it_stands() -> None:
    [note] = notes_on("""\
classes:
  Financial:
    rules:
      - action: require_approval
tools:
  pay: {class: Financial}
  "refund*": {class: Financial}
""")
    assert note.startswith("a.yaml:4:9: warning: classes.Financial.rules[1]: a person is asked")


def test_four_eyes_need_to_know_who_asks() -> None:
    asking, note = notes_on(IN_RULES + "approvals:\n  four_eyes: true\n")
    assert asking.endswith(NOBODY_HEARS)
    assert note.startswith("a.yaml:7:1: warning: approvals.four_eyes: who asks is known only over HTTP with --jwt-jwks")
    assert "whoever asked may approve too" in note
    assert notes_on("approvals: {four_eyes: true}\ntools: {t: {rules: [{action: deny}]}}") == []


def test_one_of_several_approvers_may_be_who_asked() -> None:
    asking = "{action: require_approval}, {action: require_approval, approvers: 2}"
    rules = f"approvals: {{hold: 9s}}\ntools: {{t: {{rules: [{asking}]}}}}"
    [note] = notes_on(rules)
    assert note.startswith("a.yaml:2:49: warning: tools.t.rules[2].approvers: one of the 2 may be who asked: write")
    [note] = notes_on(rules.replace("9s}", "9s, four_eyes: true}", 1))
    assert ".four_eyes: who asks is known only" in note


# Folders.

SRV = "{path: args.path, op: within, value: /srv/a}"


@pytest.mark.parametrize("pattern", [
    "^/srv/a/", "^/srv/a", "^/srv/a.*", "^/srv/a(/|$)", "^/srv/a(?:$|/)", r"^\/srv\/a\/.*$", "^/srv/a/?$",
    "^/srv/a/(.*)$", "^/srv//a/.+",
])  # fmt: skip
def test_a_pattern_of_a_folder_is_answered_with_within(pattern: str) -> None:
    [warning] = of_condition("evaluate", "args.path", "regex", pattern)
    words = f"regex compares text, and /srv/a/../x passes too: write {SRV}"
    assert warning == f"a.yaml:6:49: warning: tools.t.rules[1].conditions[1]: {words}"


@pytest.mark.parametrize(("action", "op", "value", "advice"), [
    ("evaluate", "regex", r"^/srv/a/.*\.txt$", f"add {SRV}"),
    ("evaluate", "not_regex", "^/srv/a/", f"write a rule with action: deny and conditions: [{SRV}]"),
    ("evaluate", "contains", "/srv/a", f"write {SRV}"),
    ("evaluate", "not_contains", "/srv/a", f"write a rule with action: deny and conditions: [{SRV}]"),
    ("deny", "regex", "^/srv/a", f"write {SRV}"),
    ("deny", "regex", r"^/srv/a/.*\.key$", f"write {SRV}, and the rest of the pattern as a condition of its own"),
    ("deny", "not_regex", "^/srv/a/", f"write action: evaluate with {SRV}"),
    ("deny", "contains", "/srv/a", f"write {SRV}"),
    ("deny", "not_contains", "/srv/a/", f"write action: evaluate with {SRV}"),
])  # fmt: skip
def test_what_within_says_safely_is_told_line_by_line(action: str, op: str, value: str, advice: str) -> None:
    [warning] = of_condition(action, "args.path", op, value)
    assert warning.endswith(f": {advice}")
    assert of_rules(f"- action: evaluate\n  conditions:\n    - {SRV}") == []


BOTH = "{path: args.path, op: within, value: [/srv/a, /tmp]}"


@pytest.mark.parametrize("pattern", [
    "^/(srv/a|tmp)/", "^(/srv/a|/tmp)/", "^(?:/srv/a|/tmp)(?:/|$)", "^(/srv/a/|/tmp/).*$", "^(/srv/a/.*|/tmp/.*)$",
    "^(/srv/a|/tmp)(/.*)?$", "^(/srv/(a|a)|/tmp)/", "^/srv/a/|^/tmp/", r"^(\/srv\/a|\/tmp)\/", "^(?:(/srv/a)|(/tmp))",
])  # fmt: skip
def test_a_pattern_of_several_folders_is_answered_with_their_list(pattern: str) -> None:
    [warning] = of_condition("evaluate", "args.path", "regex", pattern)
    assert warning.endswith(f"conditions[1]: regex compares text, and /srv/a/../x passes too: write {BOTH}")
    assert of_rules(f"- action: evaluate\n  conditions:\n    - {BOTH}") == []


@pytest.mark.parametrize(("action", "op", "value", "advice"), [
    ("evaluate", "regex", r"^/(srv/a|tmp)/.*\.txt$", f"add {BOTH}"),
    ("evaluate", "regex", "^/srv/(a|b/c)x[0-9]/", "add {path: args.path, op: within, value: /srv}"),
    ("evaluate", "not_regex", "^(/srv/a|/tmp)/", f"write a rule with action: deny and conditions: [{BOTH}]"),
    ("deny", "regex", "^(/srv/a|/tmp)$", f"/x/../srv/a is the same folder: write {BOTH}"),
    ("deny", "regex", r"^/(srv/a|tmp)/.*\.p$", f"write {BOTH}, and the rest of the pattern as a condition of its own"),
    ("deny", "not_regex", "^/(srv/a|tmp)/", f"write action: evaluate with {BOTH}"),
])  # fmt: skip
def test_what_a_list_of_folders_says_safely_is_told_line_by_line(
    action: str, op: str, value: str, advice: str
) -> None:  # fmt: skip
    [warning] = of_condition(action, "args.path", op, value)
    assert warning.endswith(advice)


@pytest.mark.parametrize("pattern", [
    "^/srv/a/|tmp", "^/srv/a/|^[a-z]+$", "^(/srv/a/|[a-z])", "^(/srv/a/|/etc/passwd$)", r"^/(srv|\.\.)/",
    "^/(srv|)/", "^(/srv|/tmp)+/", "^/(srv|tmp)*/", "^/(srv|tmp)$", "^/(?i:srv|tmp)/", "(?i)^/(srv|tmp)/", "^/srv/?x",
    "^/[(]srv|tmp[)]/", r"^/\(srv|tmp\)/", r"^/\Qsrv(\E|x)/", r"^/srv/.*\.txt$|^/tmp/",
    f"^/({'|'.join(f'a{at}' for at in range(100))})/",
])  # fmt: skip
def test_what_no_list_of_folders_can_say_is_left_alone(pattern: str) -> None:
    assert of_condition("evaluate", "args.path", "regex", pattern) == []


def test_a_path_with_brackets_is_told_as_yaml_reads_it() -> None:
    [warning] = of_condition("evaluate", "'args.paths[*]'", "regex", "^/srv/it-s @1/")
    assert warning.endswith("write {path: 'args.paths[*]', op: within, value: '/srv/it-s @1'}")


@pytest.mark.parametrize(("action", "path", "op", "value"), [
    ("evaluate", "args.path", "regex", "^[a-z]+$"), ("evaluate", "args.path", "regex", "/srv/a"),
    ("evaluate", "args.path", "regex", "^/"), ("evaluate", "args.path", "regex", "^/srv/a$"),
    ("evaluate", "args.path", "eq", "/srv/a"),
    ("evaluate", "args.text", "contains", "/srv/a"), ("evaluate", "args.path", "contains", "srv"),
    ("deny", "args.path", "contains", "/etc"), ("evaluate", "principal.subject", "regex", "^/srv/a/"),
])  # fmt: skip
def test_what_means_no_folder_or_is_safe_is_left_alone(action: str, path: str, op: str, value: str) -> None:
    assert of_condition(action, path, op, value) == []


# Numbers that come as text.


def test_a_comparison_without_decimal_text_beside_one_with_it_is_warned_of() -> None:
    found = of_rules("""\
- spend_limit: {path: args.sz, per_call: 10, decimal_text: true}
- conditions: [{path: args.px, op: gt, value: 0, decimal_text: true}]
- conditions:
    - {path: args.sz, op: gte, value: 1}
    - {path: args.px, op: lt, value: 9}
    - {path: args.px, op: lt, value: 9, decimal_text: true}
    - {path: args.other, op: lt, value: 9}
    - {path: args.sz, op: regex, value: "^[0-9]+$"}
""")
    assert [warning.split(":")[1] for warning in found] == ["7", "8"]
    assert "line 4 reads this argument with decimal_text" in found[0]
    assert "line 5 reads this argument with decimal_text" in found[1]
    assert all(warning.endswith("; add decimal_text: true") for warning in found)


def test_the_same_argument_of_another_tool_is_another_argument() -> None:
    one = "{rules: [{spend_limit: {path: args.sz, per_call: 1, decimal_text: true}}]}"
    assert warnings(f"tools: {{t: {one}, u: {{rules: [{{conditions: [{{path: args.sz, op: lt, value: 9}}]}}]}}}}") == []


# Rules in shadow.


@pytest.mark.parametrize(("rules", "permits"), [
    ("[{action: deny, mode: shadow}]", False),
    ("[{action: allow, mode: shadow}, {rate_limit: 1/day, mode: shadow}]", False),
    ("[{action: allow}, {action: deny, mode: shadow}]", True),
    ("[{action: deny, mode: monitor}]", True),
])  # fmt: skip
def test_a_tool_that_is_only_tried_stays_refused_under_default_deny_which_is_said(rules: str, permits: bool) -> None:
    found = warnings(f"default: deny\ntools: {{t: {{rules: {rules}}}}}")
    assert any("permit nothing, so default: deny refuses the tool" in warning for warning in found) is not permits
    assert not any("default: deny refuses" in warning for warning in warnings(f"tools: {{t: {{rules: {rules}}}}}"))


def test_a_rule_in_shadow_guards_no_dangerous_tool() -> None:
    for rule, guards in (("action: deny, mode: shadow", False), ("rate_limit: 1/day", True)):
        found = warnings(f"tools: {{pay: {{class: Financial, rules: [{{{rule}}}]}}}}")
        assert (found == []) is guards


# What can never be reached.


@pytest.mark.parametrize(("first", "reached"), [
    ("{action: deny}", False), ("{action: deny, mode: monitor}", True),
    ("{action: deny, conditions: [{path: args.a, op: eq, value: 1}]}", True),
])  # fmt: skip
def test_only_after_a_rule_that_denies_every_call_nothing_is_reached(first: str, reached: bool) -> None:
    found = of_rules(f"- {first}\n- rate_limit: 1/day")
    assert (found == []) is reached
    assert all("can never be reached, nor what follows: line 4" in warning for warning in found)


# Limits.


def test_a_limit_that_nobody_can_meet_is_a_warning() -> None:
    for op, value, increment in [
        ("lte", "-1", "1"),
        ("lt", "0", "1"),
        ("lte", "0", "1"),
        ("lt", "1", "1"),
        ("lte", "4", "5"),
    ]:
        condition = f"[{{path: state.t.n, op: {op}, value: {value}}}]"
        state = f"{{counter: n, window: day, increment: {increment}}}"
        [warning] = warnings(f"tools: {{t: {{rules: [{{conditions: {condition}, state: {state}}}]}}}}")
        assert "nobody can meet this limit" in warning
        assert ": warning: tools.t.rules[1]: " in warning


def test_a_limit_that_some_call_can_meet_is_not_warned_of() -> None:
    for op, value, state in [
        ("lte", "1", ""),
        ("lt", "1.5", ""),
        ("lte", "0", ", increment_from: args.a"),
        ("gte", "-1", ""),
    ]:
        condition = f"[{{path: state.t.n, op: {op}, value: {value}}}]"
        state_block = f"{{counter: n, window: day{state}}}"
        assert warnings(f"tools: {{t: {{rules: [{{conditions: {condition}, state: {state_block}}}]}}}}") == []


def test_money_that_is_guarded_for_a_session_only_is_a_warning() -> None:
    limit = "tools: {t: {rules: [{spend_limit: {path: args.a, max: 5, window: day, scope: %s}}]}}"
    [warning] = warnings(limit % "session")
    assert "a session's count starts anew" in warning
    assert "scope: global or principal" in warning
    assert warnings(limit % "global") == warnings(limit % "principal") == []


STARTS_ANEW = "a session's count starts anew when the agent reconnects"
ON_ITS_COUNTER = "conditions: [{path: state.t.n, op: lte, value: 5}]"


@pytest.mark.parametrize(("rule", "advice"), [
    ("rate_limit: {max: 5, window: day, scope: session}", " (without scope this block counts by session)"),
    ("rate_limit: {max: 5, window: day}", " (without scope this block counts by session)"),
    (f"{{{ON_ITS_COUNTER}, state: {{counter: n, window: day, scope: session}}}}", ""),
])  # fmt: skip
def test_a_limit_of_a_session_beside_a_spending_limit_is_a_warning(rule: str, advice: str) -> None:
    spend = "{spend_limit: {path: args.a, per_call: 5}}"
    words = f"line 5 limits what may be spent here, so write scope: global or principal{advice}"
    assert of_rules(f"- {rule}\n- {spend}") == [f"a.yaml:4:9: warning: tools.t.rules[1]: {STARTS_ANEW}: {words}"]
    assert of_rules(f"- {rule}") == []


@pytest.mark.parametrize("rule", [
    "rate_limit: 5/day", "rate_limit: {max: 5, window: day, scope: global}",
    "rate_limit: {max: 5, window: day, scope: principal}", "state: {counter: n, window: day, scope: session}",
    f"{{{ON_ITS_COUNTER}, state: {{counter: n, window: day}}}}",
    "spend_limit: {path: args.b, per_call: 5, scope: session}",
])  # fmt: skip
def test_beside_a_spending_limit_what_outlives_sessions_or_bounds_nothing_is_none(rule: str) -> None:
    assert of_rules(f"- spend_limit: {{path: args.a, max: 5, window: day}}\n- {rule}") == []


@pytest.mark.parametrize("more", ["", f"\n  {ON_ITS_COUNTER}"])
def test_amounts_that_are_added_up_for_a_session_only_are_a_warning(more: str) -> None:
    state = "- state: {counter: n, window: day, increment_from: args.a, scope: %s}"
    [warning] = of_rules(state % "session" + more)
    advice = "guard money with scope: global or principal"
    assert warning == f"a.yaml:4:9: warning: tools.t.rules[1]: {STARTS_ANEW}: {advice}"
    assert of_rules(state % "global" + more) == []


def test_a_session_in_the_rules_of_a_class_is_told_once_where_it_stands() -> None:
    rules = "[{rate_limit: {max: 5, window: day}}, {spend_limit: {path: args.a, per_call: 5}}]"
    [warning] = warnings(f"classes: {{Financial: {{rules: {rules}}}}}\ntools: {{'pay*': {{class: Financial}}}}")
    assert warning.startswith(f"a.yaml:1:31: warning: classes.Financial.rules[1]: {STARTS_ANEW}")


@pytest.mark.parametrize(("action", "host", "advice"), [
    ("deny", "evil.test", "write evil.test:*"), ("require_approval", "'*.evil.test'", "write *.evil.test:*"),
    ("deny", "'evil.test:*'", None), ("deny", "evil.test:8443", None), ("evaluate", "example.com", None),
])  # fmt: skip
def test_a_deny_list_of_hosts_is_about_every_port(action: str, host: str, advice: str | None) -> None:
    rule = f"{{action: {action}, conditions: [{{path: args.url, op: host_in, value: [{host}]}}]}}"
    found = [text for text in warnings(f"tools: {{t: {{rules: [{rule}]}}}}") if "default port" in text]
    assert len(found) == (advice is not None)
    assert advice is None or found[0].endswith(advice)


def test_what_nobody_may_see_bounds_no_call_and_is_counted_in_sight() -> None:
    grant = "{for: 1h, calls: 5, same: [args.Card.pin, args.to], at_most: [args.card.limit, args.n]}"
    found = warnings(
        "approvals: {mask: [args.card]}\n"
        f"tools:\n  pay:\n    rules:\n      - {{action: require_approval, grant: {grant}}}\n"
        "      - {spend_limit: {path: args.n, times: args.card.limit, max: 5, window: day}}\n"
        "      - {name: n, spend_limit: {path: args.n, max: 5, window: day}}\n"
    )
    bound, counted = (warning.partition("warning: tools.pay.")[2] for warning in found)
    assert bound.startswith("rules[1].grant.at_most: approvals.mask hides args.card.limit, so no call is like the one")
    assert counted.startswith("rules[2]: approvals.mask hides args.card.limit, and this rule counts it")
