"""YAML to a policy: what each item becomes, and every problem with its line, all at once."""

from __future__ import annotations

from decimal import Decimal
from textwrap import indent

import pytest

from sidecar.policy.check import check
from sidecar.policy.merge import merge
from sidecar.policy.model import (
    Amount,
    Bound,
    CounterName,
    Policy,
    PolicyFile,
    RateLimit,
    Rule,
    SpendLimit,
    State,
    Window,
)
from sidecar.policy.problem import Problem
from sidecar.policy.read import read


def look(text: str) -> tuple[PolicyFile, Policy, list[Problem]]:
    """A file, the policy that it makes alone, and every problem in the order of the file."""
    file, problems = read(text, "p.yaml")
    made, clashes = merge([file])
    return file, made, sorted({*problems, *clashes, *check(made)})


def policy(text: str) -> Policy:
    _, made, problems = look(text)
    assert [problem for problem in problems if not problem.warning] == []
    return made


def rule(text: str) -> Rule:
    [entry] = policy(f"tools:\n  t:\n    rules:\n      - {text}\n").entries
    return entry.rules[0]


def problems(text: str) -> list[str]:
    return [str(problem) for problem in look(text)[2]]


def of_rule(text: str) -> list[str]:
    return problems(f"tools:\n  t:\n    rules:\n{indent(text, '      ')}\n")


def of_condition(text: str) -> list[str]:
    return of_rule(f"- conditions:\n    - {text}")


MINUTE = Window(60, "minute")
DAY = Window(86400, "day")

# What is understood.


def test_the_shortest_deny_rule_needs_no_version_and_no_name() -> None:
    made = rule('{action: deny, reason: "Requires human approval"}')
    assert (made.id, made.name, made.action, made.message) == ("t#1", "t#1", "deny", "Requires human approval")


@pytest.mark.parametrize("empty", ["", "{}", "{rules: }", "{rules: []}"])
def test_an_empty_entry_has_no_rules(empty: str) -> None:
    [entry] = policy(f"tools:\n  t: {empty}").entries
    assert (entry.tool, entry.rules) == ("t", ())


@pytest.mark.parametrize("text", ["", "tools:", "tools: {}", 'version: "1"', "version: 1", "version:"])
def test_a_file_may_say_next_to_nothing(text: str) -> None:
    assert policy(text).default == "allow"


def test_default_and_description_are_kept() -> None:
    file, made, _ = look("description: for tests\ndefault: deny")
    assert (file.description, file.default, made.default) == ("for tests", "deny", "deny")


@pytest.mark.parametrize(("text", "action"), [
    ("conditions: [{path: args.a, op: exists, value: true}]", "evaluate"), ("rate_limit: 1/day", "allow"),
    ("action: deny", "deny"), ("action: allow", "allow"),
])  # fmt: skip
def test_the_action_that_is_not_written_follows_from_the_rule(text: str, action: str) -> None:
    assert rule(text).action == action


def test_on_deny_is_another_word_for_reason_and_an_empty_one_is_none() -> None:
    assert rule("{action: deny, on_deny: no}").message == "no"
    assert rule('{action: deny, reason: "", name: x}').message == 'Denied by rule "x"'


@pytest.mark.parametrize(("text", "expected"), [
    ("5/minute", RateLimit(5, MINUTE, "global", True)), ("1/day", RateLimit(1, DAY, "global", True)),
    ("{max: 2, window: 60}", RateLimit(2, Window(60, "60"), "session", False)),
    ("{max: 2, window: hour}", RateLimit(2, Window(3600, "hour"), "session", False)),
    ("{max: 2, window: 90s, scope: global}", RateLimit(2, Window(90, "90"), "global", False)),
    ("{max: 2, window: 15m}", RateLimit(2, Window(900, "900"), "session", False)),
    ("{max: 2, window: 12h, scope: session}", RateLimit(2, Window(43200, "43200"), "session", False)),
    ("{max: 2, window: 60, scope: principal}", RateLimit(2, Window(60, "60"), "principal", False)),
    ("{max: 2, window: 1d}", RateLimit(2, Window(86400, "86400"), "session", False)),
])  # fmt: skip
def test_a_rate_limit_has_two_forms(text: str, expected: RateLimit) -> None:
    assert rule(f"rate_limit: {text}").rate_limit == expected


