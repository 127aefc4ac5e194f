"""`sidecar policy diff` as its users run it: how it ends, what comes first, and that nothing hostile gets out of it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support import OPA, ROOT, SIDECAR

OLD: Final = """\
default: deny
hide: [secret]
tools:
  pay:
    rules:
      - name: small
        conditions: [{path: args.amount, op: lte, value: 500}]
        reason: too much
      - {name: often, rate_limit: 3/hour}
  read: {rules: []}
  secret: {rules: []}
"""


@dataclass(frozen=True, slots=True)
class Done:
    status: int
    out: str
    errors: str

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


def diff(folder: Path, *words: str) -> Done:
    return sidecar(folder, "policy", "diff", *words)


def sidecar(folder: Path, *words: str) -> Done:
    done = subprocess.run(
        [SIDECAR, *words], capture_output=True, text=True, check=False, cwd=folder, timeout=120,
        env={"PATH": os.defpath, "PYTHONPATH": str(ROOT), "HOME": str(folder), "SIDECAR_OPA_BIN": str(OPA)},
    )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr)


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_a_policy_and_itself_do_not_differ(tmp_path: Path) -> None:
    write(tmp_path, {"old.yaml": OLD, "new.yaml": OLD})
    done = diff(tmp_path, "old.yaml", "new.yaml", "--json")
    assert done.status == 0
    assert (done.json["loosened"], done.json["tightened"]) == ([], [])
    assert done.json["unchanged"] > 10


def test_a_call_that_is_allowed_now_comes_first_and_ends_with_4(tmp_path: Path) -> None:
    write(tmp_path, {"old.yaml": OLD, "new.yaml": OLD.replace("500", "600").replace("3/hour", "2/hour")})
    done = diff(tmp_path, "old.yaml", "new.yaml")
    assert done.status == 4
    first, call, by, *_ = done.out.splitlines()
    assert re.fullmatch(r"REFUSED UNTIL NOW, ALLOWED FROM NOW ON: \d+ calls", first)
    assert re.fullmatch(r'  pay \{"amount":\d+(\.\d+)?\}', call)
    assert by == '      was refused by "small" (old.yaml:6), is allowed'
    assert "stricter: " in done.out


def test_what_is_only_stricter_ends_with_3(tmp_path: Path) -> None:
    write(tmp_path, {"old.yaml": OLD, "new.yaml": OLD.replace("500", "400")})
    done = diff(tmp_path, "old.yaml", "new.yaml", "--json")
    assert done.status == 3
    assert done.json["loosened"] == []
    [found] = done.json["tightened"]
    assert (found["tool"], found["old"], found["new"], found["line"]) == ("pay", "allow", "deny", "new.yaml:6")
    assert 400 < found["arguments"]["amount"] <= 500


@pytest.mark.parametrize(
    ("edit", "tool", "line"),
    [
        (("hide: [secret]", "hide: []"), "secret", "old.yaml:2"),
        (("default: deny", "default: allow"), "some_tool", "old.yaml:1"),
        (("  read:", "  wipe: {rules: []}\n  read:"), "wipe", "old.yaml:1"),
        (("default: deny", "default: deny\nmode: monitor"), "pay", "old.yaml:6"),
    ],
)
def test_what_no_rule_refuses_any_more_has_the_line_of_what_did(
    tmp_path: Path, edit: tuple[str, str], tool: str, line: str
) -> None:
    write(tmp_path, {"old.yaml": OLD, "new.yaml": OLD.replace(*edit)})
    done = diff(tmp_path, "old.yaml", "new.yaml", "--json")
    assert done.status == 4
    assert line in {one["line"] for one in done.json["loosened"] if one["tool"] == tool}


def test_a_limit_is_shown_with_the_calls_that_use_it_up(tmp_path: Path) -> None:
    write(tmp_path, {"old.yaml": OLD, "new.yaml": OLD.replace("3/hour", "4/hour")})
    done = diff(tmp_path, "old.yaml", "new.yaml", "--json")
    assert done.status == 4
    [found] = done.json["loosened"]
    assert found["rule"] == "often"
    assert (found["before"]["calls"], found["before"]["seconds_ago"]) == (3, 0)


def test_a_call_that_is_held_for_a_person_now_is_less_strict_but_not_allowed(tmp_path: Path) -> None:
    old = "tools: {t: {rules: [{action: deny}]}}\n"
    write(tmp_path, {"old.yaml": old, "new.yaml": old.replace("deny", "require_approval, reason: r")})
    done = diff(tmp_path, "old.yaml", "new.yaml", "--json")
    assert done.status == 3
    assert [(one["old"], one["new"]) for one in done.json["loosened"]] == [("deny", "approval")]


def test_a_method_that_is_opened_ends_with_4(tmp_path: Path) -> None:
    old = "methods: {deny: [resources/read]}\ntools: {t: {rules: []}}\n"
    write(tmp_path, {"old.yaml": old, "new.yaml": old.replace("resources/read", "prompts/get")})
    done = diff(tmp_path, "old.yaml", "new.yaml")
    assert done.status == 4
    assert "OPENED:\n  method resources/read: deny -> allow" in done.out


def test_the_tests_of_both_repositories_and_of_files_are_asked(tmp_path: Path) -> None:
    case = "- {name: %s, steps: [{call: pay, arguments: {amount: 1, note: %s}, expect: allow}]}\n"
    for name in ("old", "new"):
        write(tmp_path, {f"{name}/policies/p.yaml": OLD, f"{name}/tests/t.yaml": case % (name, name)})
    write(tmp_path, {"more.yaml": case % ("more", "more")})
    write(tmp_path, {"recorded.jsonl": json.dumps({
        "tool": "pay", "arguments": {"amount": 2}, "decision": "allow", "time": "2026-01-05T10:00:00Z",
    }) + "\n"})  # fmt: skip
    alone = diff(tmp_path, "old/policies/p.yaml", "new/policies/p.yaml", "--json").json["unchanged"]
    done = diff(tmp_path, "old", "new", "--json", "--calls", "more.yaml", "--calls", "recorded.jsonl")
    assert done.status == 0
    assert done.json["unchanged"] == alone + 4
    for words in (
        ("old", "new", "--calls", "more.yaml", "recorded.jsonl"),
        ("--calls", "more.yaml", "old", "new", "recorded.jsonl"),
    ):
        assert diff(tmp_path, *words, "--json") == done


def test_a_file_of_calls_without_the_option_is_a_word_too_many(tmp_path: Path) -> None:
    write(tmp_path, {"old.yaml": OLD, "new.yaml": OLD})
    done = diff(tmp_path, "old.yaml", "new.yaml", "calls.jsonl")
    assert (done.status, done.out) == (2, "")
    assert done.errors == (
        "sidecar: calls.jsonl is one word too many: name two policies, and write --calls before files of calls\n"
    )


_HERE: Final = """\
package intercept.custom

