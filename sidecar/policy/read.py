"""YAML nodes to a `Policy`, with every problem noted and none skipped. What is not built is refused, never ignored."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Collection
from decimal import Decimal
from typing import TypeVar

from sidecar.policy import nodes
from sidecar.policy.check import check
from sidecar.policy.model import (
    ACTIONS,
    ANY_TOOL,
    DEFAULTS,
    NAMED_WINDOWS,
    OPERATORS,
    REFUNDS,
    SCOPES,
    Action,
    Condition,
    Entry,
    Policy,
    RateLimit,
    Rule,
    Value,
)
from sidecar.policy.nodes import Mapping, Node, Scalar, Sequence
from sidecar.policy.problem import Place, Problem

_FILE_KEYS = ("version", "description", "default", "tools")
_ENTRY_KEYS = ("rules",)
_RULE_KEYS = ("name", "action", "conditions", "reason", "on_deny", "rate_limit", "refund")
_CONDITION_KEYS = ("path", "op", "value")
_RATE_LIMIT_KEYS = ("max", "window", "scope")

MAX_WINDOW = 366 * 86400
"""Longest window, in seconds."""

Choice = TypeVar("Choice", bound=str)


def read(text: str, file: str) -> tuple[Policy, list[Problem]]:
    """The policy in `text` and every problem with it, in the order of the file; `file` is the name to show.

    The policy may be used only when no problem is an error (all are warnings).
    """
    root, problems = nodes.parse(text, file)
    reader = _Reader(problems)
    policy = reader.policy(root, file, hashlib.sha256(text.encode()).hexdigest())
    return policy, sorted(problems + check(policy))


class _Reader:
    """One method an item of the language. Each notes its problems and returns what could be made of it."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems

    def problem(self, place: Place, where: str, text: str) -> None:
        self.problems.append(Problem(place, where, text))

    def policy(self, root: Node, file: str, sha256: str) -> Policy:
        top = self.mapping(root, "file", _FILE_KEYS)
        members = top.members
        version = members.get("version")
        if version is not None and not (isinstance(version, Scalar) and version.text in ("1", "", "~", "null")):
            self.problem(version.place, "version", 'only version "1" exists')
        description = self.text(members.get("description"), "description") or ""
        default = self.choice(members.get("default"), "default", DEFAULTS, "allow")
        tools = self.mapping(members.get("tools"), "tools")
        entries = [self.entry(tool, node, tools.keys[tool]) for tool, node in tools.members.items()]
        return Policy(file, sha256, description, default, tuple(entries))

    def entry(self, tool: str, node: Node, place: Place) -> Entry:
        where = f"tools.{tool}"
        if not tool:
            self.problem(place, "tools", "a tool's name must not be empty")
        if tool != ANY_TOOL and re.search(r"[*?]", tool):
            self.problem(
                place, where, 'patterns are not supported: write the whole name of a tool, or "*" for every one'
            )
        members = self.mapping(node, where, _ENTRY_KEYS).members
        rules = self.sequence(members.get("rules"), f"{where}.rules")
        made = [self.rule(tool, at, item, f"{where}.rules[{at}]") for at, item in enumerate(rules, 1)]
        return Entry(tool, tuple(made), place)

    def rule(self, tool: str, position: int, node: Node, where: str) -> Rule:
        mapping = self.mapping(node, where, _RULE_KEYS)
        members, keys = mapping.members, mapping.keys
        name = self.text(members.get("name"), f"{where}.name")
        if name == "":
            self.problem(keys["name"], f"{where}.name", "a name must not be empty: leave it out, or write one")
        if "reason" in keys and "on_deny" in keys:
            self.problem(keys["on_deny"], where, "reason and on_deny say the same: keep one of the two")
        reason_key = "reason" if "reason" in keys else "on_deny"
        reason = self.text(members.get(reason_key), f"{where}.{reason_key}")
        limit = self.rate_limit(members["rate_limit"], f"{where}.rate_limit") if "rate_limit" in keys else None
        conditions: tuple[Condition, ...] = ()
        if "conditions" in keys:
            items = self.sequence(members["conditions"], f"{where}.conditions")
            conditions = tuple(self.condition(item, f"{where}.conditions[{at}]") for at, item in enumerate(items, 1))
            if not items:
                self.problem(
                    keys["conditions"], f"{where}.conditions", "an empty list of conditions: write at least one"
                )
        unsaid: Action = "evaluate" if "conditions" in keys else "allow"
        action = self.choice(members.get("action"), f"{where}.action", ACTIONS, unsaid)
        self.combination(mapping, where, action)
        refund = self.choice(members.get("refund"), f"{where}.refund", REFUNDS, "on_error")
        return Rule(
            tool, position, name or f"{tool}#{position}", action, conditions, limit, refund, reason, mapping.place
        )  # fmt: skip

    def combination(self, rule: Mapping, where: str, action: str) -> None:
        """What may not stand together in one rule."""
        keys = rule.keys
        if not keys.keys() & {"action", "conditions", "rate_limit"}:
            self.problem(rule.place, where, "a rule needs an action, conditions or a rate_limit")
        if "rate_limit" in keys and "conditions" in keys:
            self.problem(
                keys["rate_limit"],
                where,
                "a rate_limit cannot have conditions: put the conditions into a rule before it",
            )
        if action == "deny" and "rate_limit" in keys:
            self.problem(
                keys["rate_limit"], where, "a rate_limit with action deny has no meaning: remove one of the two"
            )
        if action in ("deny", "allow") and "conditions" in keys:
            self.problem(
                keys["conditions"], where, f"conditions with action {action} have no meaning: write action: evaluate"
            )
        if action == "evaluate" and "conditions" not in keys:
            self.problem(rule.place, where, "action evaluate needs conditions")
        if "refund" in keys and "rate_limit" not in keys:
            self.problem(keys["refund"], where, "refund belongs to a rule with a rate_limit: remove it")

    def condition(self, node: Node, where: str) -> Condition:
        mapping = self.mapping(node, where, _CONDITION_KEYS)
        members = mapping.members
        for key in _CONDITION_KEYS:
            if key not in members:
                self.problem(mapping.place, where, f"a condition needs path, op and value: {key} is missing")
        path = self.path(members.get("path"), f"{where}.path")
        op = self.choice(members.get("op"), f"{where}.op", OPERATORS, "")
        value = members.get("value")
        if value is not None:
            self.operand(op, value, f"{where}.value")
        return Condition(path, op, self.value(value), value.place if value else mapping.place)

    def operand(self, op: str, node: Node, where: str) -> None:
        """The kind of value that an operator compares with."""
        value = node.value if isinstance(node, Scalar) else node
        match op:
            case "in" | "not_in" if not isinstance(node, Sequence):
                self.problem(node.place, where, f"{op} needs a list: write [a, b]")
            case "lt" | "lte" | "gt" | "gte" if not isinstance(value, Decimal):
                self.problem(node.place, where, f"{op} needs a number, without quotes")
            case "exists" if not isinstance(value, bool):
                self.problem(node.place, where, "exists needs true or false")
            case "regex" if not isinstance(value, str):
                self.problem(node.place, where, "regex needs a pattern, a text in quotes")

    def path(self, node: Node | None, where: str) -> tuple[str, ...]:
        path = self.text(node, where)
        if node is None or path is None:
            return ()
        first, _, rest = path.partition(".")
        if first != "args" or not rest:
            self.problem(node.place, where, f'"{path}" is no path: write args. and the name of an argument')
        elif "" in rest.split("."):
            self.problem(node.place, where, f'"{path}" has an empty step: write one name between two dots')
        return tuple(rest.split("."))

    def rate_limit(self, node: Node, where: str) -> RateLimit | None:
        if isinstance(node, Mapping):
            return self.rate_limit_block(node, where)
        found = _RATE.fullmatch(node.value) if isinstance(node, Scalar) and isinstance(node.value, str) else None
        if found is None:
            shown = f'"{node.text}"' if isinstance(node, Scalar) else "this"
            self.problem(
                node.place, where, f"{shown} is no rate_limit: write a count and a window, as 5/minute, 5/hour or 5/day"
            )
            return None
        window = found["window"]
        return RateLimit(int(found["max"]), NAMED_WINDOWS[window], window, "global", short=True)

    def rate_limit_block(self, node: Mapping, where: str) -> RateLimit | None:
        members = self.mapping(node, where, _RATE_LIMIT_KEYS).members
        known = len(self.problems)
        for key in ("max", "window"):
            if key not in members:
                self.problem(node.place, where, f"a rate_limit needs max and window: {key} is missing")
        scope = self.choice(members.get("scope"), f"{where}.scope", SCOPES, "session")
        count = self.count(members.get("max"), f"{where}.max")
        window = self.window(members.get("window"), f"{where}.window")
        if len(self.problems) > known or count is None or window is None:
            return None
        seconds, name = window
        return RateLimit(count, seconds, name, scope, short=False)

    def count(self, node: Node | None, where: str) -> int | None:
        if node is None:
            return None
        if isinstance(node, Scalar) and isinstance(node.value, Decimal) and _COUNT.fullmatch(node.text):
            return int(node.text)
        self.problem(node.place, where, "a count is a whole number above 0, without quotes, sign or dot")
        return None

    def window(self, node: Node | None, where: str) -> tuple[int, str] | None:
        """Seconds, and the name: `minute`, `hour`, `day` or the seconds."""
        if node is None:
            return None
        text = node.text if isinstance(node, Scalar) else ""
        if text in NAMED_WINDOWS:
            return NAMED_WINDOWS[text], text
        found = _WINDOW.fullmatch(text)
        seconds = int(found["count"]) * _UNITS[found["unit"]] if found else 0
        if not 0 < seconds <= MAX_WINDOW:
            shown = f'"{text}"' if text else "this"
            self.problem(
                node.place, where, f"{shown} is no window: write seconds, minute, hour, day, or as 90s, 15m, 12h"
            )
            return None
        return seconds, str(seconds)

    # What any item is made of.

    def mapping(self, node: Node | None, where: str, known: Collection[str] | None = None) -> Mapping:
        """The mapping at a node; an empty one when nothing stands there. `known` are the keys it may have."""
        match node:
            case Mapping():
                for key in node.keys:
                    if known is not None and key not in known:
                        self.problem(node.keys[key], where, _unknown(key, known))
                return node
            case None | Scalar(value=None):
                pass
            case _:
                self.problem(node.place, where, "must be a mapping: write keys and values")
        return Mapping({}, {}, node.place if node else Place("", 0, 0))

    def sequence(self, node: Node | None, where: str) -> tuple[Node, ...]:
        match node:
            case Sequence():
                return node.items
            case None | Scalar(value=None):
                pass
            case _:
                self.problem(node.place, where, "must be a list: begin each item with a dash")
        return ()

    def text(self, node: Node | None, where: str) -> str | None:
        """The text at a node; None when nothing stands there."""
        match node:
            case None | Scalar(value=None):
                return None
            case Scalar(value=str() as text):
                return text
            case Scalar():
                self.problem(node.place, where, f'must be a text: write "{node.text}" in quotes')
            case _:
                self.problem(node.place, where, "must be a text")
        return None

    def choice(self, node: Node | None, where: str, choices: tuple[Choice, ...], default: Choice) -> Choice:
        if node is None:
            return default
        text = node.value if isinstance(node, Scalar) else None
        for choice in choices:
            if choice == text:
                return choice
        shown = f'"{node.text}" is none of them' if isinstance(node, Scalar) else "it is no text"
        near = _near(node.text, choices) if isinstance(node, Scalar) else ""
        self.problem(node.place, where, f"must be {_listed(choices)}; {shown}{near}")
        return default

    def value(self, node: Node | None) -> Value:
        match node:
            case Scalar():
                return node.value
            case Sequence():
                return tuple(self.value(item) for item in node.items)
            case Mapping():
                return {key: self.value(item) for key, item in node.members.items()}
            case None:
                return None


_RATE = re.compile(r"(?P<max>[1-9][0-9]{0,17})/(?P<window>minute|hour|day)")
_COUNT = re.compile(r"[1-9][0-9]{0,17}")
_WINDOW = re.compile(r"(?P<count>[1-9][0-9]{0,9})(?P<unit>[smh]?)")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


def _unknown(key: str, known: Collection[str]) -> str:
    return f'the key "{key}" is not known here{_near(key, known)}; known are {_listed(known, "and")}'


def _near(word: str, words: Collection[str]) -> str:
    found = difflib.get_close_matches(word, list(words), n=1)
    return f': did you mean "{found[0]}"?' if found else ""


def _listed(words: Collection[str], last: str = "or") -> str:
    *head, tail = words
    return f"{', '.join(head)} {last} {tail}" if head else tail