def test_a_path_may_hold_any_characters_between_its_dots() -> None:
    [condition] = rule('conditions: [{path: "args.naïve-key.$id. 0", op: eq, value: null}]').conditions
    assert condition.subject == ("naïve-key", "$id", " 0")


def test_a_path_into_the_state_names_a_tool_and_its_counter() -> None:
    made = policy("""\
tools:
  get.order:
    rules:
      - {action: allow, state: {counter: n, window: day}}
      - {rate_limit: 5/day}
  "*":
    rules:
      - {rate_limit: 9/hour}
      - conditions:
          - {path: state.get.order.n, op: lt, value: 5}
          - {path: state.get.order._rate_day, op: eq, value: 0}
          - {path: state._global._rate_hour, op: exists, value: true}
""")
    subjects = [condition.subject for condition in made.entries[1].rules[1].conditions]
    assert subjects == [
        CounterName("get.order", "n"), CounterName("get.order", "_rate_day"), CounterName("_global", "_rate_hour"),
    ]  # fmt: skip
    assert made.entries[1].rules[1].own_limits == ()


@pytest.mark.parametrize(("text", "expected"), [
    ("{counter: n, window: day}", State("n", DAY, Decimal(1), None, "global")),
    ("{counter: n, window: 90s, increment: 0.5, scope: session}",
     State("n", Window(90, "90"), Decimal("0.5"), None, "session")),
    ("{counter: 'é x', window: 60, increment_from: args.a.b, scope: principal}",
     State("é x", Window(60, "60"), Decimal(1), Amount(("a", "b")), "principal")),
])  # fmt: skip
def test_a_state_block_counts_ones_increments_or_amounts(text: str, expected: State) -> None:
    made = rule(f"state: {text}")
    assert (made.state, made.action, made.bound) == (expected, "allow", None)


@pytest.mark.parametrize(("text", "expected"), [
    ("{path: args.a, per_call: 5}", SpendLimit(Amount(("a",)), Decimal(5), None, None, "global")),
    ("{path: args.a, max: 100.5, window: day}", SpendLimit(Amount(("a",)), None, Decimal("100.5"), DAY, "global")),
    ("{path: args.o.a, per_call: 0, max: 1e3, window: 12h, scope: principal}",
     SpendLimit(Amount(("o", "a")), Decimal(0), Decimal(1000), Window(43200, "43200"), "principal")),
])  # fmt: skip
def test_a_spend_limit_bounds_one_call_the_total_or_both(text: str, expected: SpendLimit) -> None:
    made = rule(f"spend_limit: {text}")
    assert made.spend_limit == expected
    assert (made.counter is None) is (expected.max is None)


@pytest.mark.parametrize(("bounds", "tightest"), [
    ([("lte", "5")], Bound(Decimal(5), False)), ([("lt", "5")], Bound(Decimal(5), True)),
    ([("lte", "5"), ("lt", "5")], Bound(Decimal(5), True)),
    ([("lt", "6"), ("lte", "5.5")], Bound(Decimal("5.5"), False)),
    ([("gte", "5")], None), ([("gt", "1"), ("lte", "9")], Bound(Decimal(9), False)),
])  # fmt: skip
def test_the_tightest_of_several_bounds_is_the_limit(bounds: list[tuple[str, str]], tightest: Bound | None) -> None:
    conditions = ", ".join(f"{{path: state.t.n, op: {op}, value: {value}}}" for op, value in bounds)
    made = rule(f"{{state: {{counter: n, window: day}}, conditions: [{conditions}]}}")
    assert made.bound == tightest
    assert [item.op for item in made.asked] == [op for op, _ in bounds if op not in ("lt", "lte")]


def test_a_request_for_approval_does_not_limit_by_its_conditions() -> None:
    made = rule(
        "{action: require_approval, state: {counter: n, window: day},"
        " conditions: [{path: state.t.n, op: lte, value: 5}]}"
    )
    assert (made.bound, len(made.asked)) == (None, 1)


