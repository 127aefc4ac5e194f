"""`sidecar policy test` as its users run it: what it prints, what it writes, how it ends."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cli.test_policy_commands import Done, sidecar

POLICY = """tools:
  buy:
    rules:
      - name: small orders
        conditions: [{path: args.amount, op: lte, value: 100}]
        reason: Too much for one order
  wipe:
    rules: [{name: never, action: deny}]
  look: {}
"""
TESTS = """- name: small orders pass
  steps:
    - {call: buy, arguments: {amount: 100}, expect: allow}
    - {call: buy, arguments: {amount: 101}, expect: deny, message: Too much for one order}
- name: nothing is wiped
  steps:
    - {call: wipe, expect: deny}
"""
RULE = """package intercept.custom

violations contains {"rule": "custom wipe", "reason": "no"} if input.tool == "wipe"
"""
RULE_TEST = """package intercept.custom_test

import data.intercept.custom

test_wipe if count(custom.violations) == 1 with input as {"tool": "wipe"}
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    for name, text in {"policies/policy.yaml": POLICY, "tests/orders.yaml": TESTS}.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    return tmp_path


def run(here: Path, *words: str) -> Done:
    return sidecar(here, "policy", "test", *words)


def test_a_repository_is_tested_and_the_table_fits_a_terminal(here: Path) -> None:
    done = run(here, ".")
    assert (done.status, done.errors) == (0, [])
    assert done.out.splitlines() == [
        "tests                                                    cases    steps   failed",
        "tests/orders.yaml                                            2        3        0",
        "",
        "2 cases, 3 steps: all as expected",
    ]
    assert all(len(line) <= 80 for line in done.out.splitlines())


def test_a_file_is_tested_by_files(here: Path) -> None:
    done = run(here, "-c", "policies/policy.yaml", "tests/orders.yaml")
    assert (done.status, done.out.splitlines()[-1]) == (0, "2 cases, 3 steps: all as expected")


def test_several_policy_files_are_one_policy(here: Path) -> None:
    (here / "more.yaml").write_text("tools: {sell: {rules: [{action: deny}]}}\n")
    (here / "more-tests.yaml").write_text(
        "- {name: n, steps: [{call: sell, expect: deny}, {call: wipe, expect: deny}]}\n"
    )
    done = run(here, "-c", "policies/policy.yaml", "-c", "more.yaml", "more-tests.yaml", "tests/orders.yaml")
    assert (done.status, done.out.splitlines()[-1]) == (0, "3 cases, 5 steps: all as expected")


def test_a_case_that_fails_is_told_with_what_came_and_the_line_of_the_rule(here: Path) -> None:
    (here / "policies" / "policy.yaml").write_text(POLICY.replace("100", "50"))
    done = run(here, ".")
    assert done.status == 1
    begin = done.out.splitlines().index("FAILED  small orders pass")
    assert done.out.splitlines()[begin + 1 : begin + 5] == [
        "  tests/orders.yaml:3: step 1: buy",
        "    expected  allow",
        '    got       deny, "Too much for one order" …',
        "    by        the rule small orders at policies/policy.yaml:4",
    ]
    assert done.out.splitlines()[-1] == "2 cases, 3 steps: 1 FAILED"


def test_a_permission_that_nobody_meant_fails(here: Path) -> None:
    (here / "policies" / "policy.yaml").write_text(POLICY.replace("action: deny", "action: deny, mode: monitor"))
    done = run(here, ".")
    assert done.status == 1
    assert "    got       allow" in done.out.splitlines()
    assert "    by        no rule; these only report: never" in done.out.splitlines()
    (here / "policies" / "policy.yaml").write_text(f"mode: monitor\n{POLICY}")
    done = run(here, ".")
    assert done.status == 1
    assert "    got       allow, for the policy only monitors: it would be deny" in done.out
    assert done.out.splitlines()[-1].endswith("the policy only monitors, so every call is forwarded")


def test_what_no_test_shows_is_told_and_fails_only_where_that_is_asked(here: Path) -> None:
    (here / "tests" / "orders.yaml").write_text(
        "- {name: n, steps: [{call: buy, arguments: {amount: 1}, expect: allow}]}\n"
    )
    done = run(here, ".")
    assert done.status == 0
    lines = done.out.splitlines()
    assert lines[lines.index("No test touches these rules:") + 1] == "  policies/policy.yaml:8: wipe: never"
    refuse = lines.index("No test shows that these rules refuse a call, or ask about one:")
    assert lines[refuse + 1] == "  policies/policy.yaml:4: buy: small orders"
    assert run(here, ".", "--strict").status == 1