violations contains {"rule": "not here", "reason": "no"} if {
	input.tool == "pay"
	crypto.sha256(object.get(input, ["workload", "namespace"], "")) == "%s"
}
"""


def test_a_test_that_was_moved_elsewhere_is_asked_where_it_was_too(tmp_path: Path) -> None:
    # What the Rego looks for does not stand in it, so that only the old test has the place.
    digest = hashlib.sha256(b"prod").hexdigest()
    case = "- {name: n, workload: {namespace: %s}, steps: [{call: pay, arguments: {amount: 5}, expect: refused}]}\n"
    for side, text, place in (("old", _HERE % digest, "prod"), ("new", _HERE % f"{digest}0", "lab")):
        write(
            tmp_path / side,
            {"policies/policy.yaml": OLD, "rego/custom/here.rego": text, "tests/pay.yaml": case % place},
        )
    done = diff(tmp_path, "old", "new", "--json")
    assert done.status == 4
    assert {one["origin"].rpartition("/")[2] for one in done.json["loosened"]} >= {"pay.yaml:1"}


def test_a_recorded_call_that_is_allowed_now_says_where_it_is_from(tmp_path: Path) -> None:
    write(tmp_path, {"old.yaml": OLD, "new.yaml": OLD.replace("- name: small", "- name: small\n        mode: monitor")})
    line = {"tool": "pay", "arguments": {"amount": 1234}, "decision": "deny", "time": "2026-01-05T10:00:00Z"}
    lacking = {**line, "arguments": {}, "kept": []}
    write(tmp_path, {"recorded.jsonl": f"{json.dumps(line)}\n{json.dumps(lacking)}\n"})
    done = diff(tmp_path, "old.yaml", "new.yaml", "--calls", "recorded.jsonl")
    assert done.status == 4
    assert "recorded calls that could not be asked about:\n  1: not kept: args.amount" in done.out


def test_a_recorded_call_may_have_the_word_of_explain_and_a_last_line_that_was_cut_off_is_left_out(
    tmp_path: Path,
) -> None:
    write(tmp_path, {"old.yaml": OLD, "new.yaml": OLD.replace("- name: small", "- name: small\n        mode: monitor")})
    line = json.dumps(
        {"tool": "pay", "arguments": {"amount": 1234}, "decision": "require_approval", "time": "2026-01-05T10:00:00Z"}
    )
    write(tmp_path, {"recorded.jsonl": f"{line}\n{line[:-1]}"})
    done = diff(tmp_path, "old.yaml", "new.yaml", "--json", "--calls", "recorded.jsonl")
    assert done.status == 4
    assert "sidecar: warning: recorded.jsonl:2: the file ends within this line" in done.errors


def test_changed_rego_is_a_change_of_which_little_is_known(tmp_path: Path) -> None:
    rule = (
        'package intercept.custom\n\nviolations contains {"rule": "night", "reason": "closed"} if input.tool == "%s"\n'
    )
    for name, tool in (("old", "pay"), ("new", "read")):
        write(tmp_path, {f"{name}/policies/p.yaml": OLD, f"{name}/rego/custom/hours.rego": rule % tool})
    done = diff(tmp_path, "old", "new", "--json")
    assert done.status == 4
    assert done.json["custom_changed"] == ["intercept/custom/hours.rego"]
    assert [one["tool"] for one in done.json["loosened"]] == ["pay"]


def test_a_bundle_is_compared_as_the_policy_that_it_was_built_from(tmp_path: Path) -> None:
    write(tmp_path, {"old/policies/p.yaml": OLD, "new/policies/p.yaml": OLD.replace("500", "600")})
    for name in ("old", "new"):
        built = sidecar(tmp_path, "policy", "build", name, "-o", f"{name}.tar.gz")
        assert built.status == 0, built.errors
    assert diff(tmp_path, "old.tar.gz", "old").status == 0
    done = diff(tmp_path, "old.tar.gz", "new.tar.gz", "--json")
    assert done.status == 4
    assert [(one["tool"], one["line"]) for one in done.json["loosened"]] == [("pay", "p.yaml:6")]


def test_the_folder_that_a_policy_was_published_to_is_compared_and_replayed_by(tmp_path: Path) -> None:
    write(tmp_path, {"policies/p.yaml": OLD, "new.yaml": OLD.replace("500", "600")})
    for words in (("build", ".", "-o", "p.tar.gz"), ("publish", "p.tar.gz", "published")):
        done = sidecar(tmp_path, "policy", *words)
        assert done.status == 0, done.errors
    assert diff(tmp_path, "published", "policies/p.yaml").status == 0
    done = diff(tmp_path, "published", "new.yaml", "--json")
    assert done.status == 4
    assert [(one["tool"], one["line"]) for one in done.json["loosened"]] == [("pay", "p.yaml:6")]
    line = {"tool": "pay", "arguments": {"amount": 501}, "decision": "allow", "time": "2026-01-05T10:00:00Z"}
    write(tmp_path, {"calls.jsonl": f"{json.dumps(line)}\n"})
    assert sidecar(tmp_path, "policy", "replay", "calls.jsonl", "-c", "published").status == 3


def test_a_rule_whose_tool_is_gone_is_named(tmp_path: Path) -> None:
    for name, tools in (("old", ["pay", "read", "secret"]), ("new", ["read", "secret"])):
        write(tmp_path, {f"{name}/policies/p.yaml": OLD, f"{name}/tools.json": json.dumps({"tools": tools})})
    done = diff(tmp_path, "old", "new", "--json")
    assert [(one["rule"], one["line"]) for one in done.json["dead_rules"]] == [
        ("small", "p.yaml:6"), ("often", "p.yaml:9"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("old.yaml", "gone.yaml"), 1, "gone.yaml"),
        (("old.yaml", "new.yaml", "--json", "--markdown"), 2, "choose one"),
        (("old.yaml", "new.yaml", "--calls", "bad.jsonl"), 2, "bad.jsonl:1"),
        (("old.yaml", "new.yaml", "--calls", "gone.yaml"), 2, "gone.yaml"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, words: tuple[str, ...], status: int, said: str) -> None:
    write(tmp_path, {"old.yaml": OLD, "new.yaml": OLD, "bad.jsonl": "{}\n"})
    done = diff(tmp_path, *words)
    assert (done.status, done.out) == (status, "")
    assert said in done.errors


HOSTILE: Final = "`x` | <img src=x onerror=y> [link](http://evil.test) @everyone #1 ![i](http://evil.test/i) **b** \\`"


def test_nothing_from_a_policy_becomes_markup_in_a_comment(tmp_path: Path) -> None:
    rule = {"name": HOSTILE, "conditions": [{"path": f"args[{json.dumps(HOSTILE)}]", "op": "eq", "value": HOSTILE}]}
    old = json.dumps({"tools": {HOSTILE: {"rules": [rule, {"action": "deny", "reason": f"{HOSTILE}\n# head"}]}}})
    write(tmp_path, {"old.yaml": old, "new.yaml": json.dumps({"tools": {HOSTILE: {"rules": [rule]}}})})
    done = diff(tmp_path, "old.yaml", "new.yaml", "--markdown")
    assert done.status == 4
    outside = re.sub(r"`[^`\n]*`", "", done.out)
    assert "`" not in outside
    assert outside.count("|") % 5 == 0  # each row has the bars of its table, and no other
    for sign in ("<img", "](", "@", "#1", "**b**", "evil"):
        assert sign not in outside