def test_monitor_is_said_of_a_file_or_of_a_rule() -> None:
    assert [policy(f"mode: {mode}").mode for mode in ("enforce", "monitor")] == ["enforce", "monitor"]
    assert policy("").mode == "enforce"
    assert [rule(f"{{action: deny, mode: {mode}}}").monitor for mode in ("enforce", "monitor")] == [False, True]


def test_hide_keeps_names_and_patterns_in_order() -> None:
    made = policy("hide: [b, 'get_*', a, '?', '*']")
    assert [item.name for item in made.hide] == ["b", "get_*", "a", "?", "*"]


@pytest.mark.parametrize(("tool", "is_pattern"), [
    ("*", False), ("get_*", True), ("v?", True), ("**", True), ("[a]", False), ("a.b", False),
])  # fmt: skip
def test_a_tool_with_a_star_or_a_question_mark_is_a_pattern(tool: str, is_pattern: bool) -> None:
    [entry] = policy(f"tools: {{'{tool}': {{rules: []}}}}").entries
    assert entry.is_pattern is is_pattern


@pytest.mark.parametrize(("entry", "counters"), [("*", "_global"), ("_global", '"_global"'), ("t*", "t*"), ("t", "t")])
def test_a_tool_that_is_called_global_has_counters_of_its_own(entry: str, counters: str) -> None:
    [made] = policy(f"tools: {{'{entry}': {{rules: [{{rate_limit: 1/day}}]}}}}").entries
    assert made.counters == counters


@pytest.mark.parametrize("refund", ["not_run", "on_error", "on_failure", "never"])
def test_a_rule_with_a_limit_says_when_it_gives_back(refund: str) -> None:
    assert rule(f"{{rate_limit: 1/day, refund: {refund}}}").refund == refund
    assert rule("{rate_limit: 1/day}").refund == "not_run"


# What is refused.


def test_every_problem_is_listed_at_once_in_the_order_of_the_file() -> None:
    text = """\
version: "3"
default: maybe
tools:
  t:
    rules:
      - action: stop
      - conditions: [{path: body.x, op: lt, value: "1"}]
      - rate_limit: 9/fortnight
        reason: 5
"""
    assert [line.split(":")[1] for line in problems(text)] == ["1", "2", "6", "7", "7", "8", "9"]


def test_a_problem_says_where_it_is_and_what_to_write_instead() -> None:
    assert of_condition("{path: args.x, op: lt, value: ten}") == [
        "p.yaml:5:43: tools.t.rules[1].conditions[1].value: lt needs a number, without quotes"
    ]


@pytest.mark.parametrize(("text", "near"), [
    ("toolz: {}", "tools"), ("defualt: deny", "default"), ("tools: {t: {rule: []}}", "rules"),
    ("tools: {t: {rules: [{action: deny, reasn: x}]}}", "reason"),
    ("tools: {t: {rules: [{conditions: [{path: args.a, opp: eq, value: 1}]}]}}", "op"),
    ("tools: {t: {rules: [{rate_limit: {max: 1, windw: 1}}]}}", "window"),
    ("tools: {t: {rules: [{action: dny}]}}", "deny"), ("default: alow", "allow"),
    ("tools: {t: {rules: [{rate_limit: {max: 1, window: 1, scope: sesion}}]}}", "session"),
    ("hid: [a]", "hide"), ("mode: monitr", "monitor"), ("approvals: {timout: 1h}", "timeout"),
    ("approvals: {notify: {webhok: {}}}", "webhook"),
    ("tools: {t: {rules: [{action: require_aproval}]}}", "require_approval"),
    ("tools: {t: {rules: [{spend_limits: {}}]}}", "spend_limit"),
    ("tools: {t: {rules: [{rate_limit: 1/day, refund: on_eror}]}}", "on_error"),
    ("tools: {t: {rules: [{state: {counter: n, window: day, increment_form: args.a}}]}}", "increment_from"),
    ("tools: {t: {rules: [{spend_limit: {path: args.a, percall: 1}}]}}", "per_call"),
    ("tools: {t: {rules: [{conditions: [{path: args.a, op: not-in, value: [1]}]}]}}", "not_in"),
])  # fmt: skip
def test_a_near_miss_is_answered_with_the_word_that_was_meant(text: str, near: str) -> None:
    assert any(f'did you mean "{near}"?' in problem for problem in problems(text))


