"""The commands about policies as their users run them: what they print, where, and how they end."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from sidecar.ledger.sqlite import SqliteLedger
from sidecar.ledger.values import Reservation
from sidecar.text import is_plain
from tests.support import OPA, ROOT, SIDECAR

GOOD = "tools: {t: {rules: [{name: small, conditions: [{path: args.n, op: lte, value: 5}]}, {rate_limit: 9/hour}]}}\n"
BAD = "toolz: {}\ntools:\n  t:\n    rules:\n      - action: stop\n"


@dataclass(frozen=True, slots=True)
class Done:
    status: int
    out: str
    errors: list[str]


def sidecar(folder: Path, *words: str | Path, **env: str) -> Done:
    done = subprocess.run(
        [SIDECAR, *words], capture_output=True, text=True, check=False, cwd=folder, timeout=60,
        env={"PATH": os.defpath, "PYTHONPATH": str(ROOT), "HOME": str(folder), "COLUMNS": "80", **env},
    )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr.splitlines())


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "bad.yaml").write_text(BAD)
    return tmp_path


def script(folder: Path, text: str) -> Path:
    path = folder / "opa"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


# What a policy of somebody else's does to the terminal.


@pytest.mark.parametrize("words", [("t",), ("--calls", "calls.jsonl")])
def test_explain_shows_what_a_policy_hides_from_a_reader(here: Path, words: tuple[str, ...]) -> None:
    (here / "hostile.yaml").write_text(
        'tools: {t: {rules: [{name: "n\\e[2J", action: deny, reason: "a\\e[2J\\u202eb\\nc\\x9b2J"}]}}\n'
    )
    (here / "calls.jsonl").write_text('{"tool": "t"}\n')
    done = sidecar(here, "explain", "-c", "hostile.yaml", *words)
    assert done.status == 3
    assert all(is_plain(line) for line in done.out.split("\n"))
    assert "deny: a\\u001b[2J\\u202eb\n" in done.out


# validate


def test_a_good_policy_is_valid(here: Path) -> None:
    said = "Policy file is valid.\ndefault: allow; 1 tool with 2 rules; every other tool is allowed\n"
    assert sidecar(here, "validate", "-c", "good.yaml") == Done(0, said, [])


def test_the_policy_can_be_named_in_the_environment(here: Path) -> None:
    assert sidecar(here, "validate", SIDECAR_CONFIG="good.yaml").status == 0


def test_every_problem_of_a_wrong_policy_is_listed(here: Path) -> None:
    done = sidecar(here, "validate", "-c", "bad.yaml")
    assert (done.status, done.out) == (1, "")
    assert [line.partition(": ")[0] for line in done.errors] == ["bad.yaml:1:1", "bad.yaml:5:17"]


def test_a_warning_is_shown_and_the_policy_is_valid(here: Path) -> None:
    (here / "warned.yaml").write_text("tools: {t: {rules: [{action: deny}, {action: allow}]}}")
    done = sidecar(here, "validate", "-c", "warned.yaml")
    assert (done.status, len(done.errors)) == (0, 1)
    assert done.errors[0].startswith("warned.yaml:1:37: warning: tools.t.rules[2]: ")


def test_a_pattern_that_the_engine_cannot_use_is_a_problem_with_its_reason(here: Path) -> None:
    (here / "p.yaml").write_text("tools: {t: {rules: [{conditions: [{path: args.x, op: regex, value: 'a(?=b)'}]}]}}")
    done = sidecar(here, "validate", "-c", "p.yaml")
    assert done.status == 1
    where = "p.yaml:1:68: tools.t.rules[1].conditions[1].value"
    reason = "invalid or unsupported Perl syntax: `(?=`"
    advice = "write what must be there too as a condition of its own, with regex"
    assert done.errors == [f"{where}: a(?=b) is no RE2 pattern: {reason}; {advice}"]


@pytest.mark.parametrize("command", ["validate", "compile", "explain"])
def test_a_missing_policy_is_said_in_one_line(command: str, here: Path) -> None:
    rest = {"compile": ["-o", "out"], "explain": ["t"]}.get(command, [])
    done = sidecar(here, command, "-c", "none.yaml", *rest)
    assert (done.status, done.out, len(done.errors)) == (1, "", 1)
    assert done.errors[0].startswith("cannot read the policy none.yaml: No such file or directory")


def test_a_file_that_cannot_be_read_hides_no_problem_of_another(here: Path) -> None:
    (here / "bad.yaml").write_text("tools: {t: {rules: [{action: dney}]}}\n")
    done = sidecar(here, "validate", "-c", "bad.yaml", "-c", "none.yaml")
    assert done.status == 1
    assert [line.partition(":")[0] for line in done.errors] == ["cannot read the policy none.yaml", "bad.yaml"]


def test_a_policy_that_is_a_folder_or_no_utf8_is_said_in_one_line(here: Path) -> None:
    (here / "latin.yaml").write_bytes(b"description: caf\xe9\n")
    for name in (".", "latin.yaml"):
        done = sidecar(here, "validate", "-c", name)
        assert (done.status, len(done.errors)) == (1, 1)


def test_several_files_are_checked_as_one_policy(here: Path) -> None:
    (here / "more.yaml").write_text("hide: [x]\ntools: {u: {rules: [{action: deny}]}}")
    both = "default: allow; 2 tools with 3 rules; every other tool is allowed; 1 name hidden"
    done = sidecar(here, "validate", "-c", "good.yaml", "-c", "more.yaml")
    assert done == Done(0, f"Policy file is valid.\n{both}\n", [])
    done = sidecar(here, "validate", "-c", "good.yaml", "-c", "good.yaml")
    assert (done.status, done.out, len(done.errors)) == (1, "", 1)
    assert "good.yaml:1:9: tools.t: good.yaml:1 has this tool too" in done.errors[0]


def test_problems_of_several_files_are_listed_together(here: Path) -> None:
    (here / "worse.yaml").write_text("mode: x\nhide: [a, a]")
    done = sidecar(here, "validate", "-c", "worse.yaml", "-c", "bad.yaml")
    assert done.status == 1
    assert [line.partition(": ")[0] for line in done.errors] == [
        "bad.yaml:1:1", "bad.yaml:5:17", "worse.yaml:1:7", "worse.yaml:2:11",
    ]  # fmt: skip


def test_warnings_about_money_and_impossible_limits_are_shown(here: Path) -> None:
    (here / "warned.yaml").write_text("""\
