"""The schemas in `rego/schemas`: by them OPA finds a misspelt path, and they say what questions and data really are."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from jsonschema import Draft7Validator

from sidecar.auth.caller import Caller
from sidecar.auth.principal import Principal
from sidecar.decision.question import question, question_about_engine, question_about_list
from sidecar.mcp.protocol import ClientInfo
from sidecar.policy.bundle import FACTS, STAMP, Bundle, write
from sidecar.system.workload import workload
from tests.policy.test_compile import EXAMPLES, bundle_of, run
from tests.support import OPA, ROOT

SCHEMAS = ROOT / "rego" / "schemas"

EVERYTHING = """\
default: deny
methods: {unknown: allow, deny: [prompts/get]}
hide: [secret, "x_*"]
approvals: {mask: [args.k], notify: {webhook: {url: "https://example.com/", secret_env: SECRET}}}
tools:
  pay:
    rules:
      - {name: cap, spend_limit: {path: args.n, per_call: 5, max: 9.5, window: day}}
      - {name: many, conditions: [{path: state.pay.c, op: lt, value: 3}], state: {counter: c, window: 90s}}
      - {name: seen, state: {counter: d, window: hour, increment: 0.5}, mode: monitor}
      - {action: require_approval, conditions: [{path: args.to, op: eq, value: me}, {path: args.n, op: gt, value: 4}]}
      - {conditions: [{path: principal.claims.groups, op: contains, value: ops}]}
      - {conditions: [{path: "args.o[*].x", op: eq, value: 1}]}
      - {only: [n, to]}
  "pay*": {rules: [{action: deny}]}
  "*": {rules: [{rate_limit: 9/minute}]}
"""


@pytest.mark.parametrize(("right", "misspelt"), [
    ("input.tool", "input.tols"), ("input.arguments", "input.argument"), ("input.version", "input.versions"),
    ("facts.any_tool", "facts.anytool"), ("facts.hide.patterns", "facts.hide.globs"),
    ("entry.pattern", "entry.patern"), ("bundle.serial", "bundle.serials"),
])  # fmt: skip
def test_a_misspelt_path_in_the_library_is_found(right: str, misspelt: str, tmp_path: Path) -> None:
    path = copytree(ROOT / "rego" / "intercept", tmp_path / "intercept") / "decision.rego"
    text = path.read_text()
    assert right in text
    assert checked(tmp_path) == (0, "")
    path.write_text(text.replace(right, misspelt))
    status, said = checked(tmp_path)
    assert (status, f'have: "{misspelt.rpartition(".")[2]}' in said) == (1, True), said


def test_a_misspelt_path_in_what_the_compiler_writes_is_found(tmp_path: Path) -> None:
    bundle = bundle_of(EVERYTHING)
    write(bundle.files, tmp_path)
    assert checked("--bundle", tmp_path) == (0, "")
    path = tmp_path / "intercept" / "policy" / "pay.rego"
    path.write_text(path.read_text().replace("input.arguments.n", "input.argument.n"))
    status, said = checked("--bundle", tmp_path)
    assert (status, 'have: "argument"' in said) == (1, True), said


def checked(*given: str | Path) -> tuple[int, str]:
    return run(OPA, "check", "--strict", "--schema", SCHEMAS, *given)


BUNDLES = {path.stem: path.read_text() for path in EXAMPLES} | {"everything": EVERYTHING, "nothing": ""}


@pytest.mark.parametrize("policy", BUNDLES.values(), ids=BUNDLES)
def test_the_data_of_a_bundle_is_what_its_schemas_say(policy: str) -> None:
    bundle = bundle_of(policy)
    for path in (FACTS, STAMP):
        assert problems(path, data(bundle, path)) == []


def data(bundle: Bundle, path: str) -> Any:
    return json.loads(bundle.files[path])


CALLER = {
    **Caller("s", "", Principal("s", "i", {"any": ["thing"]}), ClientInfo("c", "c", True)).document,
    "workload": workload({"POD_NAME": "p", "POD_NAMESPACE": "n", "SERVICE_ACCOUNT": "a"}),
}
QUESTIONS = {
    "shortest": question("s", "t", {}),
    "longest": question(
        "s", "t", {"a": {"b": None}}, {"state.t.n": 1}, keys=["a", "b"], caller=CALLER, time="2026-11-30T10:00:00Z"
    ),
    "list": question_about_list("s", ["t", "u"]),
    "engine": question_about_engine(),
}


@pytest.mark.parametrize("body", QUESTIONS.values(), ids=QUESTIONS)
def test_a_question_is_what_its_schema_says(body: bytes) -> None:
    assert problems("input.json", json.loads(body)["input"]) == []


def problems(schema: str, value: Any) -> list[str]:
    validator = Draft7Validator(json.loads((SCHEMAS / schema).read_text()))
    return [error.message for error in validator.iter_errors(value)]