@pytest.mark.parametrize("text", ["- a", "5", "text", "tools: [a]", "tools: 5", "tools: {t: []}", "tools: {t: x}",
                                  "tools: {t: {rules: {}}}", "tools: {t: {rules: x}}",
                                  "tools: {'': }", "description: 5", "description: [a]",
                                  "default: true", "default: [allow]", "default:", "version: 2", "version: [1]",
                                  "version: '1.0'", "version: true", "tools: {1: {rules: []}}"])  # fmt: skip
def test_what_has_the_wrong_shape_is_refused(text: str) -> None:
    assert len(problems(text)) == 1


@pytest.mark.parametrize("text", [
    "- {}", "-", "- x", "- []", "- name: x", "- {name: 5, action: deny}", "- {name: '', action: deny}",
    "- {reason: a, on_deny: b, action: deny}", "- {action: true}", "- {rate_limit: 1/day, refund: always}",
    "- {action: evaluate}", "- {conditions: []}", "- {conditions: }", "- {action: deny, rate_limit: 1/day}",
    "- {action: }", "- {rate_limit: }",
    "- {action: allow, conditions: [{path: args.a, op: exists, value: true}]}", "- {action: deny, refund: never}",
    "- {rate_limit: 1/day, conditions: [{path: args.a, op: exists, value: true}]}", "- {action: Deny}",
    "- {action: deny}\n- {action: deny, name: t#1}", "- {rate_limit: 1/day}\n- {rate_limit: 2/day}",
    "- {rate_limit: {max: 1, window: 60}}\n- {rate_limit: {max: 2, window: minute}}",
])  # fmt: skip
def test_a_rule_that_makes_no_sense_is_refused(text: str) -> None:
    assert [problem for problem in of_rule(text) if "warning" not in problem] != []


@pytest.mark.parametrize("limit", [
    "5", "0/hour", "-1/hour", "1.5/hour", "05/hour", "5/week", "5/Hour", "5 / hour", "/hour", "5/", "[5, hour]", "true",
    "{max: 1}", "{window: 60}", "{}", "{max: 0, window: 60}", "{max: -1, window: 60}", "{max: 1.0, window: 60}",
    "{max: '1', window: 60}", "{max: 1e3, window: 60}", "{max: 1, window: 0}", "{max: 1, window: -60}",
    "{max: 1, window: 1.5}",
    "{max: 1, window: 60 s}", "{max: 1, window: 1w}", "{max: 1, window: 367h0}", "{max: 1, window: 8785h}",
    "{max: 1, window: [1]}",
    "{max: 1, window: 60, per: x}", "{max: +1, window: 60}", "{max: 1_0, window: 60}", "{max: 0x10, window: 60}",
    "{max: , window: 60}",
])  # fmt: skip
def test_a_rate_limit_that_is_none_is_refused(limit: str) -> None:
    assert of_rule(f"- rate_limit: {limit}") != []


@pytest.mark.parametrize(
    "path", ["x", "args", "args.", "arg.x", "body.x", ".args.x", "args..x", "args.x.", "Args.x", "''", "5", "[args.x]"]
)
def test_a_path_that_leads_nowhere_is_refused(path: str) -> None:
    assert len(of_condition(f"{{path: {path}, op: eq, value: 1}}")) == 1


@pytest.mark.parametrize(("op", "value"), [
    *[(op, value) for op in ("lt", "lte", "gt", "gte") for value in ("true", "~", "'5'", "ten", "[1]", "{}")],
    *[(op, value) for op in ("in", "not_in") for value in ("5", "a", "true", "~", "{a: 1}")],
    *[("exists", value) for value in ("1", "'true'", "yes", "~", "[]")],
    *[("regex", value) for value in ("5", "true", "~", "[a]")],
])  # fmt: skip
def test_an_operator_needs_its_kind_of_value(op: str, value: str) -> None:
    [problem] = of_condition(f"{{path: args.x, op: {op}, value: {value}}}")
    assert ".value: " in problem
    assert f"{op} needs" in problem


