"""A policy to a bundle: the checked-in examples, the same bytes every time, and text that cannot break out."""

from __future__ import annotations

import json
import re
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sidecar.decision.decision import Decision
from sidecar.decision.question import question
from sidecar.policy.archive import write as archive
from sidecar.policy.bundle import Bundle, build, write
from sidecar.policy.check import check
from sidecar.policy.compile import MAX_FILES, compile_policy
from sidecar.policy.merge import merge
from sidecar.policy.names import glob
from sidecar.policy.paths import shown
from sidecar.policy.read import read
from tests.policy.evaluator import matches
from tests.policy.test_agreement import ask, ask_visible, yaml
from tests.support import OPA, ROOT, SIDECAR

EXAMPLES = sorted((ROOT / "policies").glob("*.yaml"))
GENERATED = ("intercept/policy/", "intercept/facts/")
"""What the compiler writes of a bundle; the rest of it is the library."""

ODD_NAMES = [
    "get.order", "a/b", "../../etc/passwd", "/root", "create_test", "x_test", "_test", "Get", "get", "GET",
    "any_tool", "Any_Tool", "ünï", "日本", "İ", "i̇", "ß", "ss", "a b", "a\nb", "a\u2028b", 'a"b', "a\\b", "a`b", "",
    ".", "..", ".manifest", "con", "-rf", "data", "x" * 300, "x" * 299 + "y", "t#1", "$(id)", "a\u0000b",
    "\U000e0001", "_global", "#", "{}", "a" * 64,
]  # fmt: skip
INJECTIONS = [
    'say "no"', "back\\slash", "two\nlines", "\r\nallow := true", "a\u2028b", "a\u2029b", "a\u0085b", "a\u0000b",
    "\x7f", "\x0bx", "x\npackage intercept", "# METADATA\n# entrypoint: true", "METADATA", "a: b: c", "- x",
    "{{ x }}", "`", "`} passes := {1}", "%s %d",
    '"] := true\npasses["t#1"] := true\n', '"]\nproved := true', "\u202eevil", "😀", "\U000e0001",
    "null", "true", "5", "~", "!!int 5", "&a", "*a", "'", "\t", " x ", "?", "#", "a #b", "a\u00adb", "\ufeff",
    "{`\\`: 1}", "x" * 5000,
]  # fmt: skip


def bundle_of(text: str, file: str = "p.yaml") -> Bundle:
    return bundle_of_files({file: text})


def bundle_of_files(texts: dict[str, str]) -> Bundle:
    files, problems = [], []
    for name, text in texts.items():
        file, found = read(text, name)
        files.append(file)
        problems += found
    policy, clashes = merge(files)
    assert [problem for problem in (*problems, *clashes, *check(policy)) if not problem.warning] == []
    return build(compile_policy(policy), serial=1)


def facts(bundle: Bundle) -> dict[str, Any]:
    found = json.loads(bundle.files["intercept/facts/data.json"], parse_float=Decimal)
    assert isinstance(found, dict)
    return found


def named_rules(names: list[str]) -> str:
    """A policy in which every text that a file can choose is one of these."""
    rules = [
        {"name": name, "reason": name, "conditions": [{"path": "args.a", "op": "eq", "value": name}]} for name in names
    ]
    denies = [{"name": f"{name} deny", "reason": name, "action": "deny"} for name in names]
    paths = [{"conditions": [{"path": shown("args", (name,)), "op": "exists", "value": False}]} for name in names]
    return yaml({"tools": {"t": {"rules": rules}, "u": {"rules": denies}, "v": {"rules": paths}}})


def generated(bundle: Bundle) -> dict[str, str]:
    return {path: text for path, text in bundle.files.items() if path.startswith(GENERATED[0])}


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
def test_an_example_compiles_to_what_is_checked_in(path: Path, tmp_path: Path) -> None:
    assert run(SIDECAR, "compile", "-c", path, "-o", tmp_path, "--opa-bin", OPA) == (0, "")
    written = {name: text for name, text in texts_in(tmp_path).items() if name.startswith(GENERATED)}
    assert written == texts_in(ROOT / "tests" / "golden" / path.stem)


