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

from sidecar.policy import model, nodes, read, read_approvals, read_items, read_rules
from sidecar.policy.nodes import Mapping, Node, Scalar, Sequence
from sidecar.policy.operators import OPERATORS
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
    "counter-in-shadow", "duplicate-counter", "duplicate-key", "duplicate-rule-key", "duplicate-top-key",
    "grant-same-twice", "not-yaml", "rate-limit-twice", "regex-backreference", "regex-end-anchor-z",
    "regex-lookahead", "regex-lookbehind", "regex-unclosed", "same-rule-name",
    "state-path-other-counter", "state-path-other-tool", "state-path-without-block",
    "shadow-in-place-of-a-class", "shadow-reads-a-counter", "state-wildcard-by-star-tool", "tab-indent",
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
        (DEFS["class_rules"], read._CLASS_KEYS),
        (DEFS["rule"], read_rules.RULE_KEYS),
        (DEFS["condition"], read_rules.CONDITION_KEYS),
        (DEFS["rate_limit"], read_rules.RATE_LIMIT_KEYS),
        (DEFS["spend_limit"], read_rules.SPEND_LIMIT_KEYS),
        (DEFS["state"], read_rules.STATE_KEYS),
        (DEFS["approvals"], read_approvals.APPROVALS_KEYS),
        (DEFS["grant"], read_approvals.GRANT_KEYS),
        (SCHEMA["properties"]["classes"], model.CLASSES),
    ],
    ids=[
        "file", "methods", "entry", "class", "rule", "condition", "rate_limit", "spend_limit", "state", "approvals",
        "grant", "classes",
    ],
)  # fmt: skip
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
        (SCHEMA["properties"]["list"], model.LISTED),
        (DEFS["entry"]["properties"]["class"], model.CLASSES),
        (DEFS["entry"]["properties"]["severity"], model.SEVERITIES),
        (DEFS["rule"]["properties"]["mode"], model.RULE_MODES),
        (DEFS["rule"]["properties"]["action"], model.ACTIONS),
        (DEFS["rule"]["properties"]["refund"], model.REFUNDS),
        (DEFS["approvals"]["properties"]["answer"], model.ANSWERS),
        (DEFS["condition"]["properties"]["op"], tuple(OPERATORS)),
        (DEFS["scope"], model.SCOPES),
    ],
    ids=[
        "default", "unknown", "always open", "mode", "list", "class", "severity", "rule mode", "action", "refund",
        "answer", "op", "scope",
    ],
)  # fmt: skip
def test_the_choices_are_those_of_the_model(where: dict[str, Any], choices: tuple[str, ...]) -> None:
    assert tuple(where["enum"]) == choices


def test_each_operator_is_explained_as_in_the_documents() -> None:
    found = DEFS["condition"]["properties"]["op"]["markdownEnumDescriptions"]
    assert found == [operator.meaning for operator in OPERATORS.values()], json.dumps(
        [operator.meaning for operator in OPERATORS.values()], indent=2
    )


OPERANDS = {
    "value": ["text", "5", "true", "null", "[a]", "{a: 1}"], "values": ["[a, 1]", "[]"], "number": ["1.5", "-3"],
    "boolean": ["true"], "pattern": ["'^a'"], "folders": ["/srv", "[/srv, /]"], "hosts": ["['*.x.org:*', '[::1]']"],
}  # fmt: skip


@pytest.mark.parametrize("op", OPERATORS)
@pytest.mark.parametrize("value", sorted({value for values in OPERANDS.values() for value in values}))
def test_an_operator_takes_the_values_that_the_reader_takes(op: str, value: str) -> None:
    text = rule(f"{{conditions: [{{path: args.a, op: {op}, value: {value}}}]}}")
    assert (complaints(text) == []) is (read.read(text, "p.yaml")[1] == [])
    if value in OPERANDS[OPERATORS[op].operand]:
        assert complaints(text) == []


@pytest.mark.parametrize("key", ["decimal_text: true", "times: args.b", "optional: true", "optional: false"])
@pytest.mark.parametrize("op", OPERATORS)
def test_what_goes_with_an_operator_is_what_the_reader_takes(op: str, key: str) -> None:
    value = OPERANDS[OPERATORS[op].operand][0]
    text = rule(f"{{conditions: [{{path: args.a, op: {op}, value: {value}, {key}}}]}}")
    assert (complaints(text) == []) is (read.read(text, "p.yaml")[1] == [])


