"""A policy to a bundle: the checked-in examples, the same bytes every time, and text that cannot break out."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sidecar.decision import Decision, question
from sidecar.policy.bundle import Bundle, archive, build, write
from sidecar.policy.compile import compile_policy
from sidecar.policy.read import read
from tests.policy.test_agreement import ask, yaml
from tests.support import OPA, ROOT, SIDECAR

EXAMPLES = sorted((ROOT / "policies").glob("*.yaml"))

ODD_NAMES = [
    "get.order", "a/b", "../../etc/passwd", "/root", "create_test", "x_test", "_test", "Get", "get", "GET",
    "any_tool", "Any_Tool", "ünï", "日本", "İ", "i̇", "ß", "ss", "a b", "a\nb", "a\u2028b", 'a"b', "a\\b", "a`b", "",
    ".", "..", ".manifest", "con", "-rf", "data", "x" * 300, "x" * 299 + "y", "t#1", "$(id)", "a\u0000b",
    "\U000e0001", "_global", "#", "{}", "a" * 64,
]  # fmt: skip
INJECTIONS = [
    'say "no"', "back\\slash", "two\nlines", "\r\nallow := true", "a\u2028b", "a\u2029b", "a\u0085b", "a\u0000b",
    "\x7f", "\x0bx", "x\npackage intercept", "# METADATA\n# entrypoint: true", "METADATA", "a: b: c", "- x",
    "{{ x }}", "`", "`} passes := {1}", "%s %d", '"]\npasses contains "t#1"', "\u202eevil", "😀", "\U000e0001",
    "null", "true", "5", "~", "!!int 5", "&a", "*a", "'", "\t", " x ", "?", "#", "a #b", "a\u00adb", "\ufeff",
    "{`\\`: 1}", "x" * 5000,
]  # fmt: skip


def bundle_of(text: str, file: str = "p.yaml") -> Bundle:
    policy, problems = read(text, file)
    assert [problem for problem in problems if not problem.warning] == []
    return build(compile_policy(policy), serial=1)


def named_rules(names: list[str]) -> str:
    """A policy in which every text that a file can choose is one of these."""
    rules = [
        {"name": name, "reason": name, "conditions": [{"path": "args.a", "op": "eq", "value": name}]} for name in names
    ]
    denies = [{"name": f"{name} deny", "reason": name, "action": "deny"} for name in names]
    paths = [
        {"conditions": [{"path": f"args.{name}", "op": "exists", "value": False}]} for name in names if "." not in name
    ]
    return yaml({"tools": {"t": {"rules": rules}, "u": {"rules": denies}, "v": {"rules": paths}}})


def generated(bundle: Bundle) -> dict[str, str]:
    return {path: text for path, text in bundle.files.items() if path.startswith("intercept/policy/")}


def assert_clean(bundle: Bundle, folder: Path) -> None:
    """Every generated file is as `opa fmt` leaves it, and `opa check --strict` finds nothing."""
    write(bundle.files, folder)
    assert run(OPA, "check", "--strict", "--bundle", folder) == (0, "")
    assert run(OPA, "fmt", "--diff", "--fail", folder / "intercept" / "policy") == (0, "")


def run(*command: str | Path) -> tuple[int, str]:
    """The exit status of a program and what it said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_compiles_to_what_is_checked_in(path: Path) -> None:
    golden = ROOT / "tests" / "golden" / path.stem
    assert run(SIDECAR, "compile", "-c", path, "-o", golden, "--check", "--opa-bin", OPA) == (0, "")


def test_the_same_policy_is_the_same_bytes() -> None:
    text = named_rules(INJECTIONS)
    assert archive(bundle_of(text)) == archive(bundle_of(text))


def test_the_same_policy_from_another_folder_is_the_same_bundle() -> None:
    text = named_rules(["x"])
    assert bundle_of(text, "/srv/one/p.yaml") == bundle_of(text, "p.yaml")


def test_another_policy_is_another_revision_even_if_only_a_comment_differs() -> None:
    assert bundle_of("tools: {}").revision != bundle_of("tools: {} # x").revision


