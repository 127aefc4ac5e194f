"""Random policies and random calls, for the tests that hold two readings of the language against each other.

Values are drawn from short lists of awkward ones, so that a call often meets what its policy asks for, or misses it by
very little.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Any

import msgspec
from hypothesis import strategies as st

from tests.policy.evaluator import SECONDS, is_only_tried, length, matches, rules_about
from tests.policy.judging import EACH, PATTERNS, Json, Step, last_each, root_of, steps, written


@dataclass(frozen=True, slots=True)
class Call:
    """A call, the totals that the counters have before it, by the paths that read them, and who asks."""

    tool: str
    arguments: dict[str, Json]
    totals: dict[str, Decimal] = field(default_factory=dict)
    caller: dict[str, Json] = field(default_factory=dict)


NUMBERS = [
    Decimal(token)
    for token in (
        "0", "-0", "0.0", "1", "1.0", "1.1", "1.10", "-1", "5", "5.0", "05e0", "-5", "0.5", "5e-1", "10", "12",
        "1e6", "1000000", "1000000.0", "9007199254740992", "9007199254740993", "18446744073709551616",
        "123456789012345678901234567890", "123456789012345678901234567891", "100", "100.00000000000000001",
        "0.1", "0.10", "0.30000000000000004", "1e-7", "0.0000001", "1e307", "10e306", "-1e308", "1e-400",
        "9" * 308, "9" * 307 + "8",
    )
]  # fmt: skip
DECIMAL_TEXTS = [
    "5", "5.0", "5.00", "05", "+5", "-5", "-0", "-0.0", "0", "0.0", "00", "5.", ".5", "0.5", "5e0", "1e3", " 5", "5 ",
    "5\n", "\u0665", "5\u0000", "1_0", "0x5", "", "-", "--5", "- 5", "NaN", "Infinity", "5,0", "1,000", "true", "null",
    "4.9999999999999999999", "5.0000000000000000000000000000000001", "10", "12", "1.10", "100.1", "1000000",
    "1234567890123456789012345678901234", "12345678901234567890123456789012345",
    "12345678901234567890123456789012340", "0.1234567890123456789012345678901234",
    "0.12345678901234567890123456789012345", "1.0000000000000000000000000000000000000", "9007199254740993",
    "0." + "0" * 29 + "1", "0." + "0" * 30 + "1", "1" + "0" * 31, "9" * 34, "9" * 35, "-" + "9" * 34,
]  # fmt: skip
TEXTS = [
    "", "a", "b", "ab", "abc", "aBc", "a\nc", "true", "false", "True", "null", "5", "5.0", "05", ".5", "0.5", "-5",
    "-0", "0", "1.1", "1.10", "10", "12", "1000000", "1e6", "1E+6", "9007199254740993", "9007199254740992", "0.0000001",
    "1e-7", "é", "e\u0301", "日本", 'q"t', "back\\slash", "`", "${a}", "# METADATA", "\u2028", "\u0000", "😀",
    "\U000e0001", "\ufeff", '{"a":5}', "[5]", '"5"', "drop", "/etc/passwd",
]  # fmt: skip
KEYS = [
    *["a"] * 4, *["b"] * 3, "c", "0", "x-y", "$id", "naïve", "if", "with blank", 'q"t', "back\\slash", "日本",
    "default", "`", "_", "line\nend", "\u2028", "input", "😀", "args", "a.b", "a[0]", "[*]", "*", "$", "",
]  # fmt: skip
WIDE = Context(prec=390)
CASE_TWINS = {"a": "A", "b": "B", "naïve": "NAÏVE", "args": "Args"}
TOOLS = ["t", "u", "T", "get.order", "a/b", "create_test", "日本", 'say "hi"', "back\\slash", "<&>", r"\u003c", "t#1"]
GLOBS = ["?", "t*", "*t", "get.*", "*.*", "a/?", "[ab]/*", "create_tes?", "**", "*u*", "??", "\\*", "<*>", "?#?", "日?"]
UNLISTED = [
    "other", "*", "_global", "_class", "<b>&amp;", r"\u003c", 'q"t', "back\\", "Ünlisted", "tt", "getXorder", "a\n",
    "\\d",
]  # fmt: skip
NAMES = [
    "r", "first rule", 'say "no"', "back\\slash", "é", "two\nlines", "\u2028", "# METADATA", "\x7f", "<b>", "\u202e",
]  # fmt: skip

scalars: st.SearchStrategy[Json] = st.one_of(
    st.sampled_from(NUMBERS), st.sampled_from(TEXTS), st.booleans(), st.none(), st.integers(-20, 20).map(Decimal)
)
keys = st.sampled_from(KEYS)
values: st.SearchStrategy[Json] = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)),
    max_leaves=5,
)

# Files and URLs.

FOLDERS: list[Json] = ["/", "/srv/data", "/a", "/srv/naïve dir", ["/a", "/b/c"], ["/etc", "/srv/data/b"], ["/srv"]]
NAMES_OF_FILES = [
    *["srv", "data", "a", "b", "c", "..", "."] * 3, "", "database", "DATA", "etc", "~", "~root", "x~", "...", "..a",
    "x\\y", "\x01", "\x85", "\u0000", "\n", "naïve dir", "nai\u0308ve dir", " ", "data ", "%2e%2e", "\u200b", "日本",
]  # fmt: skip
files = st.builds(
    lambda start, names, end: start + "/".join(names) + end,
    st.sampled_from([*["/"] * 6, "//", "/../", "", "./", "~/", "file:///", " /"]),
    st.lists(st.sampled_from(NAMES_OF_FILES), max_size=6),
    st.sampled_from(["", "", "", "/", "/.", "/.."]),
)
HOSTS: list[list[Json]] = [
    ["example.com"], ["*.example.org"], ["api.test:8443", "any.test:*"], ["127.0.0.1", "[::1]"], ["*.any.test:*"],
    ["example.com:443", "example.org:80"], ["[2001:db8::1]:8443", "*.example.com:8443"], ["com"], ["localhost"],
]  # fmt: skip
NAMES_OF_HOSTS = [
    *["example.com", "www.example.org", "a.b.example.org", "example.org", "api.test", "any.test"] * 3, "EXAMPLE.com",
    "x.any.test", "notexample.com", "example.com.evil.test", "example.com.", ".example.com", "exa%6dple.com", "com",
    "127.0.0.1", "127.1", "127.0.0.01", "0x7f.1", "0X7F.0.0.1", "2130706433", "256.1.1.1", "a.1", "foo.0x", "foo.0xg",
    "1.2.3.4.5", "1.example.com", "[::1]", "[0:0:0:0:0:0:0:1]", "[2001:DB8::1]", "[::ffff:127.0.0.1]", "[::127.0.0.1]",
    "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::ffff:0:7f00:1]", "[fe80::1%25eth0]", "[fe80::1%1]",
    "::1", "[::1", "[]", "[v1.x]", "[1::2::3]", "[12345::]", "", "exaмple.com", "example。com", "a_b.example.org",
    "a..example.org", "exa mple.com", "exam\tple.com", "exam\u00adple.com", "evil.test@example.com",
    "example.com@evil.test", "u:p@example.com", "@example.com", "localhost", "LOCALHOST",
    "-x.example.org", "x-.example.org", "a--b.example.org", "[::]", "[2001:0:1::]", "ａｐｉ.test",
]  # fmt: skip
urls = st.builds(
    "{}{}{}{}{}".format,
    st.sampled_from(
        [*["https", "http"] * 4, "HTTPS", "Http", "ftp", "", " https", "https ", "httpss", "http\u017f", "javascript"]
    ),
    st.sampled_from([*["://"] * 12, ":/", ":", "//", ":///", ":\\\\", "://://"]),
    st.sampled_from(NAMES_OF_HOSTS),
    st.sampled_from(
        [
            *[""] * 8,
            ":443",
            ":443",
            ":80",
            ":8443",
            ":8443",
            ":",
            ":99999",
            ":x",
            ":65535",
            ":65536",
            ":-1",
            ":+443",
            ":443:443",
            ": 443",
            ":４４３",
            ":1e3",
        ]
    ),
    st.sampled_from(
        [
            *["", "/", "/x?y#z", "?q", "#f", "/@", "?@evil.test", "#@evil.test", "?/@", "/?@", "/ü", "/%zz"] * 2,
            "\\@evil.test",
            "/a b",
            "\n",
            "/\u0085",
            "/\x7f",
            "/a\\b",
        ]
    ),
)

# Paths.


@st.composite
def path_texts(draw: st.DrawFn, path: Sequence[Step], root: str = "args") -> str:
    """One of the ways to write a path."""
    text = root
    for step in path:
        if step is EACH:
            text += "[*]"
        elif needs_quotes(step) or not draw(st.integers(0, 3)):
            text += f"[{json.dumps(step, ensure_ascii=draw(st.booleans()))}]"
        else:
            text += f".{step}"
    return text


def needs_quotes(key: str) -> bool:
    """True for a key that cannot follow a dot."""
    return not key or key in ("*", "$") or any(sign in key for sign in ".[]") or (key.isascii() and key.isdigit())


flat_ways: st.SearchStrategy[list[Step]] = st.lists(keys, min_size=1, max_size=3).map(list[Step])


@st.composite
def ways(draw: st.DrawFn) -> list[Step]:
    """The steps of a path into the arguments, sometimes through a list or two."""
    way = draw(flat_ways)
    for _ in range(draw(st.sampled_from([0, 0, 0, 0, 1, 1, 1, 2]))):
        way.insert(draw(st.integers(1, len(way))), EACH)
    return way


paths = ways().flatmap(path_texts)
callers = st.sampled_from([
    "principal.subject", "principal.issuer", "principal.claims.a", "principal.claims.a.b", 'principal.claims["a.b"]',
    "principal.claims.groups[*]", "principal.claims.groups", "principal.claims.a[*].b", "session.client.name",
    "session.client.version", "workload.namespace", "workload.pod", "workload.service_account",
])  # fmt: skip


@st.composite
def factors(draw: st.DrawFn, key: str = "path") -> dict[str, Any]:
    """Where a number stands: a path, sometimes times another, sometimes as text."""
    way = draw(ways())
    found: dict[str, Any] = {key: draw(path_texts(way))}
    if not draw(st.integers(0, 2)):
        other = draw(flat_ways | ways())
        if EACH in way and EACH in other:
            other = [*way[: last_each(way)], *draw(st.lists(keys, max_size=2))]
        found["times"] = draw(path_texts(other))
    if draw(st.booleans()):
        found["decimal_text"] = True
    return found


# Rules.

OPERANDS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("eq", "neq", "contains", "not_contains"), values),
    **dict.fromkeys(("in", "not_in"), st.lists(values, max_size=4)),
    **dict.fromkeys(("lt", "lte", "gt", "gte"), st.sampled_from(NUMBERS)),
    **dict.fromkeys(("regex", "not_regex"), st.sampled_from(list(PATTERNS))),
    "exists": st.booleans(),
    "within": st.sampled_from(FOLDERS),
    "host_in": st.sampled_from(HOSTS),
}
OF_NUMBERS = ("eq", "neq", "in", "not_in", "lt", "lte", "gt", "gte")
"""The operators that compare products and decimals written as text."""
OPTIONAL = frozenset(OPERANDS) - {"exists"}


@st.composite
def conditions(draw: st.DrawFn, optional: bool = False) -> dict[str, Any]:
    """A condition on the arguments, or on who asks; `optional` ones only where that may be said."""
    op = draw(st.sampled_from(sorted(OPERANDS)))
    if op in OF_NUMBERS and draw(st.booleans()):
        subject = draw(factors())
        numbers = st.sampled_from(NUMBERS[:30]) | st.sampled_from(DECIMAL_TEXTS[:12])
        several = st.lists(numbers, max_size=4)
        value = draw({"eq": numbers, "neq": numbers, "in": several, "not_in": several}.get(op, OPERANDS[op]))
    else:
        subject = {"path": draw(st.one_of(paths, paths, paths, paths, callers))}
        value = draw(OPERANDS[op])
    made = {**subject, "op": op, "value": value}
    if optional and op in OPTIONAL and not draw(st.integers(0, 2)):
        made["optional"] = True
    return made


evaluates = st.fixed_dictionaries(
    {"conditions": st.lists(conditions(optional=True), min_size=1, max_size=2)},
    optional={"action": st.just("evaluate"), "only": st.lists(keys, min_size=5, max_size=15, unique=True)},
)
onlys = st.fixed_dictionaries(
    {"only": st.lists(keys, min_size=3, max_size=15, unique=True)}, optional={"action": st.just("evaluate")}
)
denies = st.fixed_dictionaries(
    {"action": st.just("deny"), "conditions": st.lists(conditions(), min_size=1, max_size=2)}
)
allowing = st.sampled_from(["allow", "evaluate"])
short_limits = st.builds("{}/{}".format, st.integers(1, 10**18 - 1), st.sampled_from(list(SECONDS)))
limit_blocks = st.fixed_dictionaries(
    {"max": st.integers(1, 99).map(Decimal), "window": st.sampled_from([Decimal(1), Decimal(90), "minute", "day"])},
    optional={"scope": st.sampled_from(["global", "session"]), "sliding": st.booleans()},
)
limits = st.fixed_dictionaries({"rate_limit": short_limits | limit_blocks}, optional={"action": allowing})

# What can be counted, what cannot, and what lies beside it on either side.
AMOUNTS: list[Json] = [
    *(Decimal(token) for token in (
        "0", "-0", "0.0", "1", "1.10", "2", "4.5", "5", "5.00", "5.0000000000000000000000000000001", "10", "1e3",
        "1e-30", "9.9e-31", "1e-31", "9.99e30", "1e31", "1.0E31", "-1", "-1e-30", "0.1", "100.00000000000000001",
        "1234567890123456789012345678901234e-4", "12345678901234567890123456789012345e-5", "1e307",
        "1.2345678901234567890123456789012340000", "0.00000123456789012345678901234567890123",
    )),
    "5", "", "NaN", True, False, None, [Decimal(5)], {"a": Decimal(5)},
]  # fmt: skip
COUNTERS = ["n", "m", "é x", 'q"t', "_other"]
SCOPES = ["global", "session", "principal"]
windows = st.sampled_from(["minute", "hour", "day", "90s", "15m", "12h", Decimal(60), Decimal(86400)])
bounds = st.sampled_from([Decimal(token) for token in ("-1", "0", "0.5", "1", "5", "5.0", "10", "1e30", "100.1")])
STATE = {"counter": st.sampled_from(COUNTERS), "window": windows}
STATE_OPTIONS = {"scope": st.sampled_from(SCOPES), "sliding": st.booleans()}
state_blocks = st.one_of(
    st.fixed_dictionaries(
        STATE,
        optional={
            **STATE_OPTIONS,
            "increment": st.sampled_from([Decimal(1), Decimal("0.5"), Decimal("2.50"), Decimal(10)]),
        },
    ),
    st.builds(
        lambda block, source: {**block, **source},
        st.fixed_dictionaries(STATE, optional=STATE_OPTIONS),
        factors("increment_from"),
    ),
)
counting = st.fixed_dictionaries({"state": state_blocks}, optional={"action": allowing, "refund": st.just("never")})
limiting = st.fixed_dictionaries({
    "state": state_blocks,
    "own": st.lists(st.tuples(st.sampled_from(["lt", "lte", "lte", "gte"]), bounds), min_size=1, max_size=3),
    "conditions": st.lists(conditions(optional=True), max_size=1),
})  # fmt: skip
spend_blocks = st.builds(
    lambda source, block: {**source, **block},
    factors(),
    st.one_of(
        st.fixed_dictionaries({"per_call": bounds.map(abs)}),
        st.fixed_dictionaries(
            {"max": bounds.map(abs), "window": windows}, optional={"per_call": bounds.map(abs), **STATE_OPTIONS}
        ),
    ),
)
spending = st.fixed_dictionaries({"spend_limit": spend_blocks}, optional={"action": allowing})
GRANTS: list[dict[str, Any]] = [
    {"for": "3600s", "calls": Decimal(10), "same": ["args.a"]},
    {"for": "90s", "calls": Decimal(1), "same": ["args.a.b", 'args["x.y"]'], "at_most": ["args.n"]},
]
approvals = st.fixed_dictionaries(
    {"action": st.just("require_approval"), "reason": st.sampled_from(["a person must agree", *TEXTS[1:9]])},
    optional={
        "conditions": st.lists(conditions(), min_size=1, max_size=2),
        "approval_timeout": st.sampled_from(["90s", "2h"]),
        "approvers": st.sampled_from([Decimal(1), Decimal(3)]),
        "grant": st.sampled_from(GRANTS),
        "state": state_blocks,
    },
)
approvals_of_spending = st.fixed_dictionaries(
    {"action": st.just("require_approval"), "reason": st.just("too dear"), "spend_limit": spend_blocks}
)
KINDS: list[st.SearchStrategy[dict[str, Any]]] = [
    *[evaluates] * 8, *[denies] * 5, onlys, *[limits] * 2, *[counting] * 2, *[limiting] * 3, *[spending] * 4,
    *[approvals] * 4, approvals_of_spending, st.just({"action": "deny"}), st.just({"action": "allow"}),
]  # fmt: skip


@st.composite
def rule_lists(draw: st.DrawFn, entry: str) -> list[dict[str, Any]]:
    """The rules of an entry, or of a class where `entry` is `_class`."""
    rules: list[dict[str, Any]] = [
        dict(draw(kind))
        for kind in draw(
            st.lists(st.sampled_from(KINDS), min_size=draw(st.sampled_from([0, 1, 1, 1, 2, 3])), max_size=4)
        )
    ]
    for rule, name in zip(rules, draw(st.permutations(NAMES)), strict=False):
        if draw(st.booleans()):
            rule["name"] = name
        if draw(st.booleans()) and "reason" not in rule:
            rule[draw(st.sampled_from(["reason", "on_deny"]))] = draw(st.sampled_from(TEXTS[:45]))
        if not draw(st.integers(0, 4)):
            rule["mode"] = draw(st.sampled_from(["monitor", "shadow"]))
    return without_double_counters([with_own_limits(entry, rule) for rule in rules])


def with_own_limits(entry: str, rule: dict[str, Any]) -> dict[str, Any]:
    """The rule with its limits as conditions on its own counter; in shadow it may say nothing else of that."""
    own = [(op, value) for op, value in rule.pop("own", []) if op != "gte" or rule.get("mode") != "shadow"]
    for op, value in own:
        path = counter_path(entry, rule["state"]["counter"])
        rule["conditions"] = [{"path": path, "op": op, "value": value}, *rule["conditions"]]
    if not rule.get("conditions", [None]):
        del rule["conditions"]
    return rule


def counter_path(entry: str, counter: str) -> str:
    return f"state.{'_global' if entry == '*' else entry}.{counter}"


def without_double_counters(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Drop what no policy may have: two rules of one tool that count on the same counter."""
    kept, seen = [], []
    for rule in rules:
        match rule:
            case {"rate_limit": str(text)}:
                counter: Any = text.partition("/")[2]
            case {"rate_limit": block}:
                counter = (length(block["window"]), block.get("scope", "session"))
            case {"spend_limit": {"window": window, **block}}:
                ways = [steps(str(block[key])) for key in ("path", "times") if key in block]
                counter = (length(window), block.get("scope", "global"), ways, block.get("decimal_text", False))
            case {"state": block}:
                counter = block["counter"]
            case _:
                counter = object()
        counter = (counter, rule.get("mode") == "shadow")  # what is in shadow counts apart
        if counter not in seen:
            kept.append(rule)
        seen.append(counter)
    return kept