def test_windows_and_bounds_are_those_of_the_model() -> None:
    text, number = DEFS["window"]["anyOf"]
    assert text["pattern"].startswith(f"^({'|'.join(model.NAMED_WINDOWS)}|")
    assert number["maximum"] == DEFS["duration"]["anyOf"][1]["maximum"] == read_items.MAX_WINDOW
    for name, most in (("wait", read_approvals.MAX_WAIT), ("hold", read_approvals.MAX_HOLD)):
        assert DEFS[name]["anyOf"][1]["maximum"] == read_items.length(most)
    assert DEFS["grant"]["properties"]["calls"]["maximum"] == read_approvals.MAX_CALLS
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
        "approvals: {timeout: 30d, hold: 10m, answer: result}", "approvals: {timeout: 2592000, hold: 600}",
        *(
            f"approvals: {{notify: {{webhook: {{url: '{url}', secret_env: _S1}}}}}}"
            for url in ("https://x.example:8443/y?z=1", "http://localhost:1/x", "http://127.0.0.2", "http://[::1]:8/")
        ),
        rule("{action: require_approval, grant: {for: 1h, calls: 10, same: [args.a, 'args[\"b.c\"].d']}}"),
        rule("{action: require_approval, grant: {for: 30d, calls: 10000, same: [args.a], at_most: [args.n]}}"),
        rule("{action: require_approval, grant: {for: 5, calls: 1, same: [args.a], at_most: }}"),
        rule("{action: allow}"),
        rule("{action: allow, rate_limit: 5/day, refund: never}"),
        rule("{spend_limit: {path: args.a, per_call: 5}}, {spend_limit: {path: args.a, max: 9, window: 12h}}"),
        rule("{rate_limit: {max: 1, window: 90s, scope: principal}, mode: monitor}"),
        rule("{conditions: [{path: state.a.b.c, op: eq, value: null}]}"),
        "list: callable", "list: all", "classes:", "classes: {Financial: }",
        "classes: {Financial: {rules: [{action: deny}]}, Read: {rules: [{rate_limit: 9/hour}]}}",
        "tools: {t: {class: Write, severity: high}, 't*': {class: Read, rules: []}, '*': {severity: low}}",
        rule("{action: deny, conditions: [{path: args.a, op: gt, value: 5, decimal_text: true}]}"),
        rule("{only: [a, b]}"), rule("{only: [a], conditions: [{path: args.a, op: exists, value: true}]}"),
        rule("{only: []}"), rule("{action: evaluate, only: [a]}"), rule("{action: evaluate, rate_limit: 1/day}"),
        rule("{conditions: [{path: 'args.a[*].b[*][*]', op: lte, value: 5, optional: true}]}"),
        rule("""{conditions: [{path: 'args["a.b"]["0"][*]', op: eq, value: 5}]}"""),
        rule("{conditions: [{path: args.a, op: lte, value: 5, times: args.b, optional: false}]}"),
        rule("{conditions: [{path: args.a, op: within, value: [/srv/..a, /srv/.b]}]}"),
        rule("{conditions: [{path: args.a, op: host_in, value: ['*.example.com:*', x-y.org:8443, '[::1]:80']}]}"),
        *(
            rule(f"{{conditions: [{{path: {path}, op: eq, value: x}}]}}")
            for path in (
                "principal.subject", "principal.issuer", "principal.claims.team", "'principal.claims.groups[*]'",
                "session.client.name", "session.client.version", "workload.namespace", "workload.pod",
                "workload.service_account",
            )
        ),
        rule("{spend_limit: {path: args.a, times: args.b, decimal_text: true, max: 5, window: 1h, sliding: true}}"),
        rule("{rate_limit: {max: 1, window: 90s, sliding: true}}"),
        rule("{state: {counter: c, window: 1h, sliding: false, increment_from: args.a, times: args.b}}"),
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
        "approvals: {timeout: 2592001}", "approvals: {hold: 601}", "approvals: {answer: text}", "approvals: {answer: }",
        "approvals: {notify: {webhook: {url: 'https://x/y'}}}", "approvals: {notify: {webhook: {secret_env: S}}}",
        "approvals: {notify: {webhook: {url: 'https://x/y', secret_env: s-1}}}",
        *(
            f"approvals: {{notify: {{webhook: {{url: '{url}', secret_env: S}}}}}}"
            for url in ("http://x/y", "https://u:p@x/y", "https://x/y#z", "https:///y", "ftp://x/y", "https://x/ y")
        ),
        *(
            rule(f"{{action: require_approval, grant: {grant}}}")
            for grant in (
                "", "5", "{}", "{for: 1h, calls: 1}", "{calls: 1, same: [args.a]}", "{for: 1h, same: [args.a]}",
                "{for: 1h, calls: 1, same: []}", "{for: 1h, calls: 0, same: [args.a]}",
                "{for: 1h, calls: 10001, same: [args.a]}", "{for: 2592001, calls: 1, same: [args.a]}",
                "{for: 1h, calls: 1, same: ['args.a[*]']}", "{for: 1h, calls: 1, same: [a]}",
                "{for: 1h, calls: 1, same: args.a}", "{for: 1h, calls: 1, same: [args.a], at_most: ['args.b[*].c']}",
                "{for: 1h, calls: 1, same: [args.a], more: 1}",
            )
        ),
        rule("{grant: {for: 1h, calls: 1, same: [args.a]}, action: deny}"),
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
        "list: some", "classes: {Money: {rules: []}}", "classes: {Read: []}", "classes: {Read: {rules: a}}",
        "tools: {t: {class: Money}}", "tools: {t: {class: }}", "tools: {t: {severity: big}}",
        "tools: {'*': {class: Read}}",
        *(
            rule(f"{{conditions: [{{path: '{path}', op: eq, value: 1}}]}}")
            for path in (
                "args.0", "args.a.0.b", "args.a[0]", "args.*", "args.a.$", "args.a[*]b", "args.a[", "args.a]",
                "args.a.[*]", "args[a]", 'args["a', "principal", "principal.", "session.",
            )
        ),
        rule("{only: a}"), rule("{only: [a, a]}"), rule("{only: [5]}"), rule("{action: deny, only: [a]}"),
        rule("{only: [a], rate_limit: 1/day}"), rule("{only: [a], state: {counter: c, window: day}}"),
        rule("{action: deny, conditions: [{path: args.a, op: eq, value: 1, optional: true}]}"),
        rule("{action: require_approval, conditions: [{path: args.a, op: eq, value: 1, optional: true}]}"),
        rule("{conditions: [{path: args.a, op: exists, value: true, optional: true}]}"),
        rule("{conditions: [{path: args.a, op: eq, value: 1, optional: sometimes}]}"),
        rule("{conditions: [{path: args.a, op: eq, value: 1, times: b}]}"),
        rule("{conditions: [{path: state.t.n, op: eq, value: 1, times: args.b}]}"),
        *(
            rule(f"{{conditions: [{{path: args.a, op: within, value: {value}}}]}}")
            for value in ("srv", "/srv/", "/srv//a", "/srv/../a", "/.", "[]", "[srv]", "5", "{}", "'/srv\\a'")
        ),
        *(
            rule(f"{{conditions: [{{path: args.a, op: host_in, value: {value}}}]}}")
            for value in ("a.b", "[]", "[A.b]", "['https://a.b']", "['*']", "['a.b:0']", "['a.b.']", "[5]", "['']")
        ),
        rule("{rate_limit: {max: 1, window: 90s, sliding: 5}}"),
        rule("{spend_limit: {path: args.a, per_call: 5, sliding: true}}"),
        rule("{spend_limit: {path: args.a, per_call: 5, times: state.t.n}}"),
        rule("{state: {counter: c, window: 1h, times: args.b}}"),
        rule("{state: {counter: c, window: 1h, decimal_text: true}}"),
    ],
)  # fmt: skip
def test_what_the_reader_refuses_is_refused(text: str) -> None:
    assert read.read(text, "policy.yaml")[1] != []
    assert complaints(text) != []
