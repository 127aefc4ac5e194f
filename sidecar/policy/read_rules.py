"""Reads the rules of a policy file: conditions, limits and counters."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Final

from sidecar.policy import folders, hosts, suggest
from sidecar.policy.model import (
    ACTIONS,
    ANY_TOOL,
    GLOBAL,
    NAMED_WINDOWS,
    REFUNDS,
    RULE_MODES,
    SCOPES,
    Action,
    Amount,
    CallerPath,
    Condition,
    CounterName,
    RateLimit,
    Rule,
    SpendLimit,
    State,
    Value,
    Window,
)
from sidecar.policy.nodes import Mapping, Node, Scalar, Sequence
from sidecar.policy.operators import OPERATORS
from sidecar.policy.paths import EACH, Path, Root
from sidecar.policy.read_approvals import OF_REQUESTS, ApprovalReader
from sidecar.policy.read_items import is_null, listed, near

RULE_KEYS: Final = (
    "name", "action", "conditions", "only", "reason", "on_deny", "rate_limit", "spend_limit", "state",
    *OF_REQUESTS, "refund", "mode",
)  # fmt: skip
CONDITION_KEYS: Final = ("path", "op", "value", "times", "decimal_text", "optional")
RATE_LIMIT_KEYS: Final = ("max", "window", "scope", "sliding")
SPEND_LIMIT_KEYS: Final = ("path", "times", "decimal_text", "per_call", "max", "window", "scope", "sliding")
STATE_KEYS: Final = (
    "counter", "window", "increment", "increment_from", "times", "decimal_text", "scope", "sliding",
)  # fmt: skip
ABOUT_THE_CALLER: Final[dict[Root, tuple[str, ...]]] = {
    "principal": ("subject", "issuer", "claims.<name>"),
    "session": ("client.name", "client.version"),
    "workload": ("namespace", "pod", "service_account"),
}
"""What is known of the caller, below the roots of its paths. Claims may hold anything, the rest are texts."""


class RuleReader(ApprovalReader):
    """One method for each item of a rule. It notes its problems and returns what could be read."""

    def rule(self, tool: str, position: int, node: Node, where: str) -> Rule:
        mapping = self.mapping(node, where, RULE_KEYS)
        members, keys = mapping.members, mapping.keys
        name = self.text(members.get("name"), f"{where}.name")
        if name == "":
            self.problem(keys["name"], f"{where}.name", "a name must not be empty: leave it out, or write one")
        reason_key = "reason" if "reason" in keys else "on_deny"
        reason = self.text(members.get(reason_key), f"{where}.{reason_key}")
        unsaid: Action = "evaluate" if keys.keys() & {"conditions", "only"} else "allow"
        action = self.choice(members.get("action"), f"{where}.action", ACTIONS, suggest.ACTIONS) or unsaid
        mode = self.choice(members.get("mode"), f"{where}.mode", RULE_MODES, suggest.RULE_MODES)
        self.combination(mapping, where, action)
        conditions = self.conditions(members.get("conditions"), f"{where}.conditions", action)
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
            monitor=mode in ("monitor", "shadow"),
            reason=reason,
            place=mapping.place,
            only=self.only(members["only"], f"{where}.only") if "only" in keys else None,
            shadow=mode == "shadow",
        )

    def only(self, node: Node, where: str) -> tuple[str, ...]:
        names: dict[str, None] = {}
        for at, item in enumerate(self.sequence(node, where), 1):
            name = self.text(item, f"{where}[{at}]")
            if is_null(item):
                self.problem(item.place, f"{where}[{at}]", "the name of an argument is missing")
            elif name in names:
                self.problem(item.place, f"{where}[{at}]", f'"{name}" stands here twice: remove one of the two')
            elif name is not None:
                names[name] = None
        return tuple(names)

    def combination(self, rule: Mapping, where: str, action: Action) -> None:
        """Note the parts of a rule that exclude each other."""
        keys = rule.keys
        limits = [key for key in ("rate_limit", "spend_limit") if key in keys]
        counting = [*limits, *(["state"] if "state" in keys else [])]

        def wrong(key: str, text: str) -> None:
            self.problem(keys[key], where, text)

        if "reason" in keys and "on_deny" in keys:
            wrong("on_deny", "reason and on_deny say the same: keep one of the two")
        if not keys.keys() & {"action", "conditions", "only", "rate_limit", "spend_limit", "state"}:
            self.problem(rule.place, where, "a rule needs an action, conditions or a limit")
        if len(counting) > 1:
            wrong(counting[1], f"{' and '.join(counting)} in one rule: write a rule for each")
        for limit in limits:
            if "conditions" in keys:
                wrong(limit, f"a {limit} cannot have conditions: put the conditions into a rule before it")
        self.action(rule, where, action, counting)
        if "refund" in keys and not counting:
            wrong("refund", "refund belongs to a rule with a limit: remove it")
        for key in OF_REQUESTS:
            if key in keys and action != "require_approval":
                wrong(key, f"{key} belongs to a rule with action: require_approval")

    def action(self, rule: Mapping, where: str, action: Action, counting: list[str]) -> None:
        """Note the parts of a rule that do not go with its action; `counting` are the keys by which it counts."""
        keys = rule.keys

        def wrong(key: str, text: str) -> None:
            self.problem(keys[key], where, text)

        if action == "deny":
            for counted in counting:
                wrong(counted, f"a {counted} with action deny has no meaning: remove one of the two")
        if action == "allow" and "conditions" in keys:
            wrong("conditions", "conditions with action allow have no meaning: write action: evaluate")
        if "only" in keys and (action != "evaluate" or counting):
            wrong("only", "only goes with conditions of action: evaluate, or alone: give it a rule of its own")
        if action == "evaluate" and not keys.keys() & {"conditions", "only", *counting}:
            self.problem(rule.place, where, "action evaluate needs conditions, or a limit")

    def conditions(self, node: Node | None, where: str, action: Action) -> tuple[Condition, ...]:
        items = self.sequence(node, where)
        if node is not None and not items:
            self.problem(node.place, where, "an empty list of conditions: write at least one")
        return tuple(self.condition(item, f"{where}[{at}]", action) for at, item in enumerate(items, 1))

    def condition(self, node: Node, where: str, action: Action) -> Condition:
        mapping = self.mapping(node, where, CONDITION_KEYS)
        members = mapping.members
        for key in ("path", "op", "value"):
            if key not in members:
                self.problem(mapping.place, where, f"a condition needs path, op and value: {key} is missing")
        path = members.get("path")
        op = self.choice(members.get("op"), f"{where}.op", tuple(OPERATORS), suggest.OPERATORS) or ""
        value = members.get("value")
        if value is not None:
            self.operand(op, value, f"{where}.value")
        subject = self.subject(path, f"{where}.path")
        decimal_text = self.flag(members.get("decimal_text"), f"{where}.decimal_text")
        compared = self.value(value)
        made = Condition(
            subject, op, in_numbers(compared) if decimal_text else compared,
            value.place if value else mapping.place, path.place if path else mapping.place,
            times=self.factor(members, subject, where),
            decimal_text=decimal_text,
            optional=self.flag(members.get("optional"), f"{where}.optional"),
        )  # fmt: skip
        self.extras(mapping, made, where, action)
        return made

    def extras(self, mapping: Mapping, condition: Condition, where: str, action: Action) -> None:
        """Note the keys of a condition that do not go with its operator, or with the rule's action."""
        operator = OPERATORS.get(condition.op)
        decimals = operator is None or operator.decimal_text
        if condition.decimal_text and not decimals:
            text = f"decimal_text belongs to operators that compare numbers, not to {condition.op}: remove it"
            self.problem(mapping.keys["decimal_text"], where, text)
        if condition.times is not None and not decimals:
            self.problem(mapping.keys["times"], where, f"{condition.op} compares no product: remove times")
        if condition.optional and condition.op == "exists":
            self.problem(mapping.keys["optional"], where, "optional does not go with exists: remove it")
        if condition.optional and action != "evaluate":
            text = f"optional does not go with action {action}, where an absent value does not hold anyway: remove it"
            self.problem(mapping.keys["optional"], where, text)

    def factor(self, members: dict[str, Node], subject: object, where: str) -> Path | None:
        """The path under `times`, where there is one; it has to fit the path of the other factor."""
        node = members.get("times")
        if node is None:
            return None
        times = self.argument(node, f"{where}.times")
        if not isinstance(subject, tuple):
            self.problem(node.place, f"{where}.times", "times multiplies arguments: write path: args. and a name")
        elif times and not fits(subject, times):
            text = "[*] in both paths must be in the same list: args.orders[*].sz times args.orders[*].px"
            self.problem(node.place, f"{where}.times", text)
        return times

    def operand(self, op: str, node: Node, where: str) -> None:
        """Note a value of a kind that the operator cannot compare with."""
        value = node.value if isinstance(node, Scalar) else node
        match OPERATORS[op].operand if op in OPERATORS else "value":
            case "values" if not isinstance(node, Sequence):
                self.problem(node.place, where, f"{op} needs a list: write [a, b]")
            case "number" if not isinstance(value, Decimal):
                written = f": write {value}" if isinstance(value, str) and _NUMBER.fullmatch(value) else ""
                self.problem(node.place, where, f"{op} needs a number, without quotes{written}")
            case "boolean" if not isinstance(value, bool):
                self.problem(node.place, where, f"{op} needs true or false")
            case "pattern" if not isinstance(value, str):
                self.problem(node.place, where, f"{op} needs a pattern, a text in quotes")
            case "folders":
                self.items(folders.compiled, node, where)
            case "hosts":
                self.items(hosts.compiled, node, where)

    def items(self, compiled: Callable[[Value], object], node: Node, where: str) -> None:
        """Note what `compiled` says of each item of a list, or of what is no list or an empty one."""
        several = isinstance(node, Sequence) and node.items
        for at, item in enumerate(several or (node,), 1):
            try:
                compiled((self.value(item),) if several else self.value(item))
            except ValueError as problem:
                self.problem(item.place, f"{where}[{at}]" if several else where, str(problem))

    def subject(self, node: Node | None, where: str) -> Path | CounterName | CallerPath:
        text = self.text(node, where)
        if node is not None and text is not None:
            for root in ABOUT_THE_CALLER:
                if re.match(rf"{root}(?![^.\[])", text):
                    return self.about_the_caller(root, text, node, where)
        if node is None or text is None or not text.startswith("state."):
            return self.argument(node, where, "write args. and the name of an argument, or state.<tool>.<counter>")
        tool, dot, counter = text.removeprefix("state.").rpartition(".")
        if not dot or not tool or not counter:
            self.problem(node.place, where, f'"{text}" is no path of a counter: write state.<tool>.<counter>')
        elif tool == ANY_TOOL:
            self.problem(node.place, where, f'"{text}" is no path of a counter: write state.{GLOBAL}.{counter}')
        return CounterName(tool, counter)

    def about_the_caller(self, root: Root, text: str, node: Node, where: str) -> CallerPath:
        noted = len(self.problems)
        path = CallerPath(root, self.steps(text, root, node, where))
        if len(self.problems) == noted and not is_known(path):
            names = [f"{root}.{name}" for name in ABOUT_THE_CALLER[root]]
            text = f'"{text}" is not known of callers{near(text, names)}; known are {listed(names, "and")}'
            self.problem(node.place, where, text)
        return path

    def rate_limit(self, node: Node, where: str) -> RateLimit | None:
        if isinstance(node, Mapping):
            return self.rate_limit_block(node, where)
        found = _RATE.fullmatch(node.value) if isinstance(node, Scalar) and isinstance(node.value, str) else None
        if found is None:
            shown = f'"{node.text}"' if isinstance(node, Scalar) else "this"
            meant = suggest.rate_limit(node.text) if isinstance(node, Scalar) else None
            write = meant or "a count and a window, as 5/minute, 5/hour or 5/day"
            self.problem(node.place, where, f"{shown} is no rate_limit: write {write}")
            return None
        name = found["window"]
        return RateLimit(int(found["max"]), Window(NAMED_WINDOWS[name], name), "global", short=True)

    def rate_limit_block(self, node: Mapping, where: str) -> RateLimit | None:
        members = self.members(node, where, RATE_LIMIT_KEYS, needed=("max", "window"))
        count = self.count(members.get("max"), f"{where}.max")
        window = self.window(members.get("window"), f"{where}.window", members.get("sliding"))
        scope = self.choice(members.get("scope"), f"{where}.scope", SCOPES, suggest.SCOPES) or "session"
        return RateLimit(count, window, scope, short=False) if count and window else None

    def spend_limit(self, node: Node, where: str) -> SpendLimit | None:
        members = self.members(node, where, SPEND_LIMIT_KEYS, needed=("path",))
        amount = self.amount_at("path", members, where)
        per_call = self.number(members.get("per_call"), f"{where}.per_call")
        most = self.number(members.get("max"), f"{where}.max")
        window = self.window(members.get("window"), f"{where}.window", members.get("sliding"))
        if "max" not in members and "per_call" not in members:
            self.problem(node.place, where, "a spend_limit needs max, per_call or both")
        if "max" in members and "window" not in members:
            self.problem(node.place, where, "a spend_limit with max needs a window")
        if "window" in members and "max" not in members:
            self.problem(node.place, where, "a spend_limit without max needs no window: add max, or remove it")
        scope = self.choice(members.get("scope"), f"{where}.scope", SCOPES, suggest.SCOPES) or "global"
        if "sliding" in members and "max" not in members:
            self.problem(node.place, where, "sliding is about a window: add max and window, or remove it")
        return SpendLimit(amount, per_call, most, window, scope)

    def state(self, node: Node, where: str) -> State | None:
        members = self.members(node, where, STATE_KEYS, needed=("counter", "window"))
        counter = self.text(members.get("counter"), f"{where}.counter")
        if counter is not None and (not counter or "." in counter or counter.startswith("_rate_")):
            self.problem(
                members["counter"].place, f"{where}.counter",
                f'"{counter}" cannot name a counter: write a name without dots that does not begin with _rate_',
            )  # fmt: skip
        window = self.window(members.get("window"), f"{where}.window", members.get("sliding"))
        increment = self.increment(members.get("increment"), f"{where}.increment")
        scope = self.choice(members.get("scope"), f"{where}.scope", SCOPES, suggest.SCOPES) or "global"
        counts = "increment_from" in members
        for key in ("times", "decimal_text"):
            if key in members and not counts:
                text = f"{key} says how the amount at increment_from is read: add increment_from, or remove it"
                self.problem(members[key].place, where, text)
        source = self.amount_at("increment_from", members, where) if counts else None
        return State(counter, window, increment, source, scope) if counter and window else None

    def amount_at(self, key: str, members: dict[str, Node], where: str) -> Amount:
        """The amount whose path stands under `key`."""
        path = self.argument(members.get(key), f"{where}.{key}")
        decimal_text = self.flag(members.get("decimal_text"), f"{where}.decimal_text")
        return Amount(path, self.factor(members, path, where), decimal_text)

    def increment(self, node: Node | None, where: str) -> Decimal:
        if node is None:
            return Decimal(1)
        if isinstance(node, Scalar) and isinstance(node.value, Decimal) and node.value > 0:
            return node.value
        self.problem(node.place, where, "an increment is a number above 0, without quotes")
        return Decimal(1)


