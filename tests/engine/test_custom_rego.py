"""Hand-written Rego before it is in force: what is refused and in which words, and what is known of the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sidecar.engine import binary, custom_rego
from sidecar.engine.custom_rego import check
from sidecar.errors import PolicyError
from sidecar.policy.custom import CUSTOM, CheckedCustom, CustomReads, CustomRule
from sidecar.policy.custom_builtins import BUILTINS
from tests.support import OPA

GOOD = 'violations contains {"rule": "r", "reason": "no"} if input.tool == "t"'
HEAD = "package intercept.custom\n\n"


def files(**texts: str) -> dict[str, str]:
    """Files of a bundle from their names, in which a `_` stands for a dot."""
    return {f"{CUSTOM}/{name.replace('_', '.')}": text for name, text in texts.items()}


def checked(text: str, **more: str) -> CheckedCustom:
    return check(OPA, files(a_rego=text, **more))


def reads(condition: str, *others: str) -> CustomReads:
    """What a rule with this condition reads; `others` stand beside it in the module."""
    rule = f'violations contains {{"rule": "r", "reason": "no"}} if {{ {condition} }}'
    return checked("\n\n".join([HEAD.strip(), *others, rule])).reads


def refused(given: Mapping[str, str]) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        check(OPA, given)
    return caught.value.problems


FOREIGN = [
    "package intercept", "package intercept.policy", "package intercept.facts", "package intercept.bundle",
    "package intercept.customx", "package intercept.custo", 'package intercept["policy"].custom', "package custom",
    "package system", "package system.authz", "package data.intercept.custom", "package intercept.custom_test",
    "package intercept.typed", 'package intercept["custom.x"]', "package intercept.Custom",
]  # fmt: skip


@pytest.mark.parametrize("package", FOREIGN)
def test_a_package_that_is_not_its_own_is_refused(package: str) -> None:
    [problem] = refused(files(a_rego=f"{package}\n\n{GOOD}\n"))
    assert problem.startswith("rego/custom/a.rego:1:1: package ")
    assert problem.endswith("write package intercept.custom, or one below it for helpers")


@pytest.mark.parametrize("package", [
    'package intercept["custom"]', "package intercept.custom # x", "# x\n\npackage intercept.custom",
])  # fmt: skip
def test_its_own_package_may_be_written_in_every_way(package: str) -> None:
    assert [rule.rule for rule in checked(f"{package}\n\n{GOOD}\n").rules] == ["r"]


WRONG = {
    'violations := {{"rule": "r", "reason": "no"}}': "violations: it is a set that rules add to",
    'violations = {{"rule": "r", "reason": "no"}}': "violations: it is a set that rules add to",
    'violations := [{"rule": "r", "reason": "no"}] if input.tool == "t"': "violations: it is a set",
    "default violations := set()": "violations: it is a set that rules add to",
    'violations := set() if input.tool == "t" else := {{"rule": "r", "reason": "no"}}': "violations: it is a set",
    'violations["x"] := {"rule": "r", "reason": "no"}': "violations: it is a set that rules add to",
    'violations[x] if some x in ["a"]': "violations: it is a set that rules add to",
    'violations.x contains {"rule": "r", "reason": "no"}': "violations: it is a set that rules add to",
    "violations(x) := x": "violations: it is a set that rules add to",
    'violations if input.tool == "t"': "violations: it is a set that rules add to",
    'violations.x.y := 1 if input.tool == "t"': "violations: it is a set that rules add to",
    "approvals := set()": "approvals: it is a set that rules add to",
    "default approvals := set()": "approvals: it is a set that rules add to",
    "approvals(x) := x": "approvals: it is a set that rules add to",
    'violations contains "no"': 'violations: "rule" and "reason" are needed',
    'violations contains {"rule": "r"}': 'violations: "rule" and "reason" are needed',
    'violations contains {"rule": "", "reason": "no"}': 'violations: "rule" and "reason" are needed',
    'violations contains {"rule": " ", "reason": "no"}': 'violations: "rule" and "reason" are needed',
    'violations contains {"rule": "r", "reason": 5}': 'violations: "rule" and "reason" are needed',
    'violations contains {"rule": input.tool, "reason": "no"}': 'violations: "rule" and "reason" are needed',
    'violations contains {"rule": "r", "reason": input.arguments.secret}': 'violations: "rule" and "reason" are needed',
    'violations contains {"rule": "r", "reason": sprintf("%s", [input.arguments.x])}': "each as a text that stands",
    'violations contains {"rule": "r", "reason": $"no {input.arguments.x}"}': "each as a text that stands",
    'violations contains x if x := {"rule": "r", "reason": "no"}': 'violations: "rule" and "reason" are needed',
    'violations contains object.union({"rule": "r"}, {"reason": "no"})': 'violations: "rule" and "reason" are needed',
    'violations contains {"rule": "r", "reason": "no", "kind": "allow"}': "violations.kind: there is no such member",
    'violations contains {"rule": "r", "reason": "no", "monitor": "true"}': "violations.monitor: write true or false",
    'violations contains {"rule": "r", "reason": "no", "monitor": input.arguments.m}': "violations.monitor: write",
    'violations contains {"rule": "r", "reason": "no", "approvers": 2}': "violations.approvers: there is no such",
    'approvals contains {"rule": "r", "reason": "no", "monitor": true}': "approvals.monitor: there is no such member",
    'approvals contains {"rule": "r", "reason": "no", "grant": {"for": 5}}': "approvals.grant: there is no such member",
    'approvals contains {"rule": "r", "reason": "no", "timeout": "30m"}': "approvals.timeout: write a number: seconds",
    'approvals contains {"rule": "r", "reason": "no", "approvers": 0}': "approvals.approvers: write a number",
    'approvals contains {"rule": "r", "reason": "no", "approvers": 1.5}': "approvals.approvers: write a number",
    'deny contains "no" if input.tool == "t"': "deny: nobody reads it, so it does nothing",
    "allow := false": "allow: nobody reads it, so it does nothing",
    "default allow := false": "allow: nobody reads it, so it does nothing",
    'violation contains {"msg": "no"}': "violation: nobody reads it, so it does nothing",
    'violatons contains {"rule": "r", "reason": "no"}': "violatons: nobody reads it, so it does nothing",
    "import data.intercept as x": "data.intercept: of the bundle it can read data.intercept.custom",
    "import data.intercept.policy": "data.intercept.policy: of the bundle",
    "import data": "data: of the bundle",
    "x := data.intercept.facts": "data.intercept.facts: of the bundle",
    "x := data": "data: of the bundle",
    "x := data[input.tool]": "data: of the bundle",
    "x := data.intercept[input.tool]": "data.intercept: of the bundle",
    'x := data["intercept"]["pol"]': "data.intercept.pol: of the bundle",
    "x := data.system": "data.system: of the bundle",
    "x := [y | some y in data.intercept.policy.passes]": "data.intercept.policy.passes: of the bundle",
    "x := {data.intercept.facts.mode: 1}": "data.intercept.facts.mode: of the bundle",
    "f(y) := data.intercept.facts[y]": "data.intercept.facts: of the bundle",
    "x[data.intercept.facts.mode] := 1": "data.intercept.facts.mode: of the bundle",
    "x if every y in data.intercept.facts.tools { y }": "data.intercept.facts.tools: of the bundle",
    "x if not data.intercept.facts.mode": "data.intercept.facts.mode: of the bundle",
    "x := 1 if false else := data.intercept.facts": "data.intercept.facts: of the bundle",
    'x := $"{data.intercept.facts.mode}"': "data.intercept.facts.mode: of the bundle",
    'x := 1 if input.tool == "t" with input as {"tool": "t"}': "with: it is this question that is decided",
    "x := 1 if data.intercept.custom.y with data.intercept.custom.y as 1": "with: it is this question",
    "x := input.counters": "input.counters: no counter can be read here",
    'x := input.counters["state.t.n"]': "input.counters.state.t.n: no counter can be read here",
    "x := input.toool": "input.toool: a question has no such part",
    "x := input.tools": "input.tools: a question has no such part",
    "x := input.questions": "input.questions: a question has no such part",
    "x := input.principal.groups": "input.principal.groups: there is no groups: write one of subject, issuer, claims",
    "x := input.session.id": "input.session.id: there is no id: write one of client",
    "x := input.session.client.title": "input.session.client.title: there is no title",
    "x := input.workload.pod.name": "input.workload.pod.name: leave out name",
    "x := input.tool.name": "input.tool.name: nothing stands below it",
    "import rego.v2": "import rego.v2: nothing here needs it",
    "x := 1 if not f(input.arguments.n)\n\nf(y) if y": "not: where input.arguments.n is missing",
    "x := 1 if not input.arguments.n <= 100": "not: where input.arguments.n is missing",
    'x := 1 if not startswith(input.arguments["n"], "x")': "not: where input.arguments.n is missing",
    "x := 1 if not input.arguments.n in [1, 2]": "not: where input.arguments.n is missing",
    "x := 1 if not count(input.arguments.n) == 1": "not: where input.arguments.n is missing",
    "x := 1 if not 1 == count(input.arguments.n)": "not: where input.arguments.n is missing",
    "n := input.arguments.n\n\nx := 1 if not n <= 100": "not: where n is missing",
    "import input.arguments.n\n\nx := 1 if not n <= 100": "not: where input.arguments.n is missing",
    "x := [1 | some y in [1]; not y == count(input.arguments[y])]": "not: where input.arguments is missing",
    "# METADATA\n# schemas:\n#   - input: {type: string}\nx := 1": "schemas: a schema can be fetched from anywhere",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_it_may_not_say_is_refused_with_what_to_write(text: str) -> None:
    [problem] = refused(files(a_rego=f"{HEAD}{text}\n\n{GOOD}\n"))
    assert problem.startswith("rego/custom/a.rego:")
    assert WRONG[text] in problem


@pytest.mark.parametrize("text", [
    "x := y\n\ny := x", "violations contains {\"rule\": \"a\", \"reason\": \"b\"} if data.intercept.custom.violations",
    "x := data.intercept.custom[input.tool]", "x(y) := x(y)",
])  # fmt: skip
def test_recursion_is_refused(text: str) -> None:
    assert any("recursive" in problem for problem in refused(files(a_rego=f"{HEAD}{GOOD}\n\n{text}\n")))


FORBIDDEN = [
    'http.send({"method": "GET", "url": "http://127.0.0.1:1/"})', "opa.runtime()", 'net.lookup_ip_addr("localhost")',
    'rand.intn("x", 5)', 'uuid.rfc4122("x")', 'trace("x")', 'rego.parse_module("a", "b")', "rego.metadata.rule()",
    'io.jwt.decode_verify("x", {})', 'yaml.unmarshal("a: 1")', 'json.match_schema({}, {"$ref": "http://127.0.0.1:1/"})',
    'crypto.x509.parse_certificates("x")', 'providers.aws.sign_req({}, {}, 5)', 'graphql.is_valid("x", "y")',
    'strings.render_template("x", {})', 'net.cidr_expand("10.0.0.0/8")',
]  # fmt: skip


@pytest.mark.parametrize("call", FORBIDDEN)
def test_a_function_that_sees_more_than_it_is_given_cannot_be_used(call: str) -> None:
    [problem] = refused(files(a_rego=f"{HEAD}{GOOD}\n\nx := {call}\n"))
    name = call.partition("(")[0]
    assert problem.startswith(f"rego/custom/a.rego:5:6: rego: {name} cannot be used: a rule goes by the question")


def test_printing_cannot_be_used() -> None:
    [problem] = refused(files(a_rego=f"{HEAD}{GOOD}\n\nx if {{\n\tprint(input.arguments.a)\n}}\n"))
    assert problem.startswith("rego/custom/a.rego:6:2: rego: print cannot be used")


def test_the_functions_that_can_be_used_are_functions_of_this_opa_that_need_nothing_else() -> None:
    known = json.loads(binary.run([OPA, "capabilities", "--current"]).stdout)["builtins"]
    assert {one["name"] for one in known} >= BUILTINS
    assert {one["name"] for one in known if one.get("nondeterministic")} & BUILTINS == {"time.now_ns"}


def test_nothing_is_compiled_before_it_was_looked_through(tmp_path: Path) -> None:
    # OPA fetches a schema while it checks: with one in the file, nothing but `parse` may have run.
    ran = tmp_path / "ran"
    spy = tmp_path / "opa"
    spy.write_text(f'#!/bin/sh\necho "$1" >> {ran}\nexec {OPA} "$@"\n')
    spy.chmod(0o755)
    text = '# METADATA\n# schemas:\n#   - input: {"$ref": "http://127.0.0.1:1/x"}\n' + GOOD
    with pytest.raises(PolicyError, match="schemas: a schema can be fetched"):
        check(spy, files(a_rego=HEAD + text))
    assert ran.read_text().split() == ["parse"]


@pytest.mark.parametrize(("text", "line"), [("violations contains if", 3), ('x := "\n', 3), ("x := 1 }", 3)])
def test_what_cannot_be_read_is_refused_with_its_line(text: str, line: int) -> None:
    assert all(problem.startswith(f"rego/custom/a.rego:{line}:") for problem in refused(files(a_rego=HEAD + text)))


def test_an_empty_file_is_refused() -> None:
    assert refused(files(a_rego="")) == ["rego/custom/a.rego:1:1: rego: empty module"]


def test_what_opa_does_not_accept_is_refused_with_its_reason() -> None:
    problems = refused(files(a_rego=f"{HEAD}{GOOD}\n\nx if {{ y := 1 }}\n\nz := nothing_like_it(1)\n"))
    assert problems == [
        "rego/custom/a.rego:5:8: rego: assigned var y unused",
        "rego/custom/a.rego:7:6: rego: undefined function nothing_like_it",
    ]


def test_every_problem_of_every_file_is_listed_at_once() -> None:
    one = f"{HEAD}deny contains 1\n\nx := input.toool\n"
    other = f"package intercept.custom.sub\n\n{GOOD}\n"
    found = refused(files(a_rego=one, b_rego=other))
    assert [problem.split(": ")[0] for problem in found] == [
        "rego/custom/a.rego:3:1", "rego/custom/a.rego:5:6", "rego/custom/b.rego:3:1",
    ]  # fmt: skip


@pytest.mark.parametrize("package", ["intercept.custom.violations", "intercept.custom.approvals.x"])
def test_a_package_cannot_take_the_place_of_what_rules_add_to(package: str) -> None:
    [problem] = refused(files(a_rego=f"package {package}\n\nx := 1\n"))
    assert "is what rules add to: choose another name" in problem


def test_what_says_nothing_is_refused() -> None:
    [problem] = refused(files(a_rego=f"{HEAD}x := 1\n"))
    assert "no file adds to violations or approvals" in problem


DATA = {
    '{"violations": []}': "violations is what rules add to",
    '{"approvals": {"a": 1}}': "approvals is what rules add to",
    "[]": "it is no object",
    "5": "it is no object",
    "{": "it cannot be read: not JSON",
    '{"a": 1, "a": 2}': "it cannot be read: a key stands twice in one object",
    '{"a": 1e999}': "it cannot be read",
    '{"a": NaN}': "it cannot be read",
    '{"t": 1}': "conflicting rule for data path intercept/custom/t",
}


@pytest.mark.parametrize("text", DATA)
def test_data_that_cannot_be_read_or_takes_the_place_of_a_rule_is_refused(text: str) -> None:
    [problem] = refused(files(a_rego=f"{HEAD}{GOOD}\n\nt := 1\n", data_json=text))
    assert DATA[text] in problem


def test_data_in_a_folder_cannot_take_the_place_of_what_rules_add_to() -> None:
    [problem] = refused(files(a_rego=HEAD + GOOD) | {f"{CUSTOM}/violations/data.json": "{}"})
    assert "rego/custom/violations/data.json:1:1: data: violations is what rules add to" in problem


@pytest.mark.parametrize("path", [
    "intercept/policy/a.rego", "intercept/customx/a.rego", f"{CUSTOM}/../policy/a.rego", f"{CUSTOM}/a.yaml",
    f"{CUSTOM}/.a.rego", f"{CUSTOM}/x/.manifest", f"{CUSTOM}//a.rego", f"/{CUSTOM}/a.rego", f"{CUSTOM}/x.rego/a.rego",
    f"{CUSTOM}/a b.rego", f"{CUSTOM}/a.rego\n", f"{CUSTOM}/data.yaml", f"{CUSTOM}/x.json", f"{CUSTOM}", "data.json",
    f"{CUSTOM}/\u202ea.rego",
])  # fmt: skip
def test_a_file_that_is_neither_rego_nor_data_or_stands_elsewhere_is_refused(path: str) -> None:
    [problem] = refused({path: HEAD + GOOD})
    assert "only *.rego and data.json can stand here" in problem
    assert "\u202e" not in problem


def test_there_are_bounds_to_what_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(custom_rego, "MAX_MODULES", 2)
    assert len(check(OPA, files(a_rego=HEAD + GOOD, b_rego=HEAD + "x := 1")).files) == 2
    [many] = refused(files(a_rego=HEAD + GOOD, b_rego=HEAD + "x := 1", c_rego=HEAD + "y := 1"))
    assert "there may be up to 2 files of Rego" in many
    monkeypatch.setattr(custom_rego, "MAX_SIZE", 10)
    assert len(refused(files(a_rego=HEAD + GOOD))) == 1


@pytest.mark.parametrize("text", ["[" * 300 + "]" * 300, "[" * 100_000, "+".join(["1"] * 300)])
def test_what_is_nested_deep_is_a_problem_or_none_and_no_defect(text: str) -> None:
    found = refused(files(a_rego=f"{HEAD}x := {text}\n"))
    assert len(found) <= 2


def test_opa_has_a_bound_for_what_it_says_of_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(custom_rego, "MAX_TREE", 1_000)
    [problem] = refused(files(a_rego=HEAD + GOOD))
    assert problem == (
        "rego/custom/a.rego:1:1: rego: it is too deep, or too long, to be looked through: write it as smaller rules"
    )


def test_opa_has_a_bound_for_the_time_that_it_takes_for_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "opa"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setattr(binary, "_SECONDS", 0.2)
    with pytest.raises(PolicyError, match="too deep, or too long"):
        check(slow, files(a_rego=HEAD + GOOD))


READS: list[tuple[str, CustomReads]] = [
    ('input.tool == "t"', CustomReads()),
    ('input.server == "s"', CustomReads()),
    ("input.arguments.n > 5", CustomReads(paths=(("n",),))),
    ('input.arguments["a.b"].c > 5', CustomReads(paths=(("a.b", "c"),))),
    ("some x in input.arguments.list; x.n > 5", CustomReads(paths=(("list",),))),
    ("input.arguments.list[_].n > 5", CustomReads(paths=(("list",),))),
    ("input.arguments.list[0].n > 5", CustomReads(paths=(("list",),))),
    ("x := input.arguments; x.n > 5", CustomReads(paths=(("n",),), whole=True, keys=True, time=True, lasting=False)),
    ("y := input; y.arguments.n > 5", CustomReads(paths=(("n",),), whole=True, keys=True, time=True, lasting=False)),
    ("input[input.tool]", CustomReads(whole=True, keys=True, time=True, lasting=False)),
    ("input.arguments[input.tool]", CustomReads(whole=True, keys=True, time=True, lasting=False)),
    ("input.arguments[_] == 5", CustomReads(whole=True, keys=True, time=True, lasting=False)),
    ('object.get(input, ["arguments", "n"], 0) > 5', CustomReads(whole=True, keys=True, time=True, lasting=False)),
    ("walk(input, [_, 5])", CustomReads(whole=True, keys=True, time=True, lasting=False)),
    ("walk(input.arguments.n, [_, 5])", CustomReads(paths=(("n",),))),
    ('"k" in input.keys', CustomReads(keys=True)),
    ('input.time > "2026"', CustomReads(time=True, lasting=False)),
    ("time.now_ns() > 5", CustomReads(lasting=False)),
    ('input.principal.subject == "a"', CustomReads(caller=(("principal", "subject"),))),
    ('"g" in input.principal.claims.groups', CustomReads(caller=(("principal", "claims", "groups"),))),
    ("input.principal", CustomReads(caller=(("principal",),))),
    ("not input.principal", CustomReads(caller=(("principal",),))),
    ('input.session.client.name == "a"', CustomReads(caller=(("session", "client", "name"),))),
    ('input.workload.namespace == "a"', CustomReads(caller=(("workload", "namespace"),))),
]


@pytest.mark.parametrize(("condition", "expected"), READS, ids=[condition for condition, _ in READS])
def test_what_it_reads_is_known(condition: str, expected: CustomReads) -> None:
    assert reads(condition) == expected


INDIRECT = {
    "f(5)": "f(x) if input.arguments.n == x",
    "f(5) == 5": "f(x) := x if x == 4\n\nelse := input.arguments.n",
    "y": "y if not input.arguments.n",
    "y == [1]": "y := [1 | input.arguments.n]",
    "y == {1}": "y := {1 | input.arguments.n}",
    'y == "a"': 'y := $"{input.arguments.n}"',
    "y.a": "y := {input.arguments.n: 1}",
    "y[5]": "y contains input.arguments.n",
    "y.a.b": "y.a[x] := 1 if x := input.arguments.n",
    "y == 1": "default y := 1\n\ny := input.arguments.n",
    "every x in y { x }": "y := [x | x := input.arguments.n]",
    "y > 1": "y := sum([input.arguments.n, 2])",
    "z > 1": "import data.intercept.custom.helpers\n\nz := helpers.n",
    "n > 1": "import input.arguments.n",
    "m > 1": "import input.arguments.n as m",
    "data.intercept.custom.helpers.n > 1": "",
}


@pytest.mark.parametrize("condition", INDIRECT)
def test_what_it_reads_by_a_detour_is_known(condition: str) -> None:
    helpers = "package intercept.custom.helpers\n\nn := input.arguments.n\n"
    rule = f'violations contains {{"rule": "r", "reason": "no"}} if {{ {condition} }}'
    given = files(a_rego="\n\n".join([HEAD.strip(), INDIRECT[condition], rule]))
    found = check(OPA, given | {f"{CUSTOM}/helpers/h.rego": helpers}).reads
    assert found == CustomReads(paths=(("n",),))


@pytest.mark.parametrize("said", [
    b"", b"{", b"[]", b'{"base": []}', b'{"base": [[{"type": "var", "value": "data"}]], "virtual": [[]]}',
])  # fmt: skip
def test_where_opa_cannot_say_what_is_read_everything_is_sent(said: bytes, tmp_path: Path) -> None:
    (tmp_path / "said").write_bytes(said)
    liar = tmp_path / "opa"
    liar.write_text(f'#!/bin/sh\nif [ "$1" = deps ]; then exec cat {tmp_path}/said; fi\nexec {OPA} "$@"\n')
    liar.chmod(0o755)
    found = check(liar, files(a_rego=HEAD + GOOD)).reads
    assert (found.whole, found.lasting) == (True, False)


def test_what_it_says_is_known_by_name_and_line() -> None:
    asks = 'approvals contains {"rule": "both", "reason": "ask", "approvers": input.arguments.n} if input.tool == "t"'
    found = checked(f"{HEAD}{GOOD}\n\n{asks}\n", b_rego=f"{HEAD}{GOOD}\n")
    assert found.rules == (
        CustomRule("rego/custom/a.rego", 3, "r", asks=False, several=False),
        CustomRule("rego/custom/a.rego", 5, "both", asks=True, several=True),
        CustomRule("rego/custom/b.rego", 3, "r", asks=False, several=False),
    )


def test_the_same_files_give_the_same_facts_and_others_do_not() -> None:
    one, same, other = (checked(HEAD + text).facts for text in (GOOD, GOOD, GOOD + "\n"))
    assert one == same
    assert one["content"] != other["content"]
    assert json.loads(json.dumps(one)) == one


def test_data_and_helpers_are_part_of_what_an_approval_is_bound_to() -> None:
    contents: list[Any] = [checked(HEAD + GOOD, data_json=f'{{"n": {n}}}').content for n in (1, 2)]
    assert len({*contents, checked(HEAD + GOOD).content}) == 3


def test_without_any_file_there_is_nothing_to_say() -> None:
    assert check(OPA, {}) == CheckedCustom({}, (), CustomReads())


@pytest.mark.parametrize("text", [
    "import data.intercept.typed as data", "import data.intercept.custom as input", "import input.arguments as data",
    "import input.arguments as input", "input := 1", "data.x := 1", "f(input) := input.arguments.n",
    "f(data) := data.x", "x := 1 if some data in [1]",
])  # fmt: skip
def test_nothing_else_can_be_called_input_or_data(text: str) -> None:
    assert refused(files(a_rego=f"{HEAD}{text}\n\n{GOOD}\n"))[0].startswith("rego/custom/a.rego:3:")


def test_a_function_of_its_own_is_not_taken_for_the_one_that_is_built_in() -> None:
    helpers = {f"{CUSTOM}/h.rego": "package intercept.custom.helpers\n\nnow_ns := 5\n"}
    text = f"{HEAD}import data.intercept.custom.helpers as time\n\nx := time.now_ns\n\n{GOOD}\n"
    assert check(OPA, files(a_rego=text) | helpers).reads == CustomReads()
    [problem] = refused(files(a_rego=text.replace("time.now_ns", "time.clock(5)")) | helpers)
    assert "undefined function data.intercept.custom.helpers.clock" in problem
