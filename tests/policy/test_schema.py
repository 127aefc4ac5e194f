"""`docs/policy.schema.json`, which editors use, says what the model and the reader say, and judges files as they do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from sidecar.policy import model, nodes, read
from sidecar.policy.nodes import Mapping, Node, Scalar, Sequence
from tests.support import ROOT

SCHEMA: dict[str, Any] = json.loads((ROOT / "docs" / "policy.schema.json").read_text())
DEFS: dict[str, dict[str, Any]] = SCHEMA["$defs"]
VALIDATOR = Draft202012Validator(SCHEMA)
FIRST_LINE = "# yaml-language-server: $schema=../docs/policy.schema.json"

POLICIES = sorted((ROOT / "policies").glob("*.yaml"))
INVALID = sorted((ROOT / "tests" / "conformance" / "invalid").glob("*.yaml"))
GOOD = {
    f"{path.stem}: {case['name']}": case["policy"]
    for path in sorted((ROOT / "tests" / "conformance" / "cases").glob("*.yaml"))
    for case in yaml.safe_load(path.read_text())
    if not any(not problem.warning for problem in read.read(case["policy"], "policy.yaml")[1])
}

ONLY_VALIDATE = {
    "duplicate-counter", "duplicate-key", "duplicate-rule-key", "duplicate-top-key", "not-yaml", "rate-limit-twice",
    "regex-backreference", "regex-end-anchor-z", "regex-lookahead", "regex-lookbehind", "regex-unclosed",
    "same-rule-name", "state-path-other-counter", "state-path-other-tool", "state-path-without-block",
    "state-wildcard-by-star-tool", "tab-indent",
}  # fmt: skip
"""Files whose mistake no schema can tell: it stands between two items, or in a pattern's grammar, or in the YAML."""


def plain(node: Node) -> Any:
    """A node as an editor's reader would hand it to the schema."""
    match node:
        case Scalar(value=Decimal() as number):
            return int(number) if number == number.to_integral_value() else float(number)
        case Scalar():
            return node.value
        case Sequence():
            return [plain(item) for item in node.items]
        case Mapping():
            return {key: plain(item) for key, item in node.members.items()}


def complaints(text: str) -> list[str]:
    """What the schema has against a policy."""
    node, _ = nodes.parse(text, "policy.yaml")
    return [error.message for error in VALIDATOR.iter_errors(plain(node))]


def rule(text: str) -> str:
    """A policy with one rule, written as a flow mapping."""
    return f"tools: {{t: {{rules: [{text}]}}}}"


# The schema is that of the model.


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    ("where", "keys"),
    [
        (SCHEMA, read._FILE_KEYS),
        (DEFS["methods"], read._METHODS_KEYS),
        (DEFS["entry"], read._ENTRY_KEYS),
        (DEFS["rule"], read._RULE_KEYS),
        (DEFS["condition"], read._CONDITION_KEYS),
        (DEFS["rate_limit"], read._RATE_LIMIT_KEYS),
        (DEFS["spend_limit"], read._SPEND_LIMIT_KEYS),
        (DEFS["state"], read._STATE_KEYS),
        (DEFS["approvals"], read._APPROVALS_KEYS),
    ],
    ids=["file", "methods", "entry", "rule", "condition", "rate_limit", "spend_limit", "state", "approvals"],
)
def test_the_keys_are_those_that_the_reader_knows(where: dict[str, Any], keys: tuple[str, ...]) -> None:
    assert tuple(where["properties"]) == keys
    assert where["additionalProperties"] is False


@pytest.mark.parametrize(
    ("where", "choices"),
    [
        (SCHEMA["properties"]["default"], model.DEFAULTS),
        (DEFS["methods"]["properties"]["unknown"], model.DEFAULTS),
        (DEFS["methods"]["properties"]["deny"]["allOf"][1]["items"]["not"], model.ALWAYS_OPEN),
        (SCHEMA["properties"]["mode"], model.MODES),
        (DEFS["rule"]["properties"]["mode"], model.MODES),
        (DEFS["rule"]["properties"]["action"], model.ACTIONS),
        (DEFS["rule"]["properties"]["refund"], model.REFUNDS),
        (DEFS["condition"]["properties"]["op"], model.OPERATORS),
        (DEFS["scope"], model.SCOPES),
    ],
    ids=["default", "unknown", "always open", "mode", "rule mode", "action", "refund", "op", "scope"],
)
def test_the_choices_are_those_of_the_model(where: dict[str, Any], choices: tuple[str, ...]) -> None:
    assert tuple(where["enum"]) == choices


def test_windows_and_bounds_are_those_of_the_model() -> None:
    text, number = DEFS["window"]["anyOf"]
    assert text["pattern"].startswith(f"^({'|'.join(model.NAMED_WINDOWS)}|")
    assert number["maximum"] == DEFS["duration"]["anyOf"][1]["maximum"] == read.MAX_WINDOW
    short, _ = DEFS["rule"]["properties"]["rate_limit"]["anyOf"]
    assert short["pattern"].endswith(f"/({'|'.join(model.NAMED_WINDOWS)})$")


def test_what_holds_when_nothing_is_said_is_what_the_reader_takes() -> None:
    text = rule(
        "{rate_limit: {max: 1, window: 1}}, {spend_limit: {path: args.a, max: 1, window: 1}},"
        " {state: {counter: c, window: 1}}"
    )
    file, problems = read.read(text, "policy.yaml")
    assert problems == []
    limit, spend, state = file.entries[0].rules
    for block, found in (("rate_limit", limit), ("spend_limit", spend), ("state", state)):
        assert DEFS[block]["properties"]["scope"]["default"] == found.scope
    assert state.state is not None
    assert DEFS["state"]["properties"]["increment"]["default"] == state.state.increment
    assert DEFS["rule"]["properties"]["refund"]["default"] == limit.refund