def is_known(path: CallerPath) -> bool:
    """True for a path to something that may be known of a caller."""
    if path.root == "principal" and path.steps[:1] == ("claims",):
        return len(path.steps) > 1 and path.steps[1] is not EACH
    return path.steps in [tuple(name.split(".")) for name in ABOUT_THE_CALLER[path.root]]


def in_numbers(value: Value) -> Value:
    """A value with the number in the place of each text that writes a decimal, as `decimal_text` reads those of a call.

    Else `"5.0"` would differ from every `"5.0"` of a call.
    """
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        return Decimal(value)
    return tuple(map(in_numbers, value)) if isinstance(value, tuple) else value


def fits(path: Path, times: Path) -> bool:
    """True where two paths can be multiplied: `[*]` in both stands in the same list."""
    lists = path[: _last_each(path)], times[: _last_each(times)]
    return () in lists or lists[0] == lists[1]


def _last_each(path: Path) -> int:
    """The number of steps up to the last `[*]`, itself included."""
    return len(path) - next((at for at, step in enumerate(reversed(path)) if step is EACH), len(path))


_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_DECIMAL: Final = re.compile(r"-?(0|[1-9][0-9]{0,33})(\.[0-9]{1,33})?")
_RATE: Final = re.compile(r"(?P<max>[1-9][0-9]{0,17})/(?P<window>minute|hour|day)")