def texts_in(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in files}


def test_the_same_policy_is_the_same_bytes() -> None:
    text = named_rules(INJECTIONS)
    assert archive(bundle_of(text).files) == archive(bundle_of(text).files)


def test_the_same_policy_from_another_folder_is_the_same_bundle() -> None:
    text = named_rules(["x"])
    assert bundle_of(text, "/srv/one/p.yaml") == bundle_of(text, "p.yaml")


def test_another_policy_is_another_revision_even_if_only_a_comment_differs() -> None:
    assert bundle_of("tools: {}").revision != bundle_of("tools: {} # x").revision


def test_an_odd_tool_name_becomes_a_file_of_its_own_that_any_system_can_hold() -> None:
    names = [name for name in ODD_NAMES if name]
    tools = {name: {"rules": [{"action": "allow", "name": f"rule of {at}"}]} for at, name in enumerate(names)}
    files = generated(bundle_of(yaml({"tools": {**tools, "*": {"rules": [{"action": "allow"}]}}})))
    assert len({path.casefold() for path in files}) == len(names) + 2
    for path in files:
        folder, _, name = path.rpartition("/")
        assert folder == "intercept/policy"
        assert name.isascii()
        assert not name.startswith((".", "_"))
        assert not name.endswith("_test.rego")
        assert len(name) <= 80


@pytest.mark.parametrize("count", [MAX_FILES - 1, MAX_FILES, MAX_FILES + 1, 10 * MAX_FILES, 10 * MAX_FILES + 1])
def test_a_bundle_has_a_bounded_number_of_files_and_each_rule_once(count: int, tmp_path: Path) -> None:
    asks = {"action": "require_approval", "reason": "r", "conditions": [{"path": "args.a", "op": "eq", "value": "x"}]}
    kinds: list[dict[str, Any]] = [{"action": "allow"}, {"action": "deny"}, asks]
    tools: dict[str, Any] = {f"tool_{at}": {"rules": kinds[at % 3 :]} for at in range(count)}
    bundle = bundle_of(yaml({"tools": {**tools, "tool_without": {"rules": []}}}))
    files = generated(bundle)
    assert files.pop("intercept/policy/others.rego").endswith("\n\nothers_proved := true\n")
    assert len(files) == count or len(files) <= MAX_FILES < count
    passes = re.findall(r'^passes\["(.*)"\] := true$', "".join(files.values()), re.MULTILINE)
    can_pass = [(tool, at) for tool in tools for at, rule in enumerate(tools[tool]["rules"], 1) if rule != kinds[1]]
    wanted = [f"{tool}#{at}" for tool, at in can_pass]
    assert sorted(passes) == sorted(wanted)
    provable = [tool for at, tool in enumerate(tools) if at % 3 == 2]
    proved = re.findall(r'^proved if {\n\tinput.tool == "(.*)"\n', "".join(files.values()), re.MULTILINE)
    assert proved == provable
    assert_clean(bundle, tmp_path)


def test_a_limit_that_nobody_can_meet_beside_a_condition_is_clean_rego(tmp_path: Path) -> None:
    own = {"path": "state.t.n", "op": "lte", "value": -1}
    other = {"path": "args.a", "op": "eq", "value": 1}
    rule = {"state": {"counter": "n", "window": "day"}, "conditions": [own, other]}
    assert_clean(bundle_of(yaml({"tools": {"t": {"rules": [rule]}}})), tmp_path)


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
    write(bundle.files, tmp_path)
    _, module_text = run(OPA, "parse", "--format", "json", tmp_path / "intercept" / "policy" / "t.rego")
    module = json.loads(module_text)
    assert [rule["head"]["ref"][0]["value"] for rule in module["rules"]] == ["passes"]
    assert "annotations" not in module