def readable(entry: str, rules: list[dict[str, Any]]) -> list[str]:
    """The paths of the counters of some rules that a condition may read."""
    found = []
    for rule in rules:
        match rule:
            case {"mode": "shadow"}:
                pass
            case {"state": block}:
                found.append(counter_path(entry, block["counter"]))
            case {"rate_limit": str(text)}:
                found.append(counter_path(entry, f"_rate_{text.partition('/')[2]}"))
    return found


def readable_of(policy: dict[str, Any]) -> list[str]:
    """The paths of all counters of a policy that a condition may read."""
    entries = [*policy["tools"].items(), *(("_class", body) for body in policy.get("classes", {}).values())]
    return list(dict.fromkeys(path for entry, body in entries for path in readable(entry, body.get("rules", []))))


CLASSES = ["Financial", "Destructive", "Execute", "Write", "Read"]
SEVERITIES = ["critical", "high", "medium", "low"]


@st.composite
def policies(draw: st.DrawFn) -> dict[str, Any]:
    """A policy, as the mapping that a file would hold."""
    names = draw(st.lists(st.sampled_from([*TOOLS, *TOOLS, *GLOBS, *["*"] * 6]), min_size=1, max_size=4, unique=True))
    overlapping = [*TOOLS[:1], *(name for name in GLOBS if matches(name, names[0])), *names[1:]]
    names = [*names[:1], *draw(st.lists(st.sampled_from(overlapping), min_size=1, max_size=3, unique=True))]
    names = list(dict.fromkeys(names))
    policy: dict[str, Any] = {"default": draw(st.sampled_from([*["allow"] * 5, "deny"]))}
    if not draw(st.integers(0, 4)):
        hide = st.sampled_from([*TOOLS, *GLOBS[:-4], *UNLISTED, "*"])
        policy["hide"] = draw(st.lists(hide, max_size=2, unique=True))
    if not draw(st.integers(0, 3)):
        policy["list"] = draw(st.sampled_from(["all", "callable", "callable"]))
    if draw(st.booleans()):
        policy["approvals"] = {"timeout": "45m", "use_within": "90s"}
    if draw(st.integers(0, 2)):
        risks = draw(st.lists(st.sampled_from(CLASSES), min_size=1, max_size=2, unique=True))
        policy["classes"] = {risk: {"rules": draw(rule_lists("_class"))} for risk in risks}
    policy["tools"] = {name: draw(entries(name, [*policy.get("classes", {}), "Read"])) for name in names}
    counters = [path for name, body in policy["tools"].items() for path in readable(name, body.get("rules", []))]
    for body in policy["tools"].values():
        draw(readings(body.get("rules", []), counters))
    for body in policy.get("classes", {}).values():
        draw(readings(body["rules"], [*counters, *readable("_class", body["rules"])]))
    return policy