@pytest.mark.parametrize("value", ["/srv/data", "/", "[/srv/data, /tmp]", '"/a b/ü~"', "[/srv/...]"])
def test_within_takes_a_folder_or_a_list_of_them(value: str) -> None:
    assert of_condition(f"{{path: args.x, op: within, value: {value}}}") == []


@pytest.mark.parametrize(("value", "advice"), [
    *[(value, "needs a folder, as text") for value in ("5", "true", "~", "''", "{a: /b}", "[5]", "[[/a]]", "[~]")],
    ("[]", "needs a folder, or a list of folders"), ("data", "write it from the root on"),
    ("./data", "write it from the root on"), ("C:/data", "write it from the root on"),
    ("file:///data", "write it from the root on"), ("~/data", "write it out, as /home/name"),
    ("/srv/data/", 'write "/srv/data"'), ("//srv//data", 'write "/srv/data"'), ("/srv/./data", 'write "/srv/data"'),
    ("/srv/x/../data", 'write "/srv/data"'), ("/..", 'write "/"'), ("'/srv/data '", "a blank at its end"),
    ('"/srv\\0"', "a control character"), ("'/srv\\data'", "a backslash"), (f"/{'a' * 4096}", "write up to 4096"),
])  # fmt: skip
def test_a_folder_that_is_none_is_answered_with_what_to_write(value: str, advice: str) -> None:
    [problem] = of_condition(f"{{path: args.x, op: within, value: {value}}}")
    assert ".value" in problem
    assert advice in problem


@pytest.mark.parametrize("host", [
    "example.com", "'*.example.com'", "example.com:8443", "localhost:*", "'*.example.com:*'", "a_b.c--d.test:65535",
    "127.0.0.1", "10.0.0.1:80", "'[::1]'", "'[::1]:80'", "'[2001:db8::1]:*'", "xn--mnchen-3ya.de", "1.a", "com",
])  # fmt: skip
def test_host_in_takes_a_list_of_hosts(host: str) -> None:
    assert of_condition(f"{{path: args.x, op: host_in, value: [{host}, example.org]}}") == []


@pytest.mark.parametrize("value", ["example.com", "5", "~", "{a: b}", "[]"])
def test_host_in_needs_a_list(value: str) -> None:
    [problem] = of_condition(f"{{path: args.x, op: host_in, value: {value}}}")
    assert problem.startswith("p.yaml:5:48: tools.t.rules[1].conditions[1].value: ")
    assert "host_in needs a list of hosts: write [example.com" in problem


@pytest.mark.parametrize(("host", "advice"), [
    *[(host, "needs hosts, as texts") for host in ("5", "127.1", "true", "~", "''", "[a]", "{a: b}")],
    ("https://Example.com/x", 'is a URL: write its host alone, as "example.com"'),
    ("https://u:p@example.com:8443?x", 'write its host alone, as "example.com:8443"'), ("'https://'", "is a URL"),
    ("example.com/x", "write the host alone"), ("u@example.com", "write the host alone"),
    ("'example.com '", "write the host alone"), ("'a\\b'", "write the host alone"), ("'a?b'", "write the host alone"),
    ("Example.COM", 'write "example.com"'), ("example.com.", 'write "example.com"'), ("'*'", "name those"),
    ("'*:*'", "name those"), ("'*example.com'", "has * where it means nothing"), ("a.*.com", "has * where"),
    ("example.*", "has * where"), ("'**.example.com'", "has * where"), ("'*.*.com'", "has * where"),
    ("münchen.de", "begins with xn--"), ("xn--example-.com", "is no host"), ("xn--99999.com", "as it is sent"),
    ("xn--mnchen-3yA.de", "capital"), ("'::1'", 'write "[::1]"'), ("'[0::1]'", 'write "[::1]"'),
    ("'[::ffff:1.2.3.4]'", "wraps an IPv4 address"), ("'[64:ff9b::1]'", "wraps"), ("'[::]'", "wraps"),
    ("'[fe80::1%eth0]'", "has a zone"), ("'[a]'", "is no IPv6 address"), ("'[::1'", "is no host"),
    ("'127.1'", "write four numbers"), ("'2130706433'", "write four numbers"), ("0x7f.1", "write four numbers"),
    ("127.0.0.01", "write four numbers"), ("1.2.3.4.5", "write four numbers"), ("a.1", "write four numbers"),
    ("'*.1.2.3.4'", "write the address alone"), ("'*.[::1]'", "write the address alone"),
    ("'example.com:'", "from 1 to 65535"), ("example.com:0", "from 1 to 65535"), ("example.com:080", "from 1 to"),
    ("example.com:65536", "from 1 to 65535"), ("example.com:https", "from 1 to 65535"), ("'[::1]:'", "from 1 to"),
    ("a..b", "is no host"), ("'-a.b'", "is no host"), ("a-.b", "is no host"), ("a%2eb", "is no host"),
    ("'a,b'", "is no host"), (".a", "is no host"), (f"{'a' * 64}.b", "too long"), ("a." * 127 + "b", "too long"),
])  # fmt: skip
def test_a_host_that_is_none_is_answered_with_what_to_write(host: str, advice: str) -> None:
    [problem] = of_condition(f"{{path: args.x, op: host_in, value: [example.org, {host}]}}")
    assert problem.startswith("p.yaml:5:62: tools.t.rules[1].conditions[1].value[2]: ")
    assert advice in problem