tools:
  t:
    rules:
      - spend_limit: {path: args.a, max: 5, window: day, scope: session}
      - {conditions: [{path: state.t.n, op: lt, value: 0}], state: {counter: n, window: day}}
""")
    done = sidecar(here, "validate", "-c", "warned.yaml")
    assert (done.status, done.out.splitlines()[0]) == (0, "Policy file is valid.")
    assert ["starts anew" in line or "nobody can meet" in line for line in done.errors] == [True, True]


# Wrong usage


@pytest.mark.parametrize("words", [
    ["validate"], ["compile", "-c", "good.yaml"], ["explain", "-c", "good.yaml"], ["nothing"],
    ["validate", "--nothing"],
    ["version", "more"], ["explain", "t", "-c", "good.yaml", "--args", "{"],
    ["explain", "t", "-c", "good.yaml", "--args", "[1]"],
    ["explain", "t", "-c", "good.yaml", "--args", '{"a": 1, "a": 2}'],
])  # fmt: skip
def test_wrong_usage_is_status_two_and_one_line(words: list[str], here: Path) -> None:
    done = sidecar(here, *words)
    assert (done.status, done.out, len(done.errors)) == (2, "", 1)
    assert done.errors[0].startswith("sidecar: ")


# compile


def test_a_bundle_is_written_and_found_again(here: Path) -> None:
    assert sidecar(here, "compile", "-c", "good.yaml", "-o", "out") == Done(0, "", [])
    assert (here / "out" / "intercept" / "policy" / "t.rego").is_file()
    assert sidecar(here, "compile", "-c", "good.yaml", "-o", "out", "--check") == Done(0, "", [])


def test_check_names_every_file_that_differs_and_writes_nothing(here: Path) -> None:
    sidecar(here, "compile", "-c", "good.yaml", "-o", "out")
    rego = here / "out" / "intercept" / "policy" / "t.rego"
    rego.write_text("changed")
    (here / "out" / "intercept" / "policy" / "more.rego").write_text("package more")
    done = sidecar(here, "compile", "-c", "good.yaml", "-o", "out", "--check")
    assert done.status == 1
    assert [line.partition(": ")[0] for line in done.errors] == [
        "out/intercept/policy/more.rego", "out/intercept/policy/t.rego",
    ]  # fmt: skip
    assert rego.read_text() == "changed"


def test_what_an_earlier_policy_left_is_removed(here: Path) -> None:
    sidecar(here, "compile", "-c", "good.yaml", "-o", "out")
    (here / "other.yaml").write_text("tools: {u: {rules: [{action: allow}]}}")
    assert sidecar(here, "compile", "-c", "other.yaml", "-o", "out").status == 0
    written = (here / "out" / "intercept" / "policy").iterdir()
    assert sorted(path.name for path in written) == ["others.rego", "u.rego"]


def test_a_folder_with_other_peoples_files_is_not_touched(here: Path) -> None:
    done = sidecar(here, "compile", "-c", "good.yaml", "-o", ".")
    assert (done.status, len(done.errors)) == (1, 1)
    assert sorted(path.name for path in here.iterdir()) == ["bad.yaml", "good.yaml"]


@pytest.mark.parametrize(
    ("place", "target"),
    [
        ("intercept/policy/t.rego", "mine"), (".manifest", "missing"), ("intercept/policy", "folder"),
        ("intercept", "folder"), ("intercept/more.rego", "mine"), ("intercept/more.rego", "missing"),
    ],
)  # fmt: skip
def test_nothing_is_written_or_removed_through_a_link(here: Path, place: str, target: str) -> None:
    sidecar(here, "compile", "-c", "good.yaml", "-o", "out")
    (here / "mine").write_text("mine")
    (here / "folder").mkdir()
    link = here / "out" / place
    if link.exists():
        link.rename(here / "aside")
    link.symlink_to(here / target)
    done = sidecar(here, "compile", "-c", "good.yaml", "-o", "out")
    why = "is a symbolic link, not of our making: name an empty folder with -o"
    assert (done.status, done.errors) == (1, [f"sidecar: out/{place} {why}"])
    assert (here / "mine").read_text() == "mine"
    assert not (here / "missing").exists()
    assert list((here / "folder").iterdir()) == []
    assert link.is_symlink()
    assert sidecar(here, "compile", "-c", "good.yaml", "-o", "out", "--check").status == 1


def test_a_pipe_in_the_place_of_a_file_is_not_written_to(here: Path) -> None:
    (here / "out" / "intercept").mkdir(parents=True)
    os.mkfifo(here / "out" / "intercept" / "more.rego")
    done = sidecar(here, "compile", "-c", "good.yaml", "-o", "out")
    assert done.errors == [
        "sidecar: out/intercept/more.rego is no regular file, not of our making: name an empty folder with -o"
    ]


def test_a_link_to_the_same_text_differs(here: Path) -> None:
    sidecar(here, "compile", "-c", "good.yaml", "-o", "out")
    (here / "out" / "intercept" / "policy" / "t.rego").rename(here / "t.rego")
    (here / "out" / "intercept" / "policy" / "t.rego").symlink_to(here / "t.rego")
    done = sidecar(here, "compile", "-c", "good.yaml", "-o", "out", "--check")
    assert (done.status, len(done.errors)) == (1, 1)


def test_a_wrong_policy_writes_nothing(here: Path) -> None:
    done = sidecar(here, "compile", "-c", "bad.yaml", "-o", "out")
    assert (done.status, len(done.errors)) == (1, 2)
    assert not (here / "out").exists()


def test_several_files_are_compiled_to_one_bundle(here: Path) -> None:
    (here / "more.yaml").write_text("tools: {'u*': {rules: [{action: deny}]}}")
    both = ["-c", "good.yaml", "-c", "more.yaml"]
    assert sidecar(here, "compile", *both, "-o", "out") == Done(0, "", [])
    text = (here / "out" / "intercept" / "policy" / "t.rego").read_text()
    assert [line.split(",")[0] for line in text.splitlines()[1:3]] == ["# Source: good.yaml", "# Source: more.yaml"]
    assert sidecar(here, "compile", *both, "-o", "out", "--check").status == 0
    twice = sidecar(here, "compile", *both, "good.yaml", "-o", "out", "--check")
    assert twice.errors == ["good.yaml:1:9: tools.t: good.yaml:1 has this tool too: put its rules into one file"]
    assert sidecar(here, "compile", "-c", "good.yaml", "-o", "out", "--check").status == 1


# explain


def test_a_denied_call_is_explained_by_the_rule_that_refuses(here: Path) -> None:
    done = sidecar(here, "explain", "t", "-c", "good.yaml", "--args", '{"n": 6}')
    lines = done.out.splitlines()
    assert (done.status, done.errors) == (3, [])
    assert lines[:4] == [
        'deny: Denied by rule "small"',
        "  args.n must be at most 5",
        "  refuses small (good.yaml:1)",
        "      args.n lte 5; the call has 6: FAILS",
    ]
    counts = "this call is refused and counts nothing (1 if it were allowed)"
    assert f"      counted from 0: no --state-dir given; {counts}" in lines


def test_a_call_that_the_sidecar_would_refuse_for_a_nul_character_is_not_called_allowed(here: Path) -> None:
    (here / "nul.yaml").write_text("tools: {t: {rules: [{conditions: [{path: args.a, op: neq, value: b}]}]}}")
    done = sidecar(here, "explain", "t", "-c", "nul.yaml", "--args", '{"a": "b\\u0000"}')
    assert (done.status, done.out) == (2, "")
    assert "holds a NUL character" in done.errors[0]


def test_an_allowed_call_is_explained_with_what_is_counted(here: Path) -> None:
    out = sidecar(here, "explain", "t", "-c", "good.yaml", "--args", '{"n": 5.0}').out
    assert out.startswith("allow: ")
    assert "args.n lte 5; the call has 5.0: holds" in out
    assert "counted from 0: no --state-dir given; this call counts 1" in out
    assert "counts, at most 9 in 3600 s (global): t#2" in out


def test_class_and_severity_are_explained_and_why_a_list_does_not_show_a_tool(here: Path) -> None:
    (here / "classed.yaml").write_text(
        "list: callable\nclasses: {Financial: {rules: [{action: deny}]}}\n"
        "tools: {'pay_*': {class: Financial}, pay_back: {class: Read, severity: high, rules: []}}\n"
    )
    lines = sidecar(here, "explain", "pay_x", "-c", "classed.yaml", "--list").out.splitlines()
    assert lines[1:4] == ["  class: Financial", "  severity: critical", "  refuses pay_*#1 (classed.yaml:2)"]
    assert "  tools/list shows it: no: pay_*#1" in lines
    lines = sidecar(here, "explain", "pay_back", "-c", "classed.yaml", "--list").out.splitlines()
    assert lines[1:5] == [
        "  class: Read", "  severity: high", "  no rule is about this tool; default: allow",
        "  tools/list shows it: yes",
    ]  # fmt: skip


def test_what_is_not_there_and_what_has_no_rule_is_said(here: Path) -> None:
    assert "the call has nothing there" in sidecar(here, "explain", "t", "-c", "good.yaml").out
    assert "no rule is about this tool; default: allow" in sidecar(here, "explain", "u", "-c", "good.yaml").out


EVERYTHING = """\
default: deny
hide: [secret, "x_*"]
tools:
  pay:
    rules:
      - {name: cap, spend_limit: {path: args.n, per_call: 5, max: 9.5, window: day}}
      - {name: many, conditions: [{path: state.pay.c, op: lt, value: 3}], state: {counter: c, window: 90s}}
      - {name: before, conditions: [{path: state.pay.c, op: gte, value: 0}]}
      - {name: big, action: require_approval, reason: ask a person, conditions: [{path: args.n, op: gt, value: 4}]}
      - {name: watch, mode: monitor, conditions: [{path: args.to, op: eq, value: me}]}
      - {name: seen, state: {counter: d, window: hour}}
  "pay*": {rules: [{name: of pattern, action: allow}]}
  "*": {rules: [{name: of all, rate_limit: 9/minute}]}
  stop: {rules: [{name: never, action: deny}]}
