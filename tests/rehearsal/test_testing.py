"""Cases are judged by the engine itself, and a step is as expected only where all of it is."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sidecar.rehearsal.cases import read_cases
from sidecar.rehearsal.judging import Judgement
from sidecar.rehearsal.telling import told
from sidecar.rehearsal.testing import wrong
from tests.rehearsal.running import run, wrongs

POLICY = """
tools:
  buy:
    rules:
      - {name: small, conditions: [{path: args.n, op: lte, value: 10}], reason: Too much}
      - {name: few, rate_limit: 2/hour}
  ask:
    rules: [{name: always, action: require_approval, reason: A person must agree}]
"""


def test_every_word_of_an_expectation_counts() -> None:
    assert wrongs(POLICY, """
    - {call: buy, arguments: {n: 10}, expect: allow}
    - {call: buy, arguments: {n: 10}, expect: deny}
    - {call: buy, arguments: {n: 11}, expect: allow}
    - {call: buy, arguments: {n: 11}, expect: deny, message: Too much, rule: small}
    - {call: buy, arguments: {n: 11}, expect: deny, message: "[INTERCEPT POLICY DENIED] Too much"}
    - {call: buy, arguments: {n: 11}, expect: deny, message: Too}
    - {call: buy, arguments: {n: 11}, expect: deny, message: much}
    - {call: buy, arguments: {n: 11}, expect: deny, rule: few}
    - {call: buy, arguments: {n: 11}, expect: approval}
    - {call: ask, expect: approval, message: A person must agree, rule: always}
    - {call: ask, expect: deny}
    - {call: ask, expect: refused}
    - {call: ask, expect: error, code: -32003, message: "[INTERCEPT APPROVAL REQUIRED] A person must agree"}
    - {call: ask, expect: error, code: -32602}
    - {call: buy, arguments: {n: 11}, expect: error}
    - {call: other, expect: refused}
""") == [
        "", "decision", "decision", "", "", "", "message", "rule", "decision", "", "decision", "", "", "code",
        "decision", "decision",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ("Too much\nDo not repeat this call unchanged.", ""), ("Too much\nDo not rep", ""), ("Too much\n", ""),
        ("[INTERCEPT POLICY DENIED]", ""), ("[INTERCEPT POLICY DENIED] Too mu", ""), ("[INTERCEPT POL", ""),
        ("Too much Do not", "message"), ("too much", "message"), (" Too", "message"), ("Too much!", "message"),
        ("Do not repeat this call unchanged.", "message"), ("Too much\nrepeat this call", "message"),
        ("[INTERCEPT APPROVAL REQUIRED] Too much", "message"), ("POLICY DENIED] Too much", "message"),
    ],
)  # fmt: skip
def test_a_message_is_what_the_agent_is_told_begins_with_and_not_what_stands_elsewhere_in_it(
    message: str, found: str
) -> None:
    step = f"    - {{call: buy, arguments: {{n: 11}}, expect: deny, message: {json.dumps(message)}}}\n"
    assert wrongs(POLICY, step) == [found]


def test_all_that_the_agent_is_told_may_be_expected() -> None:
    ((result,),) = (case.steps for case in run(POLICY, _REFUSED))
    text = result.judgement.told
    assert text.startswith("[INTERCEPT POLICY DENIED] Too much\nDo not repeat this call unchanged.")
    assert wrong(replace(result.step, message=text), result.judgement) == ""
    assert wrong(replace(result.step, message=f"{text}."), result.judgement) == "message"


_REFUSED = "- {name: n, steps: [{call: buy, arguments: {n: 11}, expect: deny, message: Too}]}"


@pytest.mark.parametrize(
    ("message", "expected", "got"),
    [
        ("Much", '"Much"', '"Too much" …'),
        ("Too much\nargs.n is odd\n", r'"Too much\nargs.n is odd"', r'"Too much\nDo not repeat this call unchanged."'),
        ("[INTERCEPT APPROVAL REQUIRED] Too", '"[INTERCEPT APPROVAL REQUIRED] Too"',
         '"[INTERCEPT POLICY DENIED] Too much" …'),
    ],
)  # fmt: skip
def test_a_message_that_is_another_is_told_beside_as_many_lines_of_what_came(
    message: str, expected: str, got: str
) -> None:
    ((result,),) = (case.steps for case in run(POLICY, _REFUSED))
    step = replace(result.step, message=message)
    lines = told(replace(result, step=step, wrong=wrong(step, result.judgement)), 1, {})
    assert lines[1:3] == [f"  expected  deny, {expected}", f"  got       deny, {got}"]


def test_counters_are_kept_from_step_to_step_and_begin_anew_with_each_case() -> None:
    case = """
  steps:
    - {call: buy, arguments: {n: 1}, expect: allow}
    - {call: buy, arguments: {n: 1}, expect: allow}
    - {call: buy, arguments: {n: 1}, expect: deny, rule: few}
    - {call: buy, arguments: {n: 1}, expect: allow, after: 1h}