@pytest.mark.parametrize("op", ["is", "EQ", "==", "not in", "5", "[eq]", "''"])
def test_an_unknown_operator_is_one_problem(op: str) -> None:
    [problem] = of_condition(f"{{path: args.x, op: {op}, value: 1}}")
    assert ".op: " in problem


@pytest.mark.parametrize("missing", ["path", "op", "value"])
def test_a_condition_needs_its_three_keys(missing: str) -> None:
    keys = {"path": "args.x", "op": "eq", "value": "1"}
    given = ", ".join(f"{key}: {word}" for key, word in keys.items() if key != missing)
    [problem] = of_condition(f"{{{given}}}")
    assert problem.endswith(f"a condition needs path, op and value: {missing} is missing")


@pytest.mark.parametrize("text", [
    "{counter: n}", "{window: day}", "{}", "{counter: '', window: day}", "{counter: 5, window: day}",
    "{counter: a.b, window: day}", "{counter: _rate_day, window: day}", "{counter: n, window: week}",
    "{counter: n, window: 0}", "{counter: n, window: day, increment: 0}", "{counter: n, window: day, increment: -1}",
    "{counter: n, window: day, increment: '1'}", "{counter: n, window: day, increment_from: amount}",
    "{counter: n, window: day, increment_from: state.t.n}", "{counter: n, window: day, increment_from: args.a..b}",
    "{counter: n, window: day, scope: all}", "{counter: n, window: day, limit: 5}", "{counter: n, window: 367d}",
])  # fmt: skip
def test_a_state_block_that_is_none_is_refused(text: str) -> None:
    assert of_rule(f"- {{action: allow, state: {text}}}") != []


@pytest.mark.parametrize("text", [
    "{}", "{path: args.a}", "{max: 5, window: day}", "{path: args.a, max: 5}",
    "{path: args.a, per_call: 5, window: day}",
    "{path: amount, per_call: 5}", "{path: args.a, per_call: -5}", "{path: args.a, per_call: '5'}",
    "{path: args.a, max: -1, window: day}", "{path: args.a, max: 5, window: month}", "{path: state.t.n, per_call: 5}",
    "{path: args.a, per_call: 5, scope: team}", "{path: args.a, per_call: 5, currency: usd}",
    "{path: args., per_call: 5}",
])  # fmt: skip
def test_a_spend_limit_that_is_none_is_refused(text: str) -> None:
    assert of_rule(f"- spend_limit: {text}") != []