"""


@pytest.mark.parametrize(("tool", "args", "lines"), [
    ("pay", '{"n": 4, "to": "me"}', [
        "allow: every rule that applies is met", "counts, at most 9.5 in 86400 s (global): cap",
        "counts, less than 3 in 90 s (global): many",
        "passes  before", "state.pay.c gte 0; the call has 0",
        "does not ask for an approval: big", "args.n gt 4; the call has 4: does not hold", "passes  watch",
        "counts, no limit in 3600 s (global): seen", "passes  of pattern", "counts, at most 9 in 60 s (global): of all",
    ]),
    ("pay", '{"n": 5}', [
        "require_approval: ask a person", "approval: by 1 person within 1800 s; to be used within 600 s",
        "refuses (only reports) watch", "the call has nothing there: FAILS",
        "asks for an approval: big", "args.n gt 4; the call has 5: holds",
        "at most 5 in one call; the call has 5: holds",
    ]),
    ("pay", '{"n": 6}', [
        "deny: Amount exceeds the limit per call of cap", "args.n must be at most 5 in one call", "refuses cap",
        "at most 5 in one call; the call has 6: FAILS",
        "this call is refused and counts nothing (6 if it were allowed)",
    ]),
    ("pay", "{}", ['deny: Rule "cap" needs a number at args.n', "refuses, for want of an amount: cap"]),
    ("payment", "{}", ["allow: ", "passes  of pattern", "of all"]),
    ("stop", "{}", ['deny: Denied by rule "never"', "refuses never"]),
    ("secret", "{}", ['deny: Tool "secret" is hidden by policy', "refuses (hidden) (all.yaml:2)"]),
    ("x_1", "{}", ['deny: Tool "x_1" is hidden by policy', "refuses (hidden) (all.yaml:2)"]),
    ("other", "{}", ['deny: Tool "other" is not permitted by policy', "refuses (default deny) (all.yaml:1)"]),
])  # fmt: skip
def test_every_kind_of_rule_is_explained(tool: str, args: str, lines: list[str], here: Path) -> None:
    (here / "all.yaml").write_text(EVERYTHING)
    done = sidecar(here, "explain", tool, "-c", "all.yaml", "--args", args)
    status = {"allow": 0, "deny": 3, "require_approval": 4}[lines[0].partition(":")[0]]
    assert (done.status, done.errors) == (status, [])
    assert done.out.startswith(lines[0])
    assert [line for line in lines if line not in done.out] == []


def test_of_several_files_the_one_is_named_that_hides_the_tool_or_denies_by_default(here: Path) -> None:
    (here / "open.yaml").write_text("version: '1'\ndefault: allow\nhide: [a]\ntools: {}\n")
    (here / "closed.yaml").write_text("version: '1'\nhide:\n  - b\n  - 'c*'\ndefault: deny\n")
    files = ["-c", "open.yaml", "-c", "closed.yaml"]
    for tool, said in (
        ("a", "refuses (hidden) (open.yaml:3)"), ("b", "refuses (hidden) (closed.yaml:3)"),
        ("cd", "refuses (hidden) (closed.yaml:4)"), ("z", "refuses (default deny) (closed.yaml:5)"),
    ):  # fmt: skip
        _, *lines = sidecar(here, "explain", tool, *files).out.splitlines()
        assert lines[0] == f"  {said}"


def test_a_call_that_only_rules_decide_is_not_said_to_be_refused_by_anything_else(here: Path) -> None:
    (here / "all.yaml").write_text(EVERYTHING)
    for tool in ("stop", "pay"):
        out = sidecar(here, "explain", tool, "-c", "all.yaml", "--args", '{"n": 4}').out
        assert "(hidden)" not in out
        assert "(default deny)" not in out


ASKING = """\
approvals: {timeout: 1h, use_within: 90s, four_eyes: true}
tools:
  pay:
    rules:
      - name: big
        action: require_approval
        reason: ask the desk
        approvers: 2
        grant: {for: 2h, calls: 10, same: [args.to, 'args["a b"]'], at_most: [args.n, args.m]}
      - name: bigger
        action: require_approval
        reason: ask the chief
        approval_timeout: 5m
        approvers: 3
        conditions: [{path: args.n, op: gt, value: 9}]
