"""What people try that this language does not have, and what to write instead: tables, and one question to each.

The tables hold what other policy languages, and habit, call things. What is only misspelt is found elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

from sidecar.policy import paths
from sidecar.policy.model import NAMED_WINDOWS

_TEXT_BEGINS: Final = 'write op: regex with a pattern that begins with ^, as "^abc"'
_TEXT_ENDS: Final = 'write op: regex with a pattern that ends with $, as "abc$"'
_NOT_GIVEN: Final = "write op: exists and value: false"

OPERATORS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("==", "=", "===", "is", "equal", "equals", "equal_to"), "write eq"),
    **dict.fromkeys(("!=", "<>", "ne", "not", "is_not", "not_eq", "not_equal", "not_equals"), "write neq"),
    **dict.fromkeys(("<", "less", "less_than", "before"), "write lt"),
    **dict.fromkeys(("<=", "=<", "le", "max", "at_most"), "write lte"),
    **dict.fromkeys((">", "greater", "greater_than", "more_than", "after"), "write gt"),
    **dict.fromkeys((">=", "=>", "ge", "min", "at_least"), "write gte"),
    **dict.fromkeys(("between", "range"), "write two conditions, one with gte and one with lte"),
    **dict.fromkeys(("one_of", "any_of", "is_in", "oneof", "anyof"), "write in"),
    **dict.fromkeys(("none_of", "nin", "not in"), "write not_in"),
    **dict.fromkeys(("matches", "match", "re", "regexp", "pattern", "=~"), "write regex"),
    **dict.fromkeys(("not_matches", "does_not_match", "!~"), "write not_regex"),
    **dict.fromkeys(("like", "ilike", "glob", "wildcard"), "write regex, where .* stands for anything"),
    **dict.fromkeys(("startswith", "starts_with", "startsWith", "prefix", "begins_with"), _TEXT_BEGINS),
    **dict.fromkeys(("endswith", "ends_with", "endsWith", "suffix"), _TEXT_ENDS),
    **dict.fromkeys(("includes", "has"), "write contains"),
    **dict.fromkeys(("excludes", "does_not_contain"), "write not_contains"),
    **dict.fromkeys(("not_exists", "missing", "absent", "is_null", "undefined", "empty"), _NOT_GIVEN),
    **dict.fromkeys(("present", "is_set", "defined", "required", "not_null"), "write op: exists and value: true"),
    **dict.fromkeys(("under", "below", "in_folder", "subpath", "path_in", "inside"), "write within"),
    **dict.fromkeys(("host", "hostname", "domain", "domain_in", "url"), "write host_in"),
}
"""By the operator that was tried."""

ACTIONS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("block", "reject", "forbid", "refuse", "disallow", "drop", "stop", "no"), "write deny"),
    **dict.fromkeys(("approve", "approval", "ask", "confirm", "review", "prompt", "human"), "write require_approval"),
    **dict.fromkeys(("permit", "accept", "pass", "grant", "yes"), "write allow"),
    **dict.fromkeys(("check", "validate", "condition", "if", "when"), "write evaluate"),
    **dict.fromkeys(("log", "audit", "warn", "monitor", "report"), "write mode: monitor beside the action"),
    **dict.fromkeys(("limit", "throttle", "rate_limit"), "write rate_limit: 5/hour in place of the action"),
    **dict.fromkeys(("hide", "hidden"), "name the tool under hide, at the top of the file"),
}
"""By the action that was tried."""

DEFAULTS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("block", "reject", "forbid", "refuse", "closed", "deny_all", "deny-all"), "write deny"),
    **dict.fromkeys(("permit", "accept", "pass", "open", "allow_all", "allow-all"), "write allow"),
    **dict.fromkeys(("require_approval", "approve", "ask"), 'write a rule with action: require_approval under "*"'),
}
"""By the default that was tried."""

MODES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("audit", "observe", "watch", "log", "dry-run", "dry_run", "dryrun", "shadow"), "write monitor"),
    **dict.fromkeys(("block", "strict", "on", "active", "enforcing"), "write enforce"),
}
"""By the mode of a file that was tried."""

RULE_MODES: Final[Mapping[str, str]] = {
    **MODES, **dict.fromkeys(("dry-run", "dry_run", "dryrun", "test", "trial", "candidate"), "write shadow"),
}  # fmt: skip
"""By the mode of a rule that was tried."""

SCOPES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("user", "caller", "client", "subject", "identity", "per_user"), "write principal"),
    **dict.fromkeys(("agent", "connection", "conversation"), "write session"),
    **dict.fromkeys(("server", "all", "tool", "total"), "write global"),
}
"""By the scope that was tried."""

_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(("message", "msg", "error", "explanation", "deny_message"), ("reason", "description")),
    **dict.fromkeys(("operator", "operation", "comparison", "test", "is"), ("op",)),
    **dict.fromkeys(("argument", "arg", "field", "param", "parameter", "property"), ("path",)),
    **dict.fromkeys(("operand", "threshold", "expected", "than"), ("value",)),
    **dict.fromkeys(("when", "if", "condition", "match", "where", "unless", "all", "checks"), ("conditions",)),
    **dict.fromkeys(("effect", "decision", "verdict", "do", "then", "type"), ("action",)),
    "limit": ("rate_limit", "max"),
    **dict.fromkeys(("rate", "throttle", "ratelimit", "quota"), ("rate_limit",)),
    **dict.fromkeys(("count", "calls", "requests", "maximum", "total"), ("max", "calls")),
    **dict.fromkeys(("uses", "times"), ("calls",)),
    **dict.fromkeys(("per", "period", "interval", "every", "duration", "time"), ("window", "for")),
    "window": ("for",),
    **dict.fromkeys(("ttl", "expires", "expiry", "expires_in", "valid_for", "lifetime"), ("for", "timeout")),
    **dict.fromkeys(("max", "up_to", "not_above", "lte"), ("at_most",)),
    **dict.fromkeys(("equal", "equals", "match_on", "fixed", "paths", "args"), ("same",)),
    **dict.fromkeys(("timeout", "approval_ttl", "approval_expires"), ("approval_timeout",)),
    **dict.fromkeys(("approver", "approvals", "quorum", "people", "reviewers"), ("approvers",)),
    **dict.fromkeys(("grants", "standing", "standing_approval", "remember", "always_allow"), ("grant",)),
    **dict.fromkeys(("wait", "hold_for", "block_for"), ("hold",)),
    **dict.fromkeys(("redact", "secrets", "sensitive", "masked"), ("mask",)),
    **dict.fromkeys(("webhook", "webhooks", "slack", "notifications"), ("notify",)),
    **dict.fromkeys(("use_by", "valid", "usable"), ("use_within",)),
    **dict.fromkeys(("four_eye", "separation_of_duties", "dual_control", "two_person"), ("four_eyes",)),
    **dict.fromkeys(("respond", "response", "reply"), ("answer",)),
    **dict.fromkeys(("secret", "key", "token", "hmac"), ("secret_env", "path")),
    **dict.fromkeys(("budget", "spend", "cost", "amount"), ("spend_limit", "increment_from", "path")),
    **dict.fromkeys(("id", "title", "label"), ("name",)),
    **dict.fromkeys(("policies", "policy", "rules"), ("tools",)),
    **dict.fromkeys(("block", "blocked", "hidden", "deny", "denied"), ("hide",)),
    **dict.fromkeys(("default_action", "fallback"), ("default",)),
    **dict.fromkeys(("risk", "risk_class", "category"), ("class",)),
    **dict.fromkeys(("arguments", "allowed_args", "fields"), ("only",)),
    **dict.fromkeys(("counter", "name"), ("counter",)),
    **dict.fromkeys(("by", "amount_from", "increment_by"), ("increment_from", "increment")),
}
"""By the key that was tried: the keys that may have been meant, of which the first that exists there is told."""

_UNITS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), "minute"),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours", "hourly"), "hour"),
    **dict.fromkeys(("d", "day", "days", "daily"), "day"),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "1s"),
    **dict.fromkeys(("w", "wk", "week", "weeks", "weekly"), "7d"),
    "fortnight": "14d",
    **dict.fromkeys(("mo", "month", "months", "monthly"), "30d"),
    **dict.fromkeys(("y", "yr", "year", "years"), "365d"),
}
"""By the unit of time that was tried: the name of a window, or its length."""

_PATTERNS: Final[Mapping[str, str]] = {
    r"\(\?!|\(\?<!": "write what must not be there as a condition of its own, with not_regex",
    r"\(\?=|\(\?<=": "write what must be there too as a condition of its own, with regex",
    r"\\Z": r"write \z for the end of the text",
    r"\\[1-9]": "write the text out that is repeated: RE2 does not refer back",
    r"\(\?>|[*+?}]\+": "write the group, or the repetition, without +: RE2 never goes back",
    r"\A[*?]": "write .* for anything, and . for one character",
}
"""By what RE2 does not know, as a pattern of Python: the first that is in the pattern tells what to write."""

_DOCUMENTS: Final = (
    "$.params.arguments", "params.arguments", "request.arguments", "$.arguments", "$.args", "tool.args",
    "arguments", "argument", "params", "parameters", "input", "inputs", "body", "args", "arg", "$",
)  # fmt: skip
"""What people write for `args`, in any case."""
_OTHER_DOCUMENTS: Final = re.compile(r"(args|state|principal|session|workload)\b")


def key(word: str, known: Collection[str]) -> str | None:
    """The key to write, of those that are `known` at the place."""
    return next((meant for meant in _KEYS.get(word, ()) if meant in known), None)


def rate_limit(text: str) -> str | None:
    """The rate limit to write."""
    found = _RATE.fullmatch(text)
    if found is None:
        return None
    unit = found["unit"]
    window = unit if _LENGTH.fullmatch(unit) else _UNITS.get(unit.lower())
    if window in NAMED_WINDOWS:
        return f"{found['max']}/{window}"
    return f"{{max: {found['max']}, window: {window}, scope: global}}" if window else None


_RATE: Final = re.compile(r"(?P<max>[1-9][0-9]{0,17})\s*(?:/|per\b|an?\b|every\b|x)\s*(?P<unit>\w+)")
_LENGTH: Final = re.compile(r"[1-9][0-9]{0,8}[smhd]")


def window(text: str) -> str | None:
    """The window to write."""
    found = re.fullmatch(r"(?P<count>[1-9][0-9]{0,8})?\s*(?P<unit>[A-Za-z]+)", text)
    meant = _UNITS.get(found["unit"].lower()) if found else None
    if found is None or meant is None or not found["count"]:
        return meant
    length = re.fullmatch(r"(?P<days>[0-9]+)(?P<unit>[smhd])", meant)
    return f"{int(found['count']) * int(length['days'])}{length['unit']}" if length else f"{found['count']}{meant[0]}"


def pattern(text: str) -> str:
    """What to write in place of what RE2 does not read in a pattern."""
    meant = (advice for tried, advice in _PATTERNS.items() if re.search(tried, text))
    return next(meant, "write it as RE2 does, and a bracket that is meant as such with a backslash before it")


def path(text: str) -> str | None:
    """The path into the arguments to write."""
    steps = text.strip("/").replace("/", ".")
    for document in _DOCUMENTS:
        if re.match(rf"(?i:{re.escape(document)})[.\[]", steps):
            return _readable(steps[len(document) :])
    if _OTHER_DOCUMENTS.match(steps) or steps.startswith((".", "[")):
        return None
    return _readable(f".{steps}")


def _readable(steps: str) -> str | None:
    """The path with these steps, if it is one."""
    try:
        read = paths.read(steps)
    except paths.BadPath:
        return None
    return paths.shown("args", read) if read else None