def undescribed(schema: dict[str, Any], where: str) -> Iterator[str]:
    for key, found in schema.get("properties", {}).items():
        if "description" not in found:
            yield f"{where}.{key}"
        yield from undescribed(found, f"{where}.{key}")


def test_an_editor_can_explain_every_key() -> None:
    assert list(undescribed(SCHEMA, "file")) == []
    assert [name for part, found in DEFS.items() for name in (*undescribed(found, part),)] == []
    assert [name for name, found in DEFS.items() if "description" not in found] == []


# It accepts what is right.


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_the_policies_are_accepted_and_name_the_schema(path: Path) -> None:
    text = path.read_text()
    assert text.splitlines()[0] == FIRST_LINE
    assert complaints(text) == []


@pytest.mark.parametrize("name", GOOD)
def test_a_policy_that_the_reader_accepts_is_accepted(name: str) -> None:
    assert complaints(GOOD[name]) == []


@pytest.mark.parametrize(
    "text",
    [
        "", "tools:", "tools: {t: }", "tools: {t: {rules: }}", "version: 1", "hide: [a, 'b*']", "mode: monitor",
        "methods:",
        "methods: {unknown: deny, allow: [x/y, ping], deny: [resources/read, x/z]}", "methods: {deny: }",
        "approvals: {timeout: 30m, use_within: 600, hold: 0, four_eyes: true, mask: [args.a.b]}",
        "approvals: {hold: 45s, notify: {webhook: {url: 'https://x/y', secret_env: S}}}",
        rule("{action: require_approval, approval_timeout: 1h, approvers: 2, reason: ask}"),
        rule("{action: require_approval, conditions: [{path: args.a, op: gt, value: 1.5}]}"),
        rule("{action: allow}"),
        rule("{action: allow, rate_limit: 5/day, refund: never}"),
        rule("{spend_limit: {path: args.a, per_call: 5}}, {spend_limit: {path: args.a, max: 9, window: 12h}}"),
        rule("{rate_limit: {max: 1, window: 90s, scope: principal}, mode: monitor}"),
        rule("{conditions: [{path: state.a.b.c, op: eq, value: null}]}"),
    ],
)  # fmt: skip
def test_every_item_of_the_language_is_accepted(text: str) -> None:
    assert read.read(text, "policy.yaml")[1] == []
    assert complaints(text) == []


# It refuses what is wrong.


def test_exactly_the_listed_wrong_files_are_left_to_validate() -> None:
    assert len(INVALID) > len(ONLY_VALIDATE)
    assert {path.stem for path in INVALID if not complaints(path.read_text())} == ONLY_VALIDATE


@pytest.mark.parametrize(
    "text",
    [
        "1", "[]", "version: 2", "default: no", "default: ", "mode: audit", "hide: a", "hide: ['']", "hide: [a, a]",
        "methods: []", "methods: {unknown: no}", "methods: {deny: [tools/call]}", "methods: {deny: ['tasks/*']}",
        "methods: {allow: ['']}", "methods: {deny: [x, x]}", "methods: {known: allow}", "methods: {allow: x}",
        "approvals: {timeout: 0}", "approvals: {hold: -1}", "approvals: {mask: [a]}", "approvals: {four_eyes: yes}",
        "approvals: {notify: {webhook: {url: x}}}", "tools: {'': {}}", "tools: {t: {rule: []}}", rule("{}"),
        rule("{name: a}"), rule("{action: block}"), rule("{action: evaluate}"),
        rule("{action: deny, rate_limit: 1/day}"), rule("{action: deny, state: {counter: a, window: day}}"),
        rule("{action: allow, conditions: [{path: args.a, op: eq, value: 1}]}"),
        rule("{rate_limit: 1/day, spend_limit: {path: args.a, per_call: 1}}"), rule("{rate_limit: 1/week}"),
        rule("{rate_limit: 01/day}"), rule("{rate_limit: {max: 1}}"), rule("{rate_limit: {max: 0.5, window: 1}}"),
        rule("{spend_limit: {path: args.a}}"), rule("{spend_limit: {path: args.a, max: 1}}"),
        rule("{spend_limit: {path: args.a, per_call: 1, window: day}}"),
        rule("{spend_limit: {path: args.a, per_call: '1'}}"),
        rule("{state: {counter: a.b, window: day}}"), rule("{state: {counter: _rate_x, window: day}}"),
        rule("{state: {counter: a, window: week}}"), rule("{state: {counter: a, window: day, increment: 0}}"),
        rule("{action: allow, refund: never}"), rule("{action: allow, approvers: 2}"),
        rule("{conditions: [{path: args, op: eq, value: 1}]}"),
        rule("{conditions: [{path: args..a, op: eq, value: 1}]}"),
        rule("{conditions: [{path: state.a, op: eq, value: 1}]}"),
        rule("{conditions: [{path: 'state.*.a', op: eq, value: 1}]}"),
        rule("{conditions: [{path: args.a, op: lte, value: '1'}]}"),
        rule("{conditions: [{path: args.a, op: exists, value: yes}]}"),
        rule("{conditions: [{path: args.a, op: in, value: a}]}"), rule("{conditions: []}"),
    ],
)  # fmt: skip
def test_what_the_reader_refuses_is_refused(text: str) -> None:
    assert read.read(text, "policy.yaml")[1] != []
    assert complaints(text) != []