"""


def test_what_an_approval_has_to_be_is_explained(here: Path) -> None:
    (here / "asking.yaml").write_text(ASKING)
    done = sidecar(here, "explain", "pay", "-c", "asking.yaml", "--args", '{"n": 5}')
    assert done.status == 4
    assert done.out.splitlines()[:3] == [
        "require_approval: ask the desk",
        "  approval: by 2 different people within 3600 s, none of them who asked (four_eyes); to be used within 90 s",
        '  or for 10 calls within 7200 s, with the same args.to and args["a b"], and no greater args.n or args.m',
    ]


def test_where_several_rules_ask_the_strictest_approval_is_explained(here: Path) -> None:
    (here / "asking.yaml").write_text(ASKING)
    done = sidecar(here, "explain", "pay", "-c", "asking.yaml", "--args", '{"n": 10}')
    assert done.status == 4
    assert "  approval: by 3 different people within 300 s, none of them who asked (four_eyes)" in done.out
    assert "or for 10 calls" not in done.out


SLIDING = """\
tools:
  t:
    rules:
      - {name: few, rate_limit: {max: 2, window: hour, scope: global, sliding: true}}
      - {name: sum, state: {counter: sum, window: 2h, increment: 3, sliding: true}}
      - {name: reads, conditions: [{path: state.t.sum, op: lt, value: 7}]}
      - {name: fixed, rate_limit: {max: 9, window: hour, scope: global}}
