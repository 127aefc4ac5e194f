"""The guide to rules in Rego: its rules do what they say, its tests pass, and its tables hold."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from sidecar.auth.caller import Caller
from sidecar.auth.principal import Principal
from sidecar.engine import binary, custom_rego
from sidecar.engine.rego_tests import rego_tests
from sidecar.errors import PolicyError, StartError
from sidecar.policy.custom import CUSTOM, CustomReads
from sidecar.rehearsal.judging import rehearsal
from sidecar.repository.subject import Subject, subject
from tests.support import OPA, ROOT, SIDECAR

TEXT = (ROOT / "docs" / "custom-rego.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^```(?:rego|json)\n(?:#|//) (rego/custom/[a-z_.]+)\n(.*?)^```", TEXT, re.S | re.M))
RULES = [path for path in FILES if path.endswith(".rego") and not path.endswith("_test.rego")]
UNTOLD = re.findall(r"^```rego\n(?!#)(.*?)^```", TEXT, re.S | re.M)


def rows(head: str) -> list[list[str]]:
    """The rows of the table that begins so."""
    table = TEXT.split(f"| {head} |", 1)[1].split("\n\n", 1)[0]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()[2:]]


def in_bundle(path: str) -> str:
    return CUSTOM + path.removeprefix("rego/custom")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy repository with all that the guide writes down."""
    folder = tmp_path_factory.mktemp("repository")
    for path, text in {**FILES, "policies/policy.yaml": "default: allow\n"}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def found(repository: Path) -> Subject:
    return subject(repository, OPA)


def test_there_are_five_rules_each_with_its_test() -> None:
    assert len(RULES) == 5
    assert all(path.replace(".rego", "_test.rego") in FILES for path in RULES)
    assert len(FILES) == 11


def test_the_tests_of_the_guide_pass_and_leave_no_line_out(found: Subject) -> None:
    tests = {in_bundle(path): text for path, text in FILES.items() if path.endswith("_test.rego")}
    told = rego_tests(OPA, {**found.bundle.files, **tests}, CUSTOM)
    assert [test for test in told.tests if test.failed or test.skipped] == []
    assert len(told.tests) >= 9
    assert [one for one in told.coverage if one.missed] == []


@pytest.mark.parametrize("path", RULES)
def test_each_rule_of_the_guide_is_guarded_by_its_test(path: str, found: Subject) -> None:
    name = re.search(r'"rule": "([^"]+)"', FILES[path])
    assert name is not None
    dead = FILES[path].replace(f'"{name[1]}"', '"something else"')
    tests = {in_bundle(other): text for other, text in FILES.items() if other.endswith("_test.rego")}
    told = rego_tests(OPA, {**found.bundle.files, **tests, in_bundle(path): dead}, CUSTOM)
    assert any(test.failed for test in told.tests)


def test_the_first_rule_is_tested_and_built_by_the_commands_beside_it(tmp_path: Path) -> None:
    begun, checked = re.findall(r"^```sh\n(sidecar policy .*?)^```", TEXT, re.S | re.M)
    first = TEXT[: TEXT.index(checked)]
    _run(begun, tmp_path)
    for path in (path for path in FILES if f"# {path}\n" in first):
        (tmp_path / "desk" / path).write_text(FILES[path], encoding="utf-8")
    said = _run(checked, tmp_path)
    assert "desk/rego/custom" in said
    assert "not line" not in said
    assert (tmp_path / "policy-1.tar.gz").is_file()