@pytest.mark.parametrize("text", [
    "[]", "5", "{timeout: 0}", "{timeout: soon}", "{timeout: -1m}", "{use_within: 367d}", "{hold: 1.5s}",
    "{four_eyes: yes}",
    "{four_eyes: 1}", "{mask: args.a}", "{mask: [a]}", "{mask: [state.t.n]}", "{notify: {}, also: 1}",
    "{notify: {webhook: {}}}", "{notify: {webhook: {url: example.org}}}", "{notify: {webhook: {url: 'ftp://x/y'}}}",
    "{notify: {webhook: {url: 'https://x/y', secret: s}}}", "{notify: {mail: x}}", "{timeout: }",
])  # fmt: skip
def test_approvals_that_make_no_sense_are_refused(text: str) -> None:
    assert [problem for problem in problems(f"approvals: {text}") if "approvals" in problem] != []


@pytest.mark.parametrize("text", [
    "a", "{a: b}", "['']", "['  ']", "[a, a]", "[5]", "[true]", "[[a]]", "[a, ~]",
])  # fmt: skip
def test_a_hide_list_that_is_none_is_refused(text: str) -> None:
    assert all(problem.startswith("p.yaml:1:") for problem in problems(f"hide: {text}"))
    assert problems(f"hide: {text}") != []


@pytest.mark.parametrize(("text", "advice"), [
    ("state.t", "write state.<tool>.<counter>"), ("state.t.", "write state.<tool>.<counter>"),
    ("state..n", "write state.<tool>.<counter>"), ("state.", "write state.<tool>.<counter>"),
    ("state", "write args."), ("'state.*.n'", "write state._global.n"), ("args.a..b", "an empty step"),
    ("args.a.", "an empty step"), ("body.a", "write args."), ("args", "write args."),
    ("state.t.n", "add state: {counter: n} to a rule of"), ("state._global.n", "counted by no rule"),
    ("state.u.n", "counted by no rule"), ("state.t._rate_day", "counted by no rule"),
])  # fmt: skip
def test_a_path_that_leads_nowhere_is_answered_with_what_to_write(text: str, advice: str) -> None:
    found = of_condition(f"{{path: {text}, op: eq, value: 1}}")
    assert all(problem.startswith("p.yaml:5:20: tools.t.rules[1].conditions[1].path") for problem in found)
    assert any(advice in problem for problem in found)


@pytest.mark.parametrize(("text", "advice"), [
    ("{action: deny, state: {counter: n, window: day}}", "remove one of the two"),
    ("{action: deny, spend_limit: {path: args.a, per_call: 1}}", "remove one of the two"),
    ("{rate_limit: 1/day, state: {counter: n, window: day}}", "write a rule for each"),
    ("{rate_limit: 1/day, spend_limit: {path: args.a, per_call: 1}}", "write a rule for each"),
    ("{spend_limit: {path: args.a, per_call: 1}, state: {counter: n, window: day}}", "write a rule for each"),
    ("{spend_limit: {path: args.a, per_call: 1}, conditions: [{path: args.a, op: eq, value: 1}]}", "a rule before it"),
    ("{action: deny, approvers: 2}", "belongs to a rule with action: require_approval"),
    ("{rate_limit: 1/day, approval_timeout: 1h}", "belongs to a rule with action: require_approval"),
    ("{action: require_approval, approvers: 0}", "a whole number above 0"),
    ("{action: require_approval, approvers: 1.5}", "a whole number above 0"),
    ("{action: require_approval, approval_timeout: soon}", "write as 90s, 15m, 12h"),
    ("{action: require_approval, refund: never}", "refund belongs to a rule with a limit"),
    ("{action: deny, mode: watch}", "write monitor"),
    ("{action: deny, mode: sometimes}", "must be enforce, monitor or shadow"),
    ("{action: deny, mode: dry-run}", "write shadow"),
    ("{reason: a, on_deny: b, action: deny}", "keep one of the two"),
])  # fmt: skip
def test_what_may_not_stand_together_is_answered_with_what_to_write(text: str, advice: str) -> None:
    [problem] = of_rule(f"- {text}")
    assert problem.startswith("p.yaml:4:")
    assert ": tools.t.rules[1]" in problem
    assert advice in problem