"""


@pytest.mark.parametrize(("taken", "lines"), [
    (1, ["allow: ", "counts, at most 2 in any 3600 s (global): few", "stands at 1", "the call has 3"]),
    (2, ["deny: Rate limit exceeded for few", "stands at 2", "the call has 6", "counts, no limit in any 7200 s"]),
    (3, ['deny: Denied by rule "reads"', "stands at 3", "the call has 9", "at most 9 in 3600 s (global): fixed"]),
])  # fmt: skip
def test_a_counter_that_slides_is_explained_by_what_its_span_holds(taken: int, lines: list[str], here: Path) -> None:
    (here / "sliding.yaml").write_text(SLIDING)

    async def count() -> None:
        now = time.time()
        few = Reservation("s/t._rate_sliding:_rate_3600_global", "", 3600, 1, None, sliding=True)
        both = Reservation("s/t._rate_sliding:sum", "", 7200, 3, None, sliding=True)
        for ago in (9000, *range(600, 600 * taken + 1, 600)):  # the first has fallen out
            ledger = SqliteLedger(here / "counters.db", partial(float, now - ago))
            assert ledger.claim_at_once([(few, both)])
            await ledger.close()

    asyncio.run(count())
    done = sidecar(here, "explain", "t", "-c", "sliding.yaml", "--state-dir", here, "--server", "s")
    assert (done.status, done.errors) == (0 if lines[0] == "allow: " else 3, [])
    assert done.out.startswith(lines[0])
    assert [line for line in lines if line not in done.out] == []


SECOND_EDITION = """\
tools:
  t:
    rules:
      - name: each
        conditions:
          - {path: 'args.o[*].n', op: lte, value: 5}
          - {path: args.x, op: eq, value: 1, optional: true}
      - name: not there
        action: deny
        conditions: [{path: args.p, op: within, value: /etc}, {path: args.q, op: exists, value: true}]
      - {name: product, conditions: [{path: args.sz, times: args.px, op: lte, value: 10, decimal_text: true}]}
      - {name: known, only: [o, p, sz, px]}
      - {name: signed in, conditions: [{path: principal.subject, op: exists, value: false}]}
      - {name: worth, spend_limit: {path: 'args.o[*].n', max: 100, window: day}}