def test_strict_is_content_with_tests_that_show_all(here: Path) -> None:
    assert run(here, ".", "--strict").status == 0
    (here / "tools.json").write_text('{"tools": [{"name": "buy"}, {"name": "sell"}]}')
    done = run(here, ".", "--strict")
    assert (done.status, "  sell: named nowhere" in done.out.splitlines()) == (1, True)


def test_a_file_of_tests_that_cannot_be_read_ends_with_2_and_every_problem(here: Path) -> None:
    (here / "tests" / "more.yaml").write_text("- name: n\n  steps: [{call: t, expct: deny}]\n")
    done = run(here, ".")
    assert (done.status, done.out) == (2, "")
    assert [line.partition(": ")[0] for line in done.errors] == ["tests/more.yaml:2:11", "tests/more.yaml:2:21"]
    done = run(here, "-c", "policies/policy.yaml", "nowhere.yaml")
    assert (done.status, len(done.errors)) == (2, 1)
    assert done.errors[0].startswith("cannot read the tests nowhere.yaml: ")


def test_a_policy_that_is_wrong_ends_with_1_and_its_lines(here: Path) -> None:
    (here / "policies" / "policy.yaml").write_text(POLICY.replace("lte", "atmost"))
    done = run(here, ".")
    assert done.status == 1
    assert done.errors[0].startswith("policies/policy.yaml:5:")


def test_a_repository_without_a_case_fails(here: Path) -> None:
    (here / "tests" / "orders.yaml").unlink()
    done = run(here, ".")
    assert done.status == 1
    assert done.out.splitlines()[-1].startswith("There is no case: write tests/policy.yaml")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tests"], "tests is no policy repository: its policies must stand in tests/policies; begin one with"),
        (["tests/orders.yaml"], "tests/orders.yaml is no folder: name a policy repository, or the policy"),
        ([".", "."], "name one policy repository"),
        ([".", "-c", "policies/policy.yaml"], ". is a folder, and -c is for files of tests: leave one of the two"),
        ([], "Missing argument"),
    ],
)  # fmt: skip
def test_a_command_that_makes_no_sense_ends_with_2_and_what_to_write(here: Path, words: list[str], said: str) -> None:
    done = run(here, *words)
    assert (done.status, done.out, len(done.errors)) == (2, "", 1)
    assert said in done.errors[0]


def test_a_policy_named_by_the_environment_does_not_stand_in_the_way_of_a_repository(here: Path) -> None:
    assert sidecar(here, "policy", "test", ".", SIDECAR_CONFIG="policies/policy.yaml").status == 0
    assert sidecar(here, "policy", "test", "tests/orders.yaml", SIDECAR_CONFIG="policies/policy.yaml").status == 0


def test_the_results_are_written_as_junit(here: Path) -> None:
    (here / "policies" / "policy.yaml").write_text(POLICY.replace("100", "50"))
    assert run(here, ".", "--junit", "report.xml").status == 1
    root = ElementTree.parse(here / "report.xml").getroot()
    assert {key: root.attrib[key] for key in ("tests", "failures", "errors")} == {
        "tests": "2",
        "failures": "1",
        "errors": "0",
    }
    assert [(suite.attrib["name"], [case.attrib["name"] for case in suite]) for suite in root] == [
        ("tests/orders.yaml", ["small orders pass", "nothing is wiped"])
    ]
    (failure,) = root.iter("failure")
    assert failure.attrib["message"] == "tests/orders.yaml:3: step 1: buy"
    done = run(here, ".", "--junit", "no/such/folder.xml")
    assert (done.status, len(done.errors)) == (1, 1)
    assert "cannot write no/such/folder.xml" in done.errors[0]


def with_rego(here: Path, test: str) -> Path:
    (here / "rego" / "custom").mkdir(parents=True)
    (here / "rego" / "custom" / "wipe.rego").write_text(RULE)
    if test:
        (here / "rego" / "custom" / "wipe_test.rego").write_text(test)
    return here


def test_tests_of_rego_are_run_with_coverage(here: Path) -> None:
    done = run(with_rego(here, RULE_TEST), ".", "--strict", "--junit", "report.xml")
    assert done.status == 0
    assert "rego/custom                                                  1        1        0" in done.out.splitlines()
    assert "rego/custom: tests reach 100 % of its lines" in done.out.splitlines()
    names = [case.attrib["name"] for case in ElementTree.parse(here / "report.xml").iter("testcase")]
    assert names[-1] == "intercept.custom_test.test_wipe"


def test_lines_of_rego_that_no_test_reaches_are_named(here: Path) -> None:
    with_rego(here, RULE_TEST)
    more = '\nviolations contains {"rule": "x", "reason": "no"} if {\n\tinput.tool == "x"\n\tinput.arguments.n > 5\n}\n'
    (here / "rego" / "custom" / "wipe.rego").write_text(RULE + more)
    done = run(here, ".")
    assert done.status == 0
    assert "  rego/custom/wipe.rego: not line 5-7" in done.out.splitlines()
    assert run(here, ".", "--strict").status == 1