"""
    first, second = run(POLICY, f"- name: a{case}- name: b{case}")
    assert not first.failed
    assert not second.failed


def test_a_window_ends_when_the_case_says_so_and_years_ago_too() -> None:
    assert wrongs(
        POLICY,
        """
    - {call: buy, arguments: {n: 1}, expect: allow, at: 2001-01-05T09:59:58Z}
    - {call: buy, arguments: {n: 1}, expect: allow, at: 2001-01-05T09:59:59Z}
    - {call: buy, arguments: {n: 1}, expect: deny}
    - {call: buy, arguments: {n: 1}, expect: allow, after: 1s}
""",
    ) == ["", "", "", ""]


def test_who_calls_and_from_where_is_what_the_case_says() -> None:
    policy = """
tools:
  t:
    rules:
      - {conditions: [{path: principal.claims.group, op: eq, value: traders}], reason: group}
      - {conditions: [{path: principal.subject, op: eq, value: anna}], reason: who}
      - {conditions: [{path: session.client.name, op: eq, value: claude}], reason: client}
      - {conditions: [{path: workload.namespace, op: eq, value: prod}], reason: place}
"""
    one, other = run(policy, """
- name: there
  workload: {namespace: prod}
  steps:
    - {call: t, principal: {subject: anna, claims: {group: traders}}, client: claude, expect: allow}
    - {call: t, principal: {subject: bert, claims: {group: traders}}, client: claude, expect: deny, message: who}
    - {call: t, principal: anna, client: claude, expect: deny, message: group}
    - {call: t, principal: {subject: anna, claims: {group: traders}}, expect: deny, message: client}
- name: elsewhere
  steps:
    - call: t
      principal: {subject: anna, claims: {group: traders}}
      client: claude
      expect: deny
      message: place
""")  # fmt: skip
    assert [step.wrong for result in (one, other) for step in result.steps] == [""] * 5


def test_sessions_and_principals_have_counters_of_their_own() -> None:
    policy = """
tools:
  s: {rules: [{rate_limit: {max: 1, window: hour, scope: session}}]}
  p: {rules: [{rate_limit: {max: 1, window: hour, scope: principal}}]}
"""
    assert (
        wrongs(
            policy,
            """
    - {call: s, expect: allow}
    - {call: s, expect: deny}
    - {call: s, session: other, expect: allow}
    - {call: p, principal: anna, expect: allow}
    - {call: p, principal: anna, session: other, expect: deny}
    - {call: p, principal: bert, expect: allow}
""",
        )
        == [""] * 6
    )


def test_numbers_reach_the_rules_as_they_stand_in_the_file() -> None:
    policy = "tools: {t: {rules: [{conditions: [{path: args.n, op: lte, value: 100}]}]}}\n"
    assert wrongs(
        policy,
        """
    - {call: t, arguments: {n: 100.00000000000000001}, expect: deny}
    - {call: t, arguments: {n: 100.00000000000000000}, expect: allow}
    - {call: t, arguments: {n: "100"}, expect: deny}
    - {call: t, arguments_json: '{"n": 1e2}', expect: allow}
""",
    ) == ["", "", "", ""]


def test_a_refusal_that_monitor_mode_forwards_is_no_refusal() -> None:
    policy = "mode: monitor\ntools: {t: {rules: [{action: deny}]}, ask: {rules: [{action: require_approval}]}}\n"
    steps = [
        f"    - {{call: {tool}, expect: {word}}}\n" for tool in ("t", "ask") for word in ("deny", "refused", "allow")
    ]
    assert wrongs(policy, "".join(steps)) == ["decision", "decision", ""] * 2


def test_a_rule_that_only_reports_refuses_nothing() -> None:
    policy = "tools: {t: {rules: [{action: deny, mode: monitor}]}}\n"
    assert wrongs(policy, "    - {call: t, expect: allow}\n    - {call: t, expect: deny}\n") == ["", "decision"]


@pytest.mark.parametrize("kind", ["engine_unavailable", "store_unavailable"])
@pytest.mark.parametrize("expect", ["deny", "refused"])
def test_a_refusal_for_want_of_an_answer_is_never_as_expected(kind: str, expect: str) -> None:
    (case,), _ = read_cases(f"- {{name: n, steps: [{{call: t, expect: {expect}}}]}}\n", "t.yaml")
    judgement = Judgement("deny", kind, "", "no answer", "", 0, (), forwarded=False)
    assert wrong(case.steps[0], judgement) == "no answer"


def test_a_name_that_no_tool_can_have_is_refused() -> None:
    assert wrongs(POLICY, '    - {call: "intercept/canary-allowed", expect: error}\n') == [""]