"""


@pytest.mark.parametrize(("args", "lines"), [
    ({"o": [{"n": 1}, {"n": 5}], "p": "/tmp", "sz": "2", "px": "5"}, [
        "allow: ", "args.o[*].n lte 5; the call has [1,5]: holds",
        "args.x eq 1 (optional); the call has nothing there: holds",
        'args.p within "/etc"; the call has "/tmp": does not hold',
        'args.sz times args.px lte 10 (decimal_text); the call has "2" and "5": holds',
        "only o, p, sz, px; the call has o, p, px, sz: holds",
        "principal.subject exists false; the call has nothing there: who asks is not known here: holds",
        "counted from 0: no --state-dir given; this call counts 6",
    ]),
    ({"o": [{"n": 1}, {"n": 6}], "p": "/tmp/../etc/x", "q": 1, "sz": "2"}, [
        "deny: ", "args.o[*].n must be at most 5", "args.o[*].n lte 5; the call has [1,6]: FAILS",
        'args.p within "/etc"; the call has "/tmp/../etc/x": holds', "args.q exists true; the call has 1: holds",
        'the call has "2" and nothing there: FAILS', "the call has o, p, q, sz: FAILS",
        "this call is refused and counts nothing (7 if it were allowed)",
    ]),
])  # fmt: skip
def test_what_each_condition_read_is_said_and_whether_it_holds(args: object, lines: list[str], here: Path) -> None:
    (here / "second.yaml").write_text(SECOND_EDITION)
    done = sidecar(here, "explain", "t", "-c", "second.yaml", "--args", json.dumps(args))
    assert (done.status, done.errors) == (0 if lines[0] == "allow: " else 3, [])
    assert [line for line in lines if line not in done.out] == []


CALLS = """\
{"tool": "pay", "arguments": {"n": 1, "to": "me"}}