def _run(commands: str, folder: Path) -> str:
    """What commands of the sidecar say, each of which must succeed."""
    said = ""
    for _, *given in (line.split() for line in commands.splitlines()):
        done = subprocess.run(
            [SIDECAR, *given], cwd=folder, env={**os.environ, "SIDECAR_OPA_BIN": str(OPA)},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        said += done.stdout
    return said


def test_opa_alone_runs_them_as_the_guide_says(repository: Path, tmp_path: Path) -> None:
    commands = re.search(r"^```sh\n(sidecar compile .*?)^```", TEXT, re.S | re.M)
    assert commands is not None
    folder = copytree(repository, tmp_path / "repository")
    programs = {"sidecar": SIDECAR, "opa": OPA}
    for program, *given in (line.split() for line in commands[1].splitlines()):
        done = subprocess.run(
            [programs[program], *given], cwd=folder, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS: " in done.stdout


@pytest.mark.parametrize("path", [path for path in FILES if path.endswith(".rego")])
def test_what_the_guide_writes_is_formatted(path: str, tmp_path: Path) -> None:
    (tmp_path / "a.rego").write_text(FILES[path], encoding="utf-8")
    assert subprocess.run([OPA, "fmt", "--diff", "--fail", tmp_path], capture_output=True, check=False).stdout == b""


CALLS: list[tuple[str, dict[str, Any], list[str], str, str]] = [
    ("place_order", {"amount": 500}, ["staff"], "allow", ""),
    ("place_order", {"amount": 501}, ["staff"], "deny", "amount by group"),
    ("place_order", {}, ["traders"], "deny", "amount by group"),
    ("delete_cluster", {}, [], "approval", "two people"),
    ("delete_pod", {"namespace": "dev"}, [], "allow", ""),
    ("delete_pod", {"namespace": "prod"}, [], "deny", "tool and namespace"),
    ("delete_pod", {}, [], "deny", "tool and namespace"),
    ("send_money", {"to": "acct-2"}, [], "allow", ""),
    ("send_money", {"to": "acct-3"}, [], "deny", "known recipients"),
    ("anything_else", {"x": 1}, [], "allow", ""),
]
MONDAY_NOON, SUNDAY_NOON = 1_796_040_000.0, 1_795_953_600.0


def test_the_rules_of_the_guide_decide_calls_as_they_say(found: Subject) -> None:
    async def inside() -> None:
        async with rehearsal(found.bundle, OPA) as judge:
            judge.now = SUNDAY_NOON
            closed = await judge.judge("place_order", {"amount": 1}, Caller("s", principal=_one_of(["staff"])))
            assert (closed.action, closed.rule) == ("deny", "business hours")
            judge.now = MONDAY_NOON
            for tool, arguments, groups, action, rule in CALLS:
                said = await judge.judge(tool, arguments, Caller("s", principal=_one_of(groups)))
                assert (said.action, said.rule) == (action, rule), (tool, arguments)

    asyncio.run(inside())


def _one_of(groups: list[str]) -> Principal:
    return Principal("a", "i", {"groups": groups})


TRAPS = rows("condition of a rule that refuses")


@pytest.mark.parametrize(("condition", "arguments", "says"), TRAPS)
def test_what_is_said_of_the_traps_holds(condition: str, arguments: str, says: str) -> None:
    rule = f'violations contains {{"rule": "r", "reason": "no"}} if {condition.strip("`")}\n'
    module = f"package intercept.custom\n\n{rule}"
    custom_rego.check(OPA, {f"{CUSTOM}/a.rego": module})
    asked = json.dumps({"arguments": json.loads(arguments.strip("`"))})
    found: int | None
    try:
        found = int(binary.evaluate(OPA, "count(data.intercept.custom.violations)", asked, {"a.rego": module}))
    except StartError:
        found = None
    assert found == {"refuses": 1, "says nothing": 0, "fails, which is a denial": None}[says]


def test_what_is_good_is_given_a_name() -> None:
    [block] = UNTOLD
    module = f"package intercept.custom\n\nimport data.intercept.typed\n\n{block}"
    assert custom_rego.check(OPA, {f"{CUSTOM}/a.rego": module}).reads == CustomReads(paths=(("amount",),))
    wrong = module.replace("not small", "not typed.at_most(input.arguments.amount, 100)")
    with pytest.raises(PolicyError, match="give what you negate a name"):
        custom_rego.check(OPA, {f"{CUSTOM}/a.rego": wrong})


READS = rows("a rule says")
SENT = {
    "that argument": CustomReads(paths=(("amount",),)),
    "the argument `items`": CustomReads(paths=(("items",),)),
    "the names of all arguments": CustomReads(keys=True),
    "that claim": CustomReads(caller=(("principal", "claims", "groups"),)),
    "the time": CustomReads(time=True),
    "nothing": CustomReads(),
    "everything": CustomReads(keys=True, time=True, whole=True),
}


@pytest.mark.parametrize(("said", "sent", "remembered"), READS)
def test_what_is_sent_and_remembered_is_what_the_guide_says(said: str, sent: str, remembered: str) -> None:
    condition = said.partition(",")[0] if said.endswith("out") else said
    condition = condition.strip("`").replace("[name]", "[input.tool]").replace("x := input", "x := input; x.tool")
    condition = condition.replace("[path, value]", "[_, 5]")
    module = f'package intercept.custom\n\nviolations contains {{"rule": "r", "reason": "no"}} if {{ {condition} }}\n'
    expected = replace(SENT[sent], lasting=remembered == "yes")
    assert custom_rego.check(OPA, {f"{CUSTOM}/a.rego": module}).reads == expected


def test_the_functions_that_the_guide_names_are_those_that_there_are() -> None:
    named = {name for row in rows("function") for name in re.findall(r"typed\.(\w+)", row[0])}
    library = (ROOT / "rego" / "intercept" / "typed" / "typed.rego").read_text(encoding="utf-8")
    assert named == set(re.findall(r"^# title: (\w+)$", library, re.M))