def test_an_odd_tool_name_becomes_a_file_of_its_own_that_any_system_can_hold() -> None:
    names = [name for name in ODD_NAMES if name]
    tools = {name: {"rules": [{"action": "allow", "name": f"rule of {at}"}]} for at, name in enumerate(names)}
    files = generated(bundle_of(yaml({"tools": {**tools, "*": {"rules": [{"action": "allow"}]}}})))
    assert len({path.casefold() for path in files}) == len(names) + 1
    for path in files:
        folder, _, name = path.rpartition("/")
        assert folder == "intercept/policy"
        assert name.isascii()
        assert not name.startswith((".", "_"))
        assert not name.endswith("_test.rego")
        assert len(name) <= 80


def test_every_odd_tool_is_judged_by_its_own_rule(tmp_path: Path) -> None:
    names = [name for name in ODD_NAMES if name]
    tools: dict[str, Any] = {
        name: {"rules": [{"name": f"rule of {at}", "action": "deny"}]} for at, name in enumerate(names)
    }
    tools |= {
        f"{name}+": {"rules": [{"conditions": [{"path": "args.x", "op": "eq", "value": name}]}]} for name in names
    }
    bundle = bundle_of(yaml({"tools": tools}))
    assert_clean(bundle, tmp_path)
    denied = ask(bundle, [question("s", name, {}) for name in names])
    assert [decision.rule for decision in denied] == [f"rule of {at}" for at in range(len(names))]
    allowed = ask(bundle, [question("s", f"{name}+", {"x": name}) for name in names])
    assert {decision.action for decision in allowed} == {"allow"}


def test_texts_of_a_policy_stay_texts(tmp_path: Path) -> None:
    bundle = bundle_of(named_rules(INJECTIONS))
    assert_clean(bundle, tmp_path)
    denied = ask(bundle, [question("s", "u", {}), *(question("s", "t", {"a": name}) for name in INJECTIONS)])
    assert [violation.rule for violation in denied[0].violations] == [f"{name} deny" for name in INJECTIONS]
    for name, decision in zip(INJECTIONS, denied[1:], strict=True):
        assert said(decision) == [(other, other) for other in INJECTIONS if other != name]


def said(decision: Decision) -> list[tuple[str, str]]:
    return [(violation.rule, violation.reason) for violation in decision.violations]


@pytest.mark.parametrize(
    "name", ["# METADATA\n# entrypoint: true\n", "a\u2028# METADATA", "x\n\ndefault allow := true"]
)
def test_a_name_adds_no_annotation_and_no_rule(name: str, tmp_path: Path) -> None:
    bundle = bundle_of(yaml({"tools": {"t": {"rules": [{"name": name, "action": "deny"}, {"action": "allow"}]}}}))
    [(path, _)] = generated(bundle).items()
    write(bundle.files, tmp_path)
    _, module_text = run(OPA, "parse", "--format", "json", "--json-include", "comments", tmp_path / path)
    module = json.loads(module_text)
    assert [rule["head"]["name"] for rule in module["rules"]] == ["passes"]
    assert not any("entrypoint" in each for each in module.get("annotations", []))


@pytest.mark.parametrize(
    "file", ['a"b.yaml', "a\nb.yaml", "a: b.yaml", "# METADATA.yaml", "a\u2028.yaml", "日本.yaml", "-.yaml"]
)
def test_the_name_of_the_file_is_harmless_too(file: str, tmp_path: Path) -> None:
    assert_clean(bundle_of(named_rules(["x"]), file), tmp_path)


def test_a_policy_that_only_denies_has_no_rule_that_proves_anything(tmp_path: Path) -> None:
    bundle = bundle_of("tools: {t: {rules: [{action: deny}]}, u: {rules: []}}")
    assert_clean(bundle, tmp_path)
    assert not any("passes contains" in text for text in generated(bundle).values())
    assert [decision.action for decision in ask(bundle, [question("s", tool, {}) for tool in "tuv"])] == [
        "deny", "allow", "allow",
    ]  # fmt: skip