@pytest.mark.parametrize(
    "file", ['a"b.yaml', "a\nb.yaml", "a: b.yaml", "# METADATA.yaml", "a\u2028.yaml", "日本.yaml", "-.yaml"]
)
def test_the_name_of_the_file_is_harmless_too(file: str, tmp_path: Path) -> None:
    assert_clean(bundle_of(named_rules(["x"]), file), tmp_path)


@pytest.mark.parametrize("file", ["place.yaml", "p.yaml"])
@pytest.mark.parametrize("rule", [
    {"name": "Ask the operator."}, {"only": ["exact.", "(at, "]},
    {"conditions": [{"path": "args.place.refute.x", "op": "eq", "value": "(0, exact.decimal("}]},
    {"conditions": [{"path": "args.a[*]", "op": "in", "value": ["(at, ", '"exact.']}]},
    {"conditions": [{"path": "args.exact", "op": "regex", "value": 'operator.x"'}]},
])  # fmt: skip
def test_words_that_name_what_the_library_has_are_words(file: str, rule: dict[str, Any], tmp_path: Path) -> None:
    rules = [{"action": "allow", **rule}] if "name" in rule else [rule]
    text = yaml({"tools": {"t": {"rules": rules}, "exact.": {"rules": rules}, "u*": {"rules": rules}}})
    assert_clean(bundle_of(text, file), tmp_path)


def test_a_policy_that_only_denies_has_no_rule_that_proves_anything(tmp_path: Path) -> None:
    bundle = bundle_of("tools: {t: {rules: [{action: deny}]}, u: {rules: []}}")
    assert_clean(bundle, tmp_path)
    assert [path for path, text in generated(bundle).items() if ":= true" in text or " if " in text] == [
        "intercept/policy/others.rego"
    ]
    assert [decision.action for decision in ask(bundle, [question("s", tool, {}) for tool in "tuv"])] == [
        "deny", "allow", "allow",
    ]  # fmt: skip


# Each kind of rule, as a person reads it.

READABLE = {
    "spend_limit: {path: args.a, per_call: 500, max: 1e3, window: day}": """\
# Rule r, p.yaml, line 1. Passes when every line holds; the sidecar counts args.a, at most 1000 in each day (global).
passes["t/r"] if {
	is_number(input.arguments.a)
	input.arguments.a <= 500
}

amounts["t/r"] := exact.amount(input.arguments.a)

proved if {
	input.tool == "t"
	passes["t/r"]
	amounts["t/r"]
}
""",
    "state: {counter: n, window: 90s, scope: session}": """\
# Rule r, p.yaml, line 1. Every call passes; the sidecar counts it, without a limit in each 90 s (session).
passes["t/r"] := true

proved if {
	input.tool == "t"
	passes["t/r"]
}
""",
    "conditions: [{path: state.t.n, op: lt, value: 2.50}, {path: state.t.n, op: gte, value: 1}], "
    "state: {counter: n, window: 60}": """\
# Rule r, p.yaml, line 1. Passes when every line holds; the sidecar counts it, less than 2.5 in each 60 s (global).
passes["t/r"] if {
	is_number(input.counters["state.t.n"])
	input.counters["state.t.n"] >= 1
}

proved if {
	input.tool == "t"
	passes["t/r"]
}
""",
    "action: require_approval, conditions: [{path: args.n, op: gt, value: 5}]": """\
# Rule r, p.yaml, line 1. Every call passes; it asks for an approval unless one of its conditions is shown not to hold.
passes["t/r"] := true

unasked["t/r"] if {
	every at, value in place.ends([input.arguments], ["n"]) {
		refute.above(at, value, 5)
	}
}

proved if {
	input.tool == "t"
	passes["t/r"]
	unasked["t/r"]
}
""",
    "conditions: [{path: args.n, op: in, value: [1, x]}, {path: args.n, op: exists, value: true}, "
    "{path: args.m, op: exists, value: false}, {path: args.m, op: neq, value: a}]": """\
# Rule r, p.yaml, line 1. Passes when every line holds.
passes["t/r"] if {
	input.arguments.n in [1, "1", "x"]
	input.arguments.n != null
	operator.absent(input.arguments, ["m"])
	operator.none_of(0, input.arguments.m, ["a"])
}

shows["t/r"] contains 0 if input.arguments.n in [1, "1", "x"]

shows["t/r"] contains 1 if input.arguments.n != null

shows["t/r"] contains 2 if operator.absent(input.arguments, ["m"])

proved if {
	input.tool == "t"
	passes["t/r"]
}
""",
    "conditions: [{path: state.t.n, op: lte, value: -1}], state: {counter: n, window: day}": """\
# Rule r, p.yaml, line 1. Denies: no rule here proves "t/r", so no call passes it.
""",
}