def test_two_rules_of_a_tool_count_on_counters_of_their_own() -> None:
    state = "{action: allow, state: {counter: n, window: %s}}"
    [problem] = of_rule(f"- {state % 'day'}\n- {state % 'hour'}")
    assert problem.startswith("p.yaml:5:")
    assert ": tools.t.rules[2]: " in problem
    assert 'the rule in line 4 counts on the counter "n" too: keep one, or rename one' in problem
    [problem] = of_rule(
        "- {spend_limit: {path: args.a, max: 1, window: day}}\n- {spend_limit: {path: args.a, max: 2, window: 24h}}"
    )
    assert problem.startswith("p.yaml:5:")
    assert ": tools.t.rules[2]: " in problem


def test_the_same_counter_of_two_tools_is_two_counters() -> None:
    rules = "{rules: [{action: allow, state: {counter: n, window: day}}]}"
    assert problems(f"tools: {{t: {rules}, 't*': {rules}, '*': {rules}, _global: {rules}}}") == []


SECTION_8 = """\
version: "2"
toolz: {}
default: maybe
mode: observe
hide: [a, "", a]
approvals: {timeout: never, mask: [key]}
tools:
  t:
    rules:
      - {action: allow, conditions: [{path: args.a, op: eq, value: 1}]}
      - {action: evaluate}
      - {conditions: [{path: args.a, op: is, value: 1}]}
      - {conditions: [{path: args.a, op: in, value: 1}]}
      - {conditions: [{path: args.a, op: lt, value: one}]}
      - {conditions: [{path: args.a, op: exists, value: 1}]}
      - {conditions: [{path: body.a, op: eq, value: 1}]}
      - {conditions: [{path: args.a..b, op: eq, value: 1}]}
      - {conditions: [{path: state.t, op: eq, value: 1}]}
      - {conditions: [{path: "state.*.n", op: eq, value: 1}]}
      - {conditions: [{path: state.t.none, op: eq, value: 1}]}
      - {conditions: [{path: args.a, op: eq}]}
      - {rate_limit: {max: 1.0, window: 60}}
      - {rate_limit: {max: 1, window: week}}
      - {rate_limit: {max: 1, window: 60, scope: all}}
      - {action: deny, reason: a, on_deny: b}
      - {rate_limit: 5/day, conditions: [{path: args.a, op: eq, value: 1}]}
      - {action: deny, rate_limit: 5/hour}
      - {action: deny, state: {counter: a, window: day}}
      - {action: allow, state: {counter: _rate_x, window: day}}
      - {action: allow, state: {counter: b, window: day, increment: 0}}
      - {action: allow, name: same}
      - {action: allow, name: same}
      - {action: allow, state: {counter: c, window: day}}
      - {action: allow, state: {counter: c, window: day}}
      - {action: require_approval, approvers: -1}
      - {action: require_approval, approval_timeout: 1 h}
      - {name: 5, action: allow}
      - {acton: allow, action: allow}
      - {action: allow, action: deny}
---
version: "1"
"""


def test_every_item_is_found_in_one_run_each_with_its_line() -> None:
    found = [problem for problem in look(SECTION_8)[2] if not problem.warning]
    assert [problem.place.line for problem in found] == sorted(problem.place.line for problem in found)
    assert {problem.place.line for problem in found} == {*range(1, 7), *range(10, 31), 32, *range(34, 40), 41}
    advice = "write|add|must|needs|keep|remove|only|too|known|missing|a number above 0|whole number|conditions into"
    for problem in found:
        assert any(word in problem.text for word in advice.split("|")), problem


@pytest.mark.parametrize(("value", "compared"), [
    ("'5.0'", Decimal("5.0")), ("['5.0', 1, x, '-0.5']", (Decimal("5.0"), Decimal(1), "x", Decimal("-0.5"))),
    ("'05'", "05"), ("'1e3'", "1e3"), ("' 5'", " 5"), ("'٥'", "٥"),
])  # fmt: skip
def test_with_decimal_text_a_decimal_in_quotes_is_compared_as_the_number(value: str, compared: object) -> None:
    op = "in" if value.startswith("[") else "neq"
    made = rule(f"conditions: [{{path: args.n, op: {op}, value: {value}, decimal_text: true}}]")
    assert made.conditions[0].value == compared
    made = rule(f"conditions: [{{path: args.n, op: {op}, value: {value}}}]")
    assert made.conditions[0].value != compared or isinstance(compared, str)