@st.composite
def entries(draw: st.DrawFn, name: str, classes: list[str]) -> dict[str, Any]:
    """An entry under `tools`, with rules, a class or both."""
    body: dict[str, Any] = {"rules": draw(rule_lists(name))}
    if name != "*" and len(classes) > 1 and draw(st.integers(0, 3)):
        body["class"] = draw(st.sampled_from(classes))
        if draw(st.booleans()):
            body["severity"] = draw(st.sampled_from(SEVERITIES))
        if draw(st.integers(0, 2)):
            del body["rules"]
    if "class" in body and is_only_tried(body):
        body["rules"].append({"action": "allow"})  # else those of the class would be lost
    return body


@st.composite
def readings(draw: st.DrawFn, rules: list[dict[str, Any]], counters: list[str]) -> None:
    """Let some rules read counters."""
    for rule in rules:
        if counters and "conditions" in rule and rule.get("mode") != "shadow" and not draw(st.integers(0, 2)):
            op, value = draw(st.sampled_from(READINGS))
            path = draw(st.sampled_from(counters))
            rule["conditions"] = [*rule["conditions"], {"path": path, "op": op, "value": value}]


READINGS: list[tuple[str, Json]] = [
    *((op, Decimal(5)) for op in ("lt", "lte", "gt", "gte", "eq", "neq")), ("lte", Decimal("0.5")), ("eq", "5"),
    ("in", [Decimal(0), "5"]), ("not_in", [Decimal("5.0")]), ("exists", True), ("exists", False), ("regex", "b$"),
]  # fmt: skip