{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "pay", "arguments": {"n": 5}}}
{"tool": "stop"}
"""


def test_many_calls_are_decided_a_line_each_and_the_worst_is_the_status(here: Path) -> None:
    (here / "all.yaml").write_text(EVERYTHING)
    (here / "calls.jsonl").write_text(CALLS)
    done = sidecar(here, "explain", "-c", "all.yaml", "--calls", "calls.jsonl")
    assert done.out.splitlines() == [
        "1: pay: allow: every rule that applies is met",
        "3: pay: require_approval: ask a person",
        '4: stop: deny: Denied by rule "never"',
    ]
    assert (done.status, done.errors) == (3, [])
    (here / "calls.jsonl").write_text("".join(CALLS.splitlines(keepends=True)[:3]))
    assert sidecar(here, "explain", "-c", "all.yaml", "--calls", "calls.jsonl").status == 4


def test_a_call_that_the_sidecar_would_refuse_is_denied_among_others(here: Path) -> None:
    (here / "calls.jsonl").write_text('{"tool": "t", "arguments": {"N": 1}}\n{"tool": "t", "arguments": {"n": 1}}\n')
    done = sidecar(here, "explain", "-c", "good.yaml", "--calls", "calls.jsonl")
    first, second = done.out.splitlines()
    assert first.startswith("1: t: deny: the sidecar would refuse this call: ")
    assert second.startswith("2: t: allow: ")
    assert done.status == 3


@pytest.mark.parametrize(("text", "problem"), [
    ('{"tool": 5}', "calls.jsonl:1: no call: write"), ("[]", "calls.jsonl:1 must be a JSON object"),
    ('\n{"tool": "t", "tool": "u"}', "calls.jsonl:2: "), ('{"tool": "t", "arguments": [1]}', "calls.jsonl:1: no call"),
])  # fmt: skip
def test_a_line_that_is_no_call_is_named(text: str, problem: str, here: Path) -> None:
    (here / "calls.jsonl").write_text(text)
    done = sidecar(here, "explain", "-c", "good.yaml", "--calls", "calls.jsonl")
    assert (done.status, done.out) == (2, "")
    assert problem in done.errors[0]


def test_a_file_of_calls_that_does_not_end_or_is_too_large_is_not_read(here: Path) -> None:
    with (here / "large.jsonl").open("wb") as large:
        large.truncate((64 << 20) + 1)
    for name, why in (
        ("/dev/zero", "it is no regular file but a device"),
        ("large.jsonl", "it is larger than 67108864"),
    ):
        done = sidecar(here, "explain", "-c", "good.yaml", "--calls", name)
        assert (done.status, done.out) == (1, "")
        assert done.errors[0].startswith(f"sidecar: cannot read the calls {name}: {why}")
        assert done.errors[0].endswith("; name a file of JSON lines, or - for standard input")


def test_nothing_that_a_call_holds_can_fool_a_terminal(here: Path) -> None:
    rules = "[{only: [n]}, {conditions: [{path: args.n, op: eq, value: 5}]}]"
    (here / "closed.yaml").write_text(f"default: deny\ntools: {{t: {{rules: {rules}}}}}\n")
    odd = "\u202e\x9b2J\u2028"
    (here / "calls.jsonl").write_text(json.dumps({"tool": odd, "arguments": {}}))
    done = sidecar(here, "explain", "-c", "closed.yaml", "--calls", "calls.jsonl")
    assert done.status == 3
    assert "\\u202e" in done.out.partition("deny: ")[2]
    many = sidecar(here, "explain", "t", "-c", "closed.yaml", "--args", json.dumps({"n": odd, odd: 1}))
    assert not set(odd[0] + "\x9b\u2028") & set(done.out + many.out)


def test_a_call_is_explained_by_several_files(here: Path) -> None:
    (here / "more.yaml").write_text("tools: {'*': {rules: [{name: of more, action: deny}]}}")
    done = sidecar(here, "explain", "t", "-c", "good.yaml", "-c", "more.yaml", "--args", '{"n": 1}')
    assert "refuses of more (more.yaml:1)" in done.out
    assert "(good.yaml:1)" in done.out


def test_a_call_that_the_sidecar_would_refuse_is_not_explained_as_allowed(here: Path) -> None:
    done = sidecar(here, "explain", "t", "-c", "good.yaml", "--args", '{"n": 5, "N": 6}')
    assert "allow:" not in done.out
    assert not any("Traceback" in line for line in done.errors)


# version, and the engine


def test_version_says_ours_the_engines_and_the_protocols() -> None:
    done = sidecar(ROOT, "version")
    assert done.status == 0
    [ours, engine, protocol] = done.out.splitlines()
    assert ours.startswith("sidecar ")
    assert engine.startswith("opa 1.22.4 (")
    assert protocol.startswith("MCP 2024-11-05, ")


@pytest.mark.parametrize(("text", "words"), [
    ("echo Version: 1.0.0", "is OPA 1.0.0: this sidecar needs"), ("echo hello", "does not say its version"),
    ("exit 3", "does not say its version"),
])  # fmt: skip
def test_an_engine_of_another_version_is_refused_in_one_line(text: str, words: str, here: Path) -> None:
    done = sidecar(here, "explain", "t", "-c", "good.yaml", "--opa-bin", script(here, text))
    assert (done.status, done.out, len(done.errors)) == (1, "", 1)
    assert words in done.errors[0]


def test_an_engine_that_is_not_there_is_said_in_one_line(here: Path) -> None:
    done = sidecar(here, "explain", "t", "-c", "good.yaml", OPA_BIN=str(here / "none"))
    assert (done.status, len(done.errors)) == (1, 1)
    assert "No such file or directory; name an opa binary with --opa-bin" in done.errors[0]


def test_version_says_what_is_wrong_with_the_engine(here: Path) -> None:
    done = sidecar(here, "version", "--opa-bin", here / "none")
    assert f"opa: cannot run {here / 'none'}" in done.out


def test_validation_without_patterns_needs_no_engine(here: Path) -> None:
    assert sidecar(here, "validate", "-c", "good.yaml", "--opa-bin", here / "none").status == 0


def test_the_engine_can_be_named_by_option(here: Path) -> None:
    assert sidecar(here, "explain", "t", "-c", "good.yaml", "--opa-bin", OPA).status == 3