PATTERNED = """\
tools:
  t: {rules: [{name: a, action: allow}]}
  get_x: {rules: [{name: a, action: allow}]}
  u: {rules: []}
  "get_*": {rules: [{name: b, rate_limit: 5/hour}]}
  "stop_*": {rules: [{action: deny}]}
  "*": {rules: [{name: c, rate_limit: 9/hour}]}
"""

OTHERS = """\
clear["get_*"] if regex.match(`^(?s:get_.*)$`, input.tool) == false

clear["get_*"] if met["get_*"]

clear["stop_*"] if regex.match(`^(?s:stop_.*)$`, input.tool) == false

others_proved if {
	clear["get_*"]
	clear["stop_*"]
	met["*"]
}
"""


def test_the_proof_of_a_tool_names_what_applies_to_it_and_no_more(tmp_path: Path) -> None:
    bundle = bundle_of(PATTERNED)
    assert_clean(bundle, tmp_path)
    texts = {path.rpartition("/")[2]: text.split("\n\n", 1)[1] for path, text in generated(bundle).items()}
    assert texts["others.rego"] == OTHERS
    proofs = {name: text[at:] for name, text in texts.items() if (at := text.find("proved if {\n\tinput")) >= 0}
    assert proofs == {
        "t.rego": 'proved if {\n\tinput.tool == "t"\n\tpasses["t/a"]\n\tmet["*"]\n}\n',
        "get_x.rego":
            'proved if {\n\tinput.tool == "get_x"\n\tpasses["get_x/a"]\n\tmet["get_*"]\n\tmet["*"]\n}\n',
    }  # fmt: skip
    reserves = facts(bundle)["reserves"]
    assert {tool: [each["rule"] for each in taken] for tool, taken in reserves["tools"].items()} == {
        "t": ["c"], "get_x": ["b", "c"],
    }  # fmt: skip
    assert "others" not in reserves  # what they take hangs on the patterns that match


@pytest.mark.parametrize("policy", [
    "hide: [t]\ntools: {t: {rules: [{action: allow}]}}", "hide: ['?']\ntools: {t: {rules: [{action: allow}]}}",
    "tools: {t: {rules: [{action: allow}, {action: deny}]}}",
    "tools: {t: {rules: [{action: allow}]}, '?': {rules: [{action: deny}]}}",
    "tools: {t: {rules: [{action: allow}]}, '*': {rules: [{action: deny}]}}",
    "tools: {t: {rules: [{action: deny, mode: monitor}]}}",
    "tools: {intercept/canary-denied: {rules: [{action: allow}]}}",
    "tools: {intercept/canary-allowed: {rules: [{action: allow}]}}",
])  # fmt: skip
def test_what_no_call_can_pass_has_no_proof(policy: str) -> None:
    bundle = bundle_of(policy)
    assert not any("\nproved" in text for text in generated(bundle).values())
    assert facts(bundle)["reserves"]["tools"] == {}