# Calls.


def near(condition: Mapping[str, Any]) -> st.SearchStrategy[Json]:
    """What an operator and its value may say yes to, and what only looks like it."""
    op, value = condition["op"], condition["value"]
    if op == "within":
        return files
    if op == "host_in":
        return urls
    close: list[Json] = [value, value, [value], str(value)]
    match value:
        case bool():
            close += [written(value), not value]
        case Decimal():
            tiny = Decimal("1e-30")
            close += [WIDE.add(value, step) for step in (1, -1, tiny, -tiny)]
            close += [written(value), WIDE.multiply(value, Decimal("1.0")), [written(value)]]
        case str() if op in ("regex", "not_regex"):
            close += ["a", "abc", "AbC", "b", "", "1.1", "12", "é", "`", '"', "ab\n", "drop"]
        case str():
            close += [f"x{value}y", value.upper(), [[value]], ["x", value]]
        case list() if op in ("in", "not_in"):
            close += value
        case list() | dict():
            close += list(value.values()) if isinstance(value, dict) else value[:1]
    found = st.sampled_from(close)
    if condition.get("decimal_text"):
        numbers = [item for item in [value, *(value if isinstance(value, list) else [])] if isinstance(item, Decimal)]
        texts = [text for item in numbers for text in (written(item), f"{written(item)}.0", f"{written(item)}1")]
        found |= st.sampled_from(DECIMAL_TEXTS) | st.sampled_from([*texts, "5"])
    return found