def test_a_test_of_rego_that_fails_fails_the_command(here: Path) -> None:
    done = run(with_rego(here, RULE_TEST.replace("== 1", "== 2")), ".", "--junit", "report.xml")
    assert done.status == 1
    assert "  rego/custom/wipe_test.rego:5: the test does not hold" in done.out.splitlines()
    (failure,) = ElementTree.parse(here / "report.xml").getroot().iter("failure")
    assert failure.attrib["message"] == "rego/custom/wipe_test.rego:5: the test does not hold"


def test_rego_without_a_test_is_told(here: Path) -> None:
    done = run(with_rego(here, ""), ".")
    assert done.status == 0
    assert "rego/custom has no test: write one, as rego/custom/rules_test.rego" in done.out.splitlines()
    assert run(here, ".", "--strict").status == 1


def test_a_compiled_folder_that_is_out_of_date_fails(here: Path) -> None:
    assert sidecar(here, "compile", "-c", "policies/policy.yaml", "-o", "compiled").status == 0
    assert run(here, ".").status == 0
    (here / "policies" / "policy.yaml").write_text(POLICY.replace("100", "100.0"))
    done = run(here, ".")
    assert done.status == 1
    (line,) = [line for line in done.out.splitlines() if line.startswith("compiled/intercept/facts")]
    assert line.endswith("differs; run `sidecar compile -c policies/policy.yaml -o compiled`")
    assert sidecar(here, "compile", "-c", "policies/policy.yaml", "-o", "compiled").status == 0
    assert run(here, ".").status == 0


def test_a_compiled_folder_that_is_elsewhere_is_not_looked_through(here: Path) -> None:
    (here / "compiled").symlink_to("/")
    done = run(here, ".")
    assert (done.status, done.out) == (1, "")
    assert done.errors == ["compiled: leads to /, which is no file of the repository: put the file itself there"]


def test_no_report_is_written_through_a_link(here: Path) -> None:
    (here / "mine").write_text("mine")
    (here / "report.xml").symlink_to("mine")
    done = run(here, ".", "--junit", "report.xml")
    assert done.status == 1
    assert done.errors[-1] == (
        "sidecar: cannot write report.xml: it is a symbolic link; name another file with --junit"
    )
    assert (here / "mine").read_text() == "mine"


def test_names_that_would_fool_a_terminal_are_escaped(here: Path) -> None:
    (here / "tests" / "orders.yaml").write_text('- {name: "a\\u202eb", steps: [{call: "t\\e[31m", expect: allow}]}\n')
    done = run(here, ".")
    assert done.status == 1
    assert "FAILED  a\\u202eb" in done.out.splitlines()
    assert "\x1b" not in done.out


def test_tests_in_folders_below_are_run_and_policies_there_are_refused(here: Path) -> None:
    (here / "tests" / "more").mkdir()
    (here / "tests" / "more" / "a.yml").write_text("- {name: n, steps: [{call: wipe, expect: allow}]}\n")
    done = run(here, ".")
    assert (done.status, done.out.splitlines()[-1]) == (1, "3 cases, 4 steps: 1 FAILED")
    (here / "policies" / "more").mkdir()
    (here / "policies" / "more" / "b.yaml").write_text("tools: {x: {rules: [{action: deny}]}}\n")
    done = run(here, ".")
    assert (done.status, done.errors) == (
        1, ["policies/more/b.yaml: a policy in a folder of its own: move it to policies"]
    )  # fmt: skip


def test_rego_that_reads_the_time_is_told_the_time_of_the_step(here: Path) -> None:
    rule = 'violations contains {"rule": "hours", "reason": "Not at night"} if {\n'
    rule += '\tinput.tool == "look"\n\t[hour, _, _] := time.clock(time.parse_rfc3339_ns(input.time))\n\thour < 8\n}\n'
    with_rego(here, "")
    (here / "rego" / "custom" / "wipe.rego").write_text(f"package intercept.custom\n\n{rule}")
    (here / "tests" / "orders.yaml").write_text("""- name: nobody looks at night
  steps:
    - {call: look, at: 2026-01-05T07:59:59Z, expect: deny, rule: hours}
    - {call: look, after: 1s, expect: allow}
    - {call: look, at: 2026-01-06T07:59:59Z, expect: deny, message: Not at night}
""")
    done = run(here, ".")
    assert (done.status, done.out.splitlines()[-1]) == (0, "1 case, 3 steps: all as expected")