@pytest.mark.parametrize(
    ("rule", "rego"), READABLE.items(), ids=["spend", "count", "limit", "approval", "written out", "impossible"]
)
def test_each_kind_of_rule_can_be_read(rule: str, rego: str, tmp_path: Path) -> None:
    bundle = bundle_of(f"tools: {{t: {{rules: [{{name: r, {rule}}}]}}}}")
    assert_clean(bundle, tmp_path)
    text = generated(bundle)["intercept/policy/t.rego"]
    assert text.endswith(f"\n\n{rego}")


def test_a_request_for_approval_keeps_the_limit_of_one_call() -> None:
    rule = "{action: require_approval, reason: ask, spend_limit: {path: args.a, per_call: 500}}"
    bundle = bundle_of(f"tools: {{t: {{rules: [{rule}]}}}}")
    answers = ask(bundle, [question("s", "t", {"a": amount}) for amount in (500, 501, -1)])
    assert [answer.action for answer in answers] == ["require_approval", "deny", "deny"]
    assert [answer.kind for answer in answers] == ["approval_required", "spend_limit", "invalid_amount"]


def test_facts_say_what_is_counted_and_how() -> None:
    known = facts(
        bundle_of("""\
tools:
  t:
    rules:
      - {name: a, rate_limit: 5/hour, refund: on_failure}
      - {name: b, spend_limit: {path: args.o.a, max: 0.1, window: 90s, scope: principal}, reason: no money}
      - {name: c, conditions: [{path: state.t.n, op: lt, value: 3}], state: {counter: n, window: day, increment: 0.5}}
      - {name: d, mode: monitor, state: {counter: m, window: day}, refund: never}
""")
    )
    hourly = {
        "counter": "t._rate_hour", "limit": 5, "window": "hour", "scope": "global", "kind": "rate_limit",
        "reason": "Rate limit of 5 per hour reached. Try again later.",
    }  # fmt: skip
    spent = {
        "counter": "t._spend_90_principal_o/a", "limit": Decimal("0.1"), "window": 90, "scope": "principal",
        "kind": "spend_limit", "reason": "no money",
    }  # fmt: skip
    counted = {
        "counter": "t.n", "limit": 3, "exclusive": True, "window": "day", "scope": "global", "kind": "rate_limit",
        "reason": "Rate limit exceeded for c",
    }  # fmt: skip
    watched = {
        "counter": "t.m", "limit": None, "window": "day", "scope": "global", "kind": "rate_limit",
        "reason": "Rate limit exceeded for d",
    }  # fmt: skip
    said = known["tools"]["t"]
    assert [rule["limit"] for rule in said] == [hourly, spent, counted, watched]
    assert [rule.get("increment") for rule in said] == [1, None, Decimal("0.5"), 1]
    assert [rule.get("needs_amount") for rule in said] == [None, "no money", None, None]
    assert [rule["refund"] for rule in said] == ["on_failure", "not_run", "not_run", "never"]
    assert [rule["monitor"] for rule in said] == [False, False, False, True]
    assert [rule["kind"] for rule in said] == ["rate_limit", "spend_limit", "rule", "rule"]
    assert [rule["reason"] for rule in said[1:]] == ["no money", 'Denied by rule "c"', 'Denied by rule "d"']
    assert [(rule["id"], rule["name"], rule["file"], rule["line"]) for rule in said] == [
        (f"t/{name}", name, "p.yaml", at + 3) for at, name in enumerate("abcd", 1)
    ]


