"""How files of cases are read: every value as a call would carry it, and every mistake with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import CasesError
from sidecar.mcp import strict_json
from sidecar.rehearsal.cases import Case, Step, load_cases, read_cases
from sidecar.rehearsal.judging import BEGIN


def good(text: str) -> tuple[Case, ...]:
    cases, problems = read_cases(text, "t.yaml")
    assert problems == []
    return cases


def step(words: str) -> Step:
    (case,) = good(f"- name: n\n  steps: [{{call: t, expect: deny, {words}}}]\n")
    return case.steps[0]


def problems(text: str) -> list[str]:
    return [str(problem) for problem in read_cases(text, "t.yaml")[1]]


def written(value: Any) -> bytes:
    return strict_json.encode(value)


def test_a_case_is_read_with_all_that_it_says() -> None:
    (case,) = good("""
- name: all of it
  workload: {namespace: trading}
  steps:
    - call: buy
      arguments: {amount: 5.50, yes: on}
      principal: {subject: anna, issuer: "https://id", claims: {groups: [traders], level: 3}}
      session: other
      client: {name: claude, version: "2"}
      at: 2026-01-05T09:30:00Z
      expect: deny
      message: Too much
      rule: small
    - {call: buy, principal: bert, after: 90s, expect: allow}
""")
    first, second = case.steps
    assert (case.name, dict(case.workload), case.place.line) == ("all of it", {"namespace": "trading"}, 2)
    assert (first.tool, first.expect, first.message, first.rule) == ("buy", "deny", "Too much", "small")
    assert written(first.arguments) == b'{"amount":5.50,"yes":"on"}'
    assert first.caller.document == {
        "principal": {"subject": "anna", "issuer": "https://id", "claims": {"groups": ["traders"], "level": 3}},
        "session": {"client": {"name": "claude", "version": "2"}},
    }
    assert (first.caller.session, first.time, first.place.line) == ("other", 1_767_605_400.0, 5)
    assert second.caller.principal is not None
    assert (second.caller.principal.subject, second.time, second.arguments) == ("bert", first.time + 90, {})


def test_steps_that_name_no_session_are_of_one_session_and_come_at_once() -> None:
    (case,) = good("- {name: n, steps: [{call: a, expect: allow}, {call: a, expect: allow}]}\n")
    assert case.steps[0].caller == case.steps[1].caller
    assert [one.time for one in case.steps] == [BEGIN, BEGIN]


@pytest.mark.parametrize(
    ("number", "token"),
    [("1.10", b"1.10"), ("100000000000000000000.1", b"100000000000000000000.1"), ("1e3", b"1e3"), ("0x10", b"16"),
     (".5", b"0.5"), ("+7", b"7"), ("1_000", b"1000"), ('"5"', b'"5"'), ("", b"null"), ("-0", b"-0")],
)  # fmt: skip
def test_a_number_is_the_token_that_a_client_would_write(number: str, token: bytes) -> None:
    assert written(step(f"arguments: {{n: {number}}}").arguments) == b'{"n":' + token + b"}"


def test_arguments_may_be_the_literal_text_of_a_client() -> None:
    assert written(step("""arguments_json: '{"n": 5.50, "e": "\\u00e9"}'""").arguments) == '{"n":5.50,"e":"é"}'.encode()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("ab<~.\u2028\n", min_size=1), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text("abc", min_size=1), json_values, max_size=4))
def test_any_json_object_in_a_file_is_the_same_object_in_the_call(value: dict[str, Any]) -> None:
    literal = msgspec.json.encode(value).decode()
    # JSON is YAML, but for escapes of characters beyond the first plane, which msgspec does not write.
    text = f"- {{name: n, steps: [{{call: t, expect: deny, arguments: {literal}}}]}}\n"
    cases, noted = read_cases(text, "t.yaml")
    if noted:  # what YAML cannot carry is said, never changed; the literal form carries it
        assert any(not char.isprintable() or char == "<" for char in literal)
        return
    assert written(cases[0].steps[0].arguments) == written(strict_json.read_value(literal.encode())[0])


@given(st.text())
def test_any_text_is_read_or_refused_with_a_line(text: str) -> None:
    cases, noted = read_cases(text, "t.yaml")
    assert noted or all(case.name and case.steps for case in cases)
    assert all(problem.place.line >= 1 for problem in noted)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "t.yaml:1:1: file: no list of cases: begin each with `- name:`, and give it steps"),
        ("[]", "t.yaml:1:1: file: no list of cases: begin each with `- name:`, and give it steps"),
        ("name: n", "t.yaml:1:1: file: no list of cases: begin each with `- name:`, and give it steps"),
        ("- {steps: [{call: t, expect: allow}]}", "t.yaml:1:3: [1]: a case needs a name: say what is so, as"),
        ("- {name: n}", "t.yaml:1:3: [1]: a case needs steps: write `steps:` and a list of calls"),
        ("- {name: n, steps: []}", "t.yaml:1:3: [1]: a case needs steps"),
        ("- {name: n, steps: [{call: t}]}", "[1].steps[1]: a step needs what it expects"),
        ("- {name: n, steps: [{expect: allow}]}", "[1].steps[1]: a step needs a call"),
        ("- {name: n, steps: [{call: t, expect: denied}]}", '"denied" is not known here: write deny'),
        ("- {name: n, steps: [{call: t, expect: perhaps}]}", "must be allow, deny, approval, refused or error"),
        ("- {name: n, steps: [{call: t, expct: allow}]}", 'the key "expct" is not known here'),
        ("- {name: n, step: [{call: t, expect: allow}]}", 'the key "step" is not known here'),
        ("- {name: n, steps: [{call: t, expect: allow, expect: deny}]}", 'the key "expect" stands here and in line 1'),
        ("- {name: n, steps: [{call: t, expect: allow, message: m}]}", "can expect no message, rule or code"),
        ("- {name: n, steps: [{call: t, expect: deny, message: ' '}]}", "every message begins with nothing: write how"),
        ("- {name: n, steps: [{call: t, expect: deny, code: -32003}]}", "only an error has a code"),
        ("- {name: n, steps: [{call: t, expect: error, code: soon}]}", "a code is a whole number"),
        ("- {name: n, steps: [{call: t, expect: deny, arguments: [1]}]}", "arguments are an object"),
        ("- {name: n, steps: [{call: t, expect: deny, arguments_json: '[1]'}]}", "arguments are an object"),
        ("- {name: n, steps: [{call: t, expect: deny, arguments_json: '{\"a\":1,\"a\":2}'}]}", "a key stands twice"),
        ("- {name: n, steps: [{call: t, expect: deny, arguments: {}, arguments_json: '{}'}]}", "keep one of the two"),
        ("- {name: n, steps: [{call: t, expect: deny, arguments: {n: 1e400}}]}", "no call can carry this"),
        ("- {name: n, steps: [{call: t, expect: deny, at: tomorrow}]}", "no time: write it as 2026-01-05T09:30:00Z"),
        ("- {name: n, steps: [{call: t, expect: deny, at: 2026-01-05}]}", "no time"),
        ("- {name: n, steps: [{call: t, expect: deny, after: soon}]}", "is no duration"),
        ("- {name: n, steps: [{call: t, expect: deny, principal: ''}]}", "a principal needs a subject"),
        ("- {name: n, steps: [{call: t, expect: deny, principal: {issuer: i}}]}", "a principal needs a subject"),
        ("- {name: n, steps: [{call: t, expect: deny, session: ''}]}", "a session needs a name"),
        ("- {name: n, workload: {node: x}, steps: [{call: t, expect: deny}]}", 'the key "node" is not known here'),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place_and_what_to_write_instead(text: str, said: str) -> None:
    assert [line for line in problems(text) if said in line], problems(text)


def test_two_cases_of_one_name_are_a_mistake() -> None:
    case = "- {name: n, steps: [{call: t, expect: allow}]}\n"
    assert problems(case * 2) == ['t.yaml:2:3: [2].name: line 1 has a case "n" too: name each apart']


def test_steps_do_not_go_back_in_time() -> None:
    text = """
- name: n
  steps:
    - {call: t, expect: allow, at: 2026-01-05T09:30:00Z}
    - {call: t, expect: allow, at: 2026-01-05T09:29:59Z}
"""
    assert problems(text) == [
        "t.yaml:5:36: [1].steps[2].at: this is before the step above: steps come one after the other"
    ]


def test_every_problem_of_every_file_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("- {name: n}\n")
    (tmp_path / "b.yaml").write_bytes(b"\xff")
    (tmp_path / "d.yaml").write_text("- name: n\n\tsteps: x\n")
    with pytest.raises(CasesError) as caught:
        load_cases([tmp_path / name for name in ("a.yaml", "b.yaml", "c.yaml", "d.yaml")])
    a, b, c, d = caught.value.problems
    assert a.startswith(f"{tmp_path}/a.yaml:1:3: ")
    assert b == f"{tmp_path}/b.yaml:1:1: file: not UTF-8: save it as UTF-8"
    assert f"cannot read the tests {tmp_path}/c.yaml: " in c
    assert d.startswith(f"{tmp_path}/d.yaml:2:")