IN_THE_WAY: list[Json] = [
    None, True, Decimal(0), Decimal(5), "", "x", '{"a":5}', '[{"a":5}]', [], [[]], {}, [None], [{}], [Decimal(5)],
]  # fmt: skip
_json = msgspec.json.Encoder(decimal_format="number").encode


@st.composite
def planted(draw: st.DrawFn, value: Json, path: Sequence[Step], leaf: st.SearchStrategy[Json]) -> Json:
    """A value with something at a path below it: on the way stands what leads there, and now and then what does not."""
    if not path:
        return draw(leaf)
    step, rest = path[0], path[1:]
    if step is EACH:
        items = value if isinstance(value, list) else []
        size = draw(st.sampled_from([len(items), len(items), 0, 1, 1, 2, 3]))
        made: Json = [draw(planted(items[at] if at < len(items) else {}, rest, leaf)) for at in range(size)]
    else:
        inner = value if isinstance(value, dict) else {}
        made = {**inner, step: draw(planted(inner.get(step), rest, leaf))}
        if not draw(st.integers(0, 15)):
            made.pop(step)
        if step in CASE_TWINS and not draw(st.integers(0, 20)):
            made[CASE_TWINS[step]] = draw(scalars)
    match draw(st.integers(0, 60)):
        case 0:
            return draw(st.sampled_from(IN_THE_WAY))
        case 1:
            return _json(made).decode()
        case 2 if not draw(st.integers(0, 1)):
            return [made]
        case _:
            return made