def test_facts_say_who_must_agree_and_until_when() -> None:
    known = facts(
        bundle_of("""\
approvals: {timeout: 1h, use_within: 90s, hold: 5s, four_eyes: true, mask: [args.k], answer: result,
  notify: {webhook: {url: "https://x/y", secret_env: S}}}
tools:
  t:
    rules:
      - {action: require_approval}
      - action: require_approval
        approval_timeout: 2m
        approvers: 2
        grant: {for: 1m, calls: 5, same: [args.a, 'args.b["c.d"]'], at_most: [args.n]}
""")
    )
    assert known["approvals"] == {
        "timeout": 3600, "use_within": 90, "hold": 5, "four_eyes": True, "mask": [["k"]], "answer": "result",
        "webhook": {"url": "https://x/y", "secret_env": "S"},
    }  # fmt: skip
    one, two = (rule["approval"] for rule in known["tools"]["t"])
    contents = {one.pop("content"), two.pop("content")}
    assert one == {"timeout": 3600, "use_within": 90, "approvers": 1}
    grant = {"for": 60, "calls": 5, "same": [["a"], ["b", "c.d"]], "at_most": [["n"]]}
    assert two == {"timeout": 120, "use_within": 90, "approvers": 2, "grant": grant}
    assert {len(each) for each in contents} == {64}
    assert len(contents) == 2
    assert known["reads"]["tools"]["t"]["paths"] == [["a"], ["b", "c.d"], ["n"]]


def test_facts_say_what_is_hidden_and_what_patterns_apply() -> None:
    known = facts(bundle_of(
        "mode: monitor\ndefault: deny\nhide: [b, 'get_*', '*', 'a.b']\ntools: {'v?': {rules: [{action: deny}]}, t: }"
    ))  # fmt: skip
    assert (known["mode"], known["default"]) == ("monitor", "deny")
    assert known["hide"] == {"tools": ["b", "a.b"], "patterns": ["^(?s:get_.*)$", "^(?s:.*)$"]}
    assert [(item["name"], item["pattern"], len(item["rules"])) for item in known["patterns"]] == [
        ("v?", "^(?s:v.)$", 1)
    ]  # fmt: skip
    assert (known["tools"], known["any_tool"]) == ({"t": []}, [])


def test_what_a_rule_reads_of_a_counter_is_the_one_that_is_taken_from() -> None:
    bundle = bundle_of("""\
tools:
  "*": {rules: [{rate_limit: 9/hour}, {conditions: [{path: state.get.x.n, op: lt, value: 5}]}]}
  get.x: {rules: [{action: allow, state: {counter: n, window: 90s, scope: session}}]}
  _global: {rules: [{action: allow, state: {counter: n, window: day}}]}
  u:
    rules:
      - conditions: [{path: state._global._rate_hour, op: lt, value: 5}, {path: state._global.n, op: lt, value: 5}]
""")
    reads = {read.name: (read.counter, read.window, read.scope) for read in bundle.terms.reads_of("u").counters}
    assert reads == {
        "state._global._rate_hour": ("_global._rate_hour", 3600, "global"),
        "state._global.n": ('"_global".n', 86400, "global"), "state.get.x.n": ("get.x.n", 90, "session"),
    }  # fmt: skip
    totals = dict.fromkeys(reads, 0)
    answers = ask(bundle, [question("s", tool, {}, totals) for tool in ("get.x", "_global", "u")])
    taken = {(item.counter, item.seconds, item.scope) for answer in answers for item in answer.reserve}
    assert taken == set(reads.values())
    assert [read.name for read in bundle.terms.reads_of("other").counters] == ["state.get.x.n"]


ODD_GLOBS = [
    *(f"{name}*" for name in ODD_NAMES), *(f"?{name}" for name in INJECTIONS[:-1]), "**", "?", "*?*", "[a-z]*",
    "a.*", "(*", "\\*", "^*$", "*$", "{*}", "*|x", "?+",
]  # fmt: skip


def test_odd_globs_match_themselves_as_everywhere(tmp_path: Path) -> None:
    globs = [name for name in dict.fromkeys(ODD_GLOBS) if name != "*"]
    tools = {name: {"rules": [{"name": f"rule of {at}", "action": "deny"}]} for at, name in enumerate(globs)}
    bundle = bundle_of(yaml({"default": "deny", "tools": tools}))
    assert_clean(bundle, tmp_path)
    asked = [*(name.replace("*", "-\n-").replace("?", "é") for name in globs), *ODD_NAMES, "x"]
    for tool, decision in zip(asked, ask(bundle, [question("s", tool, {}) for tool in asked]), strict=True):
        about = {f"rule of {at}": name for at, name in enumerate(globs) if matches(name, tool)}
        permitted = any(name.strip("*?") for name in about.values())
        assert [violation.rule for violation in decision.violations] == (
            list(about) if permitted else ["(default deny)"]
        ), tool


