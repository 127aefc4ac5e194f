"""Reads the values of a policy file from its YAML nodes, and notes every problem on the way."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Collection
from decimal import Decimal
from typing import TypeGuard, TypeVar

from sidecar.mcp.protocol import OF_CLIENTS, is_odd_method
from sidecar.policy import nodes
from sidecar.policy.model import (
    ACTIONS,
    ALWAYS_OPEN,
    ANY_TOOL,
    DEFAULTS,
    GLOBAL,
    MODES,
    NAMED_WINDOWS,
    OPERATORS,
    REFUNDS,
    SCOPES,
    Action,
    Approval,
    Approvals,
    Condition,
    CounterName,
    Default,
    Hidden,
    Methods,
    Path,
    PolicyEntry,
    PolicyFile,
    RateLimit,
    Rule,
    Source,
    SpendLimit,
    State,
    Value,
    Webhook,
    Window,
)
from sidecar.policy.nodes import Mapping, Node, Scalar, Sequence
from sidecar.policy.problem import Place, Problem
from sidecar.text import quoted

_FILE_KEYS = ("version", "description", "default", "methods", "mode", "hide", "approvals", "tools")
_METHODS_KEYS = ("unknown", "allow", "deny")
_ENTRY_KEYS = ("rules",)
_RULE_KEYS = (
    "name", "action", "conditions", "reason", "on_deny", "rate_limit", "spend_limit", "state",
    "approval_timeout", "approvers", "refund", "mode",
)  # fmt: skip
_CONDITION_KEYS = ("path", "op", "value")
_RATE_LIMIT_KEYS = ("max", "window", "scope")
_SPEND_LIMIT_KEYS = ("path", "per_call", "max", "window", "scope")
_STATE_KEYS = ("counter", "window", "increment", "increment_from", "scope")
_APPROVALS_KEYS = ("timeout", "use_within", "hold", "four_eyes", "mask", "notify")

MAX_WINDOW = 366 * 86400
"""The longest window or time-out, in seconds."""

Choice = TypeVar("Choice", bound=str)


def read(text: str, file: str) -> tuple[PolicyFile, list[Problem]]:
    """The values of the policy in `text`, and every problem with it; `file` is the name to show."""
    root, problems = nodes.parse(text, file)
    reader = _Reader(problems)
    return reader.file(root, Source(file, hashlib.sha256(text.encode()).hexdigest())), problems


class _Reader:
    """One method for each item of the language. It notes its problems and returns what could be read."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems

    def problem(self, place: Place, where: str, text: str) -> None:
        self.problems.append(Problem(place, where, text))

    def file(self, root: Node, source: Source) -> PolicyFile:
        top = self.mapping(root, "file", _FILE_KEYS)
        members = top.members
        version = members.get("version")
        if version is not None and not (isinstance(version, Scalar) and version.text in ("1", "", "~", "null")):
            self.problem(version.place, "version", 'only version "1" exists')
        tools = self.mapping(members.get("tools"), "tools")
        default = self.choice(members.get("default"), "default", DEFAULTS)
        return PolicyFile(
            source=source,
            keys=top.keys,
            description=self.text(members.get("description"), "description"),
            default=default,
            methods=self.methods(members.get("methods"), default or "allow"),
            mode=self.choice(members.get("mode"), "mode", MODES),
            hide=self.hide(members.get("hide")),
            approvals=self.approvals(members["approvals"]) if "approvals" in members else None,
            entries=tuple(self.entry(tool, node, tools.keys[tool]) for tool, node in tools.members.items()),
        )

    def methods(self, node: Node | None, unsaid: Default) -> Methods:
        members = self.mapping(node, "methods", _METHODS_KEYS).members
        unknown = self.choice(members.get("unknown"), "methods.unknown", DEFAULTS)
        allow = self.method_names(members.get("allow"), "methods.allow")
        deny = self.method_names(members.get("deny"), "methods.deny")
        for name, place in deny.items():
            if name in ALWAYS_OPEN:
                text = "tools have rules of their own, and without the others there is no session"
                self.problem(place, "methods.deny", f'"{name}" cannot be denied: {text}; remove it')
            elif name in allow:
                self.problem(place, "methods.deny", f'"{name}" stands under allow too: keep it in one of the two')
            elif name not in OF_CLIENTS and (near := _near(name, OF_CLIENTS)):
                self.problems.append(
                    Problem(place, "methods.deny", f'"{name}" is no method of MCP{near}', warning=True)
                )
        return Methods(unknown or unsaid, frozenset(allow), frozenset(deny))

    def method_names(self, node: Node | None, where: str) -> dict[str, Place]:
        names: dict[str, Place] = {}
        for at, item in enumerate(self.sequence(node, where), 1):
            name = self.text(item, f"{where}[{at}]")
            if _is_null(item) or name == "":
                self.problem(item.place, f"{where}[{at}]", "a method must not be empty: write its name")
            elif name is None:
                continue
            elif "*" in name or "?" in name:
                advice = "methods are named exactly: write each, or unknown: deny for all that MCP does not know"
                self.problem(item.place, f"{where}[{at}]", advice)
            elif is_odd_method(name):
                near = _near(name.strip("/ ").lower(), OF_CLIENTS)
                self.problem(item.place, f"{where}[{at}]", f"no method is called {quoted(name)}{near}")
            elif name in names:
                text = f'"{name}" stands in line {names[name].line} already: remove one of the two'
                self.problem(item.place, f"{where}[{at}]", text)
            else:
                names[name] = item.place
        return names

    def hide(self, node: Node | None) -> tuple[Hidden, ...]:
        hidden: dict[str, Hidden] = {}
        for at, item in enumerate(self.sequence(node, "hide"), 1):
            where = f"hide[{at}]"
            name = self.text(item, where)
            if _is_null(item) or (name is not None and not name.strip()):
                self.problem(item.place, where, "an entry of hide must not be empty: write the name of a tool")
            elif name in hidden:
                line = hidden[name].place.line
                self.problem(item.place, where, f'"{name}" is hidden by line {line} already: remove one of the two')
            elif name is not None:
                hidden[name] = Hidden(name, item.place)
        return tuple(hidden.values())

    def approvals(self, node: Node) -> Approvals:
        members = self.mapping(node, "approvals", _APPROVALS_KEYS).members
        unsaid = Approvals()
        four_eyes = members.get("four_eyes")
        if four_eyes is not None and not (isinstance(four_eyes, Scalar) and isinstance(four_eyes.value, bool)):
            self.problem(four_eyes.place, "approvals.four_eyes", "must be true or false")
        masks = self.sequence(members.get("mask"), "approvals.mask")
        return Approvals(
            timeout=self.seconds(members.get("timeout"), "approvals.timeout") or unsaid.timeout,
            use_within=self.seconds(members.get("use_within"), "approvals.use_within") or unsaid.use_within,
            hold=self.seconds(members.get("hold"), "approvals.hold", zero=True) or 0,
            four_eyes=isinstance(four_eyes, Scalar) and four_eyes.value is True,
            mask=tuple(self.argument(item, f"approvals.mask[{at}]") for at, item in enumerate(masks, 1)),
            webhook=self.webhook(members.get("notify")),
        )

    def webhook(self, node: Node | None) -> Webhook | None:
        hook = self.mapping(node, "approvals.notify", ("webhook",)).members.get("webhook")
        if hook is None:
            return None
        members = self.mapping(hook, "approvals.notify.webhook", ("url", "secret_env")).members
        url = self.text(members.get("url"), "approvals.notify.webhook.url")
        if url is None or not re.match(r"https?://[^/]", url):
            self.problem(hook.place, "approvals.notify.webhook", "a webhook needs a url that begins with https://")
        return Webhook(url or "", self.text(members.get("secret_env"), "approvals.notify.webhook.secret_env"))

    def entry(self, tool: str, node: Node, place: Place) -> PolicyEntry:
        where = f"tools.{tool}"
        if not tool:
            self.problem(place, "tools", "a tool's name must not be empty")
        members = self.mapping(node, where, _ENTRY_KEYS).members
        rules = self.sequence(members.get("rules"), f"{where}.rules")
        made = [self.rule(tool, at, item, f"{where}.rules[{at}]") for at, item in enumerate(rules, 1)]
        return PolicyEntry(tool, tuple(made), place)

    def rule(self, tool: str, position: int, node: Node, where: str) -> Rule:
        mapping = self.mapping(node, where, _RULE_KEYS)
        members, keys = mapping.members, mapping.keys
        name = self.text(members.get("name"), f"{where}.name")
        if name == "":
            self.problem(keys["name"], f"{where}.name", "a name must not be empty: leave it out, or write one")
        reason_key = "reason" if "reason" in keys else "on_deny"
        reason = self.text(members.get(reason_key), f"{where}.{reason_key}")
        conditions = self.conditions(members.get("conditions"), f"{where}.conditions")
        unsaid: Action = "evaluate" if "conditions" in keys else "allow"
        action = self.choice(members.get("action"), f"{where}.action", ACTIONS) or unsaid
        self.combination(mapping, where, action)
        return Rule(
            entry=tool,
            position=position,
            given_name=name or None,
            action=action,
            conditions=conditions,
            rate_limit=self.rate_limit(members["rate_limit"], f"{where}.rate_limit") if "rate_limit" in keys else None,
            spend_limit=self.spend_limit(members["spend_limit"], f"{where}.spend_limit")
            if "spend_limit" in keys
            else None,
            state=self.state(members["state"], f"{where}.state") if "state" in keys else None,
            approval=self.approval(mapping, where) if action == "require_approval" else None,
            refund=self.choice(members.get("refund"), f"{where}.refund", REFUNDS) or "not_run",
            monitor=self.choice(members.get("mode"), f"{where}.mode", MODES) == "monitor",
            reason=reason,
            place=mapping.place,
        )

    def combination(self, rule: Mapping, where: str, action: Action) -> None:
        """Note the parts of a rule that exclude each other."""
        keys = rule.keys
        limits = [key for key in ("rate_limit", "spend_limit") if key in keys]
        counting = [*limits, *(["state"] if "state" in keys else [])]

        def wrong(key: str, text: str) -> None:
            self.problem(keys[key], where, text)

        if "reason" in keys and "on_deny" in keys:
            wrong("on_deny", "reason and on_deny say the same: keep one of the two")
        if not keys.keys() & {"action", "conditions", "rate_limit", "spend_limit", "state"}:
            self.problem(rule.place, where, "a rule needs an action, conditions or a limit")
        if len(counting) > 1:
            wrong(counting[1], f"{' and '.join(counting)} in one rule: write a rule for each")
        for limit in limits:
            if "conditions" in keys:
                wrong(limit, f"a {limit} cannot have conditions: put the conditions into a rule before it")
        if action == "deny":
            for counted in counting:
                wrong(counted, f"a {counted} with action deny has no meaning: remove one of the two")
        if action in ("deny", "allow") and "conditions" in keys:
            wrong("conditions", f"conditions with action {action} have no meaning: write action: evaluate")
        if action == "evaluate" and "conditions" not in keys:
            self.problem(rule.place, where, "action evaluate needs conditions")
        if "refund" in keys and not counting:
            wrong("refund", "refund belongs to a rule with a limit: remove it")
        for key in ("approval_timeout", "approvers"):
            if key in keys and action != "require_approval":
                wrong(key, f"{key} belongs to a rule with action: require_approval")

    def approval(self, rule: Mapping, where: str) -> Approval:
        timeout = self.seconds(rule.members.get("approval_timeout"), f"{where}.approval_timeout")
        return Approval(timeout, self.count(rule.members.get("approvers"), f"{where}.approvers") or 1)

    def conditions(self, node: Node | None, where: str) -> tuple[Condition, ...]:
        items = self.sequence(node, where)
        if node is not None and not items:
            self.problem(node.place, where, "an empty list of conditions: write at least one")
        return tuple(self.condition(item, f"{where}[{at}]") for at, item in enumerate(items, 1))

    def condition(self, node: Node, where: str) -> Condition:
        mapping = self.mapping(node, where, _CONDITION_KEYS)
        members = mapping.members
        for key in _CONDITION_KEYS:
            if key not in members:
                self.problem(mapping.place, where, f"a condition needs path, op and value: {key} is missing")
        path = members.get("path")
        op = self.choice(members.get("op"), f"{where}.op", OPERATORS) or ""
        value = members.get("value")
        if value is not None:
            self.operand(op, value, f"{where}.value")
        return Condition(
            self.subject(path, f"{where}.path"), op, self.value(value),
            value.place if value else mapping.place, path.place if path else mapping.place,
        )  # fmt: skip

    def operand(self, op: str, node: Node, where: str) -> None:
        """Note a value of a kind that the operator cannot compare with."""
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

    def subject(self, node: Node | None, where: str) -> Path | CounterName:
        text = self.text(node, where)
        if node is None or text is None or not text.startswith("state."):
            return self.argument(node, where, "write args. and the name of an argument, or state.<tool>.<counter>")
        tool, dot, counter = text.removeprefix("state.").rpartition(".")
        if not dot or not tool or not counter:
            self.problem(node.place, where, f'"{text}" is no path of a counter: write state.<tool>.<counter>')
        elif tool == ANY_TOOL:
            self.problem(node.place, where, f'"{text}" is no path of a counter: write state.{GLOBAL}.{counter}')
        return CounterName(tool, counter)

    def argument(self, node: Node | None, where: str, advice: str = "write args. and the name of an argument") -> Path:
        """The steps of a path into the arguments, without `args`."""
        path = self.text(node, where)
        if node is None or path is None:
            if _is_null(node):
                self.problem(node.place, where, f"a path is missing: {advice}")
            return ()
        first, _, rest = path.partition(".")
        if first != "args" or not rest:
            self.problem(node.place, where, f'"{path}" is no path: {advice}')
        elif "" in rest.split("."):
            self.problem(node.place, where, f'"{path}" has an empty step: write one name between two dots')
        return tuple(rest.split("."))

    # Limits and counters.

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
        name = found["window"]
        return RateLimit(int(found["max"]), Window(NAMED_WINDOWS[name], name), "global", short=True)

    def rate_limit_block(self, node: Mapping, where: str) -> RateLimit | None:
        members = self.members(node, where, _RATE_LIMIT_KEYS, needed=("max", "window"))
        count = self.count(members.get("max"), f"{where}.max")
        window = self.window(members.get("window"), f"{where}.window")
        scope = self.choice(members.get("scope"), f"{where}.scope", SCOPES) or "session"
        return RateLimit(count, window, scope, short=False) if count and window else None

    def spend_limit(self, node: Node, where: str) -> SpendLimit | None:
        members = self.members(node, where, _SPEND_LIMIT_KEYS, needed=("path",))
        path = self.argument(members.get("path"), f"{where}.path")
        per_call = self.amount(members.get("per_call"), f"{where}.per_call")
        most = self.amount(members.get("max"), f"{where}.max")
        window = self.window(members.get("window"), f"{where}.window")
        if "max" not in members and "per_call" not in members:
            self.problem(node.place, where, "a spend_limit needs max, per_call or both")
        if "max" in members and "window" not in members:
            self.problem(node.place, where, "a spend_limit with max needs a window")
        if "window" in members and "max" not in members:
            self.problem(node.place, where, "a spend_limit without max needs no window: add max, or remove it")
        scope = self.choice(members.get("scope"), f"{where}.scope", SCOPES) or "global"
        return SpendLimit(path, per_call, most, window, scope)

    def state(self, node: Node, where: str) -> State | None:
        members = self.members(node, where, _STATE_KEYS, needed=("counter", "window"))
        counter = self.text(members.get("counter"), f"{where}.counter")
        if counter is not None and (not counter or "." in counter or counter.startswith("_rate_")):
            self.problem(
                members["counter"].place, f"{where}.counter",
                f'"{counter}" cannot name a counter: write a name without dots that does not begin with _rate_',
            )  # fmt: skip
        window = self.window(members.get("window"), f"{where}.window")
        increment = self.increment(members.get("increment"), f"{where}.increment")
        source = members.get("increment_from")
        scope = self.choice(members.get("scope"), f"{where}.scope", SCOPES) or "global"
        path = self.argument(source, f"{where}.increment_from") if source is not None else None
        return State(counter, window, increment, path, scope) if counter and window else None

    def increment(self, node: Node | None, where: str) -> Decimal:
        value = self.amount(node, where)
        if node is not None and value == 0:
            self.problem(node.place, where, "an increment is a number above 0")
        return value or Decimal(1)

    def amount(self, node: Node | None, where: str) -> Decimal | None:
        """A number that is not negative."""
        if node is None:
            return None
        if isinstance(node, Scalar) and isinstance(node.value, Decimal) and node.value >= 0:
            return node.value
        self.problem(node.place, where, f"{where.rpartition('.')[2]} is a number that is not negative, without quotes")
        return None

    def count(self, node: Node | None, where: str) -> int | None:
        if node is None:
            return None
        if isinstance(node, Scalar) and isinstance(node.value, Decimal) and _COUNT.fullmatch(node.text):
            return int(node.text)
        self.problem(node.place, where, "a count is a whole number above 0, without quotes, sign or dot")
        return None

    def window(self, node: Node | None, where: str) -> Window | None:
        text = node.text if isinstance(node, Scalar) else ""
        if text in NAMED_WINDOWS:
            return Window(NAMED_WINDOWS[text], text)
        seconds = self.seconds(node, where, "is no window: write seconds, minute, hour, day, or as 90s, 15m, 12h")
        return Window(seconds, str(seconds)) if seconds else None

    def seconds(
        self,
        node: Node | None,
        where: str,
        advice: str = "is no duration: write as 90s, 15m, 12h",
        *,
        zero: bool = False,
    ) -> int | None:
        """A time in whole seconds; None if there is nothing, or something else."""
        if node is None:
            return None
        text = node.text if isinstance(node, Scalar) else ""
        found = _SECONDS.fullmatch(text)
        seconds = int(found["count"]) * _UNITS[found["unit"]] if found else -1
        if not (0 < seconds <= MAX_WINDOW or (zero and seconds == 0)):
            shown = f'"{text}"' if text else "this"
            self.problem(node.place, where, f"{shown} {advice}")
            return None
        return seconds

    # The parts of any item.

    def mapping(self, node: Node | None, where: str, known: Collection[str] | None = None) -> Mapping:
        """The mapping at a node, or an empty one if there is none. `known` are the keys that it may have."""
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

    def members(
        self, node: Node, where: str, known: Collection[str], needed: Collection[str]
    ) -> dict[str, Node]:  # fmt: skip
        """The members of a block; the `needed` ones must be there."""
        members = self.mapping(node, where, known).members
        for key in needed:
            if key not in members or _is_null(members[key]):
                self.problem(
                    node.place, where, f"a {where.rpartition('.')[2]} needs {' and '.join(needed)}: {key} is missing"
                )
        return members

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
        """The text at a node; None if there is nothing."""
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

    def choice(self, node: Node | None, where: str, choices: tuple[Choice, ...]) -> Choice | None:
        """One of `choices`; None if there is nothing, or something else."""
        if node is None:
            return None
        text = node.value if isinstance(node, Scalar) else None
        for choice in choices:
            if choice == text:
                return choice
        shown = f'"{node.text}" is none of them' if isinstance(node, Scalar) else "it is no text"
        near = _near(node.text, choices) if isinstance(node, Scalar) else ""
        self.problem(node.place, where, f"must be {_listed(choices)}; {shown}{near}")
        return None

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
_SECONDS = re.compile(r"(?P<count>0|[1-9][0-9]{0,9})(?P<unit>[smhd]?)")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def _is_null(node: Node | None) -> TypeGuard[Scalar]:
    """True for a null value that is written out or left empty."""
    return isinstance(node, Scalar) and node.value is None


def _unknown(key: str, known: Collection[str]) -> str:
    return f'the key "{key}" is not known here{_near(key, known)}; known are {_listed(known, "and")}'


def _near(word: str, words: Collection[str]) -> str:
    found = difflib.get_close_matches(word, list(words), n=1)
    return f': did you mean "{found[0]}"?' if found else ""


def _listed(words: Collection[str], last: str = "or") -> str:
    *head, tail = words
    return f"{', '.join(head)} {last} {tail}" if head else tail