def put(arguments: dict[str, Json], path: Sequence[str], value: Json) -> None:
    """Set what stands at a path, as far as objects lead there."""
    *way, last = path
    for step in way:
        inner = arguments.setdefault(step, {})
        if not isinstance(inner, dict):
            return
        arguments = inner
    arguments[last] = value


TOTALS = [Decimal(token) for token in ("0", "1", "4.5", "4.9999999999999999999", "5", "5.0", "6", "1e30")]
good_amounts = st.sampled_from(AMOUNTS[:9])
amounts = st.one_of(*[good_amounts] * 6, st.sampled_from(AMOUNTS))
good_texts = st.sampled_from(["5", "5.0", "0.5", "1.10", "10", "0", "2.50"])
amounts_as_text = st.one_of(*[good_amounts] * 3, *[good_texts] * 4, st.sampled_from(AMOUNTS + DECIMAL_TEXTS))
small_factors: st.SearchStrategy[Json] = st.sampled_from([Decimal(1), Decimal(1), Decimal("0.5"), "1", "1.0", "2"])

DOCUMENTS: dict[str, Json] = {
    "principal": {"subject": "a", "issuer": "https://example.com", "claims": {}},
    "session": {"client": {"name": "abc", "version": "1.1"}},
    "workload": {"namespace": "a", "pod": "b", "service_account": "5"},
}