def test_a_glob_is_the_same_in_the_sidecar_and_in_the_engine() -> None:
    for name in ODD_GLOBS:
        bundle = bundle_of(yaml({"tools": {name: {"rules": [{"spend_limit": {"path": "args.a", "per_call": 1}}]}}}))
        for tool in (*ODD_NAMES, *(f"x{other}" for other in INJECTIONS[:-1])):
            assert bool(bundle.terms.reads_of(tool).paths) is matches(name, tool), (name, tool)
    assert not re.compile(glob("get_?")).fullmatch("get_")


def test_odd_names_can_be_hidden_and_no_others_are(tmp_path: Path) -> None:
    names = [name for name in dict.fromkeys([*ODD_NAMES, *INJECTIONS]) if name.strip() and len(name) < 400]
    hidden = names[::2]
    shown = [name for name in names if not any(matches(other, name) for other in hidden)]
    bundle = bundle_of(yaml({"hide": hidden, "tools": {"t+": {"rules": [{"action": "deny"}]}}}))
    assert_clean(bundle, tmp_path)
    assert list(ask_visible(bundle, names).visible) == shown
    for name, decision in zip(names, ask(bundle, [question("s", name, {}) for name in names]), strict=True):
        assert decision.kind == ("allow" if name in shown else "hidden")


def counting_and_reading(names: list[str]) -> Bundle:
    counting = [{"state": {"counter": name, "window": "day", "increment_from": "args.a"}} for name in names]
    reading = [{"conditions": [{"path": f"state.x.y.{name}", "op": "lt", "value": 5}]} for name in names]
    return bundle_of(yaml({"tools": {"x.y": {"rules": counting}, "u": {"rules": reading}}}))


def test_odd_counters_are_counted_and_read_by_their_names(tmp_path: Path) -> None:
    names = [name for name in dict.fromkeys(INJECTIONS) if "." not in name]
    # `opa fmt` writes these characters in a step of a path as it cannot read them itself.
    assert_clean(
        counting_and_reading([name for name in names if not re.search("[\0\v\x7f\U000e0001]", name)]), tmp_path
    )
    bundle = counting_and_reading(names)
    [taking] = ask(bundle, [question("s", "x.y", {"a": 2})])
    assert [item.counter for item in taking.reserve] == [f"x.y.{name}" for name in names]
    totals = {f"state.x.y.{name}": 5 * (at % 2) for at, name in enumerate(names)}
    [read_of] = ask(bundle, [question("s", "u", {}, totals)])
    assert [item.rule for item in read_of.violations] == [f"u#{at}" for at in range(2, len(names) + 1, 2)]


def test_two_files_are_one_bundle_that_names_both(tmp_path: Path) -> None:
    texts = {
        "a.yaml": "default: deny\ntools: {t: {rules: [{action: deny, name: of a}]}}",
        "b.yaml": "hide: [x]\ntools: {u: {rules: [{conditions: [{path: args.a, op: eq, value: 1}]}]}}",
    }
    bundle = bundle_of_files(texts)
    assert_clean(bundle, tmp_path)
    assert [source["file"] for source in facts(bundle)["sources"]] == ["a.yaml", "b.yaml"]
    for text in generated(bundle).values():
        assert [line[:17] for line in text.splitlines()[1:3]] == ["# Source: a.yaml,", "# Source: b.yaml,"]
    answers = ask(bundle, [question("s", tool, {"a": 1}) for tool in ("t", "u", "x", "v")])
    assert [answer.kind for answer in answers] == ["rule", "allow", "hidden", "default_deny"]
    assert archive(bundle.files) == archive(bundle_of_files(texts).files)
    assert archive(bundle.files) != archive(bundle_of_files(dict(reversed(texts.items()))).files)