@st.composite
def calls_of(draw: st.DrawFn, policy: dict[str, Any]) -> Call:
    """A call of some tool, with values about where the policy's rules look."""
    listed = [*policy["tools"]] * 4 + [tool for tool in TOOLS for name in policy["tools"] if matches(name, tool)] * 2
    tool = draw(st.sampled_from(listed + TOOLS + UNLISTED))
    arguments: Json = draw(st.dictionaries(keys, values, max_size=1)) if draw(st.booleans()) else {}
    caller: dict[str, Json] = {name: DOCUMENTS[name] for name in DOCUMENTS if draw(st.integers(0, 3))}
    for rule in rules_about(policy, tool):
        for path in rule.amount_paths:
            if draw(st.integers(0, 9)):
                leaf = amounts_as_text if rule.block.get("decimal_text") else amounts
                arguments = draw(planted_in(arguments, path, leaf))
        for each in rule.conditions:
            root = root_of(each["path"])
            if root == "state" or not draw(st.integers(0, 9)):
                continue
            close = near(each)
            leaf = st.one_of(close, close, close, values)
            if root == "args":
                arguments = draw(planted_in(arguments, each["path"], leaf))
            elif root in caller:
                caller[root] = draw(told(caller[root], steps(each["path"]), leaf))
            if "times" in each:
                arguments = draw(planted_in(arguments, each["times"], small_factors | amounts_as_text))
    if not isinstance(arguments, dict):
        arguments = {}
    totals = {path: draw(st.sampled_from(TOTALS)) for path in readable_of(policy)}
    for rule in rules_about(policy, tool):
        if rule.each is not None:  # what the rules of a class count belongs, in a question, to the entry
            for path in readable("_class", [dict(rule.said)]):
                totals[path.replace("_class", rule.entry, 1)] = totals[path]
    return Call(tool, arguments, totals, caller)


@st.composite
def told(draw: st.DrawFn, document: Json, path: Sequence[Step], leaf: st.SearchStrategy[Json]) -> Json:
    """What is known of the caller, with something else at a path: claims are any JSON, all else is text."""
    assert isinstance(document, dict)
    step, rest = path[0] or "", path[1:]
    if step == "claims":
        claims = draw(planted(document[step], rest, leaf))
        return {**document, step: claims if isinstance(claims, dict) else {}}
    if rest:
        return {**document, step: draw(told(document[step], rest, leaf))}
    return {**document, step: draw(st.sampled_from(TEXTS))}


@st.composite
def planted_in(draw: st.DrawFn, document: Json, path: str, leaf: st.SearchStrategy[Json]) -> Json:
    """A document with something at a path below it; the document stays an object."""
    made = draw(planted(document, steps(path), leaf))
    return made if isinstance(made, dict) else document


@st.composite
def examples(draw: st.DrawFn) -> tuple[dict[str, Any], list[Call]]:
    """A policy and calls."""
    policy = draw(policies())
    return policy, draw(st.lists(calls_of(policy), min_size=20, max_size=30))
